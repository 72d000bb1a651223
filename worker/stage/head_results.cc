#include "worker/stage/head_results.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/status_macros.h"

namespace tandem {
namespace {

// What a rank sends of one row, followed by num_top + num_candidates candidates (id -1 where it has
// fewer) and the edited ids' logits.
struct RowRecord {
  LogSumExp log_sum_exp;
  LogSumExp scaled_sum;
  Candidate best;
  Candidate drawn;
  float drawn_logit = 0;
  int32_t nonfinite = 0;
};

size_t RecordBytes(const HeadRequest& request) {
  return sizeof(RowRecord) +
         static_cast<size_t>(request.num_top + request.num_candidates) * sizeof(Candidate) +
         request.edited.size() * sizeof(float);
}

template <class T>
void Append(std::vector<T> values, size_t count, std::byte*& to) {
  values.resize(count);
  if (count > 0) std::memcpy(to, values.data(), count * sizeof(T));
  to += count * sizeof(T);
}

template <class T>
void Extract(std::vector<T>& values, size_t count, const std::byte*& from) {
  values.resize(count);
  if (count > 0) std::memcpy(values.data(), from, count * sizeof(T));
  from += count * sizeof(T);
}

void WriteRecord(const HeadRequest& request, const HeadResult& result, std::byte* to) {
  const RowRecord record{.log_sum_exp = result.log_sum_exp,
                         .scaled_sum = result.scaled_sum,
                         .best = result.best,
                         .drawn = result.drawn,
                         .drawn_logit = result.drawn_logit,
                         .nonfinite = result.nonfinite ? 1 : 0};
  std::memcpy(to, &record, sizeof record);
  to += sizeof record;
  Append(result.top, static_cast<size_t>(request.num_top), to);
  Append(result.candidates, static_cast<size_t>(request.num_candidates), to);
  Append(result.edited, request.edited.size(), to);
}

HeadResult ReadRecord(const HeadRequest& request, const std::byte* from) {
  RowRecord record;
  std::memcpy(&record, from, sizeof record);
  from += sizeof record;
  HeadResult result;
  result.log_sum_exp = record.log_sum_exp;
  result.scaled_sum = record.scaled_sum;
  result.best = record.best;
  result.drawn = record.drawn;
  result.drawn_logit = record.drawn_logit;
  result.nonfinite = record.nonfinite != 0;
  const auto missing = [](const Candidate& candidate) { return candidate.id < 0; };
  Extract(result.top, static_cast<size_t>(request.num_top), from);
  std::erase_if(result.top, missing);
  Extract(result.candidates, static_cast<size_t>(request.num_candidates), from);
  std::erase_if(result.candidates, missing);
  Extract(result.edited, request.edited.size(), from);
  return result;
}

void JoinLists(const std::vector<Candidate>& right, int count, std::vector<Candidate>& left) {
  std::vector<Candidate> both;
  std::merge(left.begin(), left.end(), right.begin(), right.end(), std::back_inserter(both),
             Better);
  both.resize(std::min(both.size(), static_cast<size_t>(count)));
  left = std::move(both);
}

// `left` owns the lower part of the vocabulary.
void Join(const HeadRequest& request, const HeadResult& right, HeadResult& left) {
  if (right.best.id >= 0 && Better(right.best, left.best)) left.best = right.best;
  if (right.drawn.id >= 0 && Better(right.drawn, left.drawn)) {
    left.drawn = right.drawn;
    left.drawn_logit = right.drawn_logit;
  }
  JoinLists(right.top, request.num_top, left.top);
  JoinLists(right.candidates, request.num_candidates, left.candidates);
  if (request.log_sum_exp) left.log_sum_exp = Merge(left.log_sum_exp, right.log_sum_exp);
  if (request.scaled_sum) left.scaled_sum = Merge(left.scaled_sum, right.scaled_sum);
  for (size_t i = 0; i < left.edited.size(); ++i) {
    left.edited[i] = std::max(left.edited[i], right.edited[i]);  // One of the two is -inf.
  }
  left.nonfinite = left.nonfinite || right.nonfinite;
}

}  // namespace

absl::StatusOr<std::vector<HeadResult>> JoinHeadResults(absl::Span<const HeadRequest> requests,
                                                        std::vector<HeadResult> mine,
                                                        Communicator& tp) {
  if (tp.size() == 1) return mine;
  size_t bytes = 0;
  for (const HeadRequest& request : requests) bytes += RecordBytes(request);
  std::vector<std::byte> sent(bytes);
  std::vector<std::byte> all(bytes * static_cast<size_t>(tp.size()));
  size_t at = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    WriteRecord(requests[i], mine[i], sent.data() + at);
    at += RecordBytes(requests[i]);
  }
  TANDEM_RETURN_IF_ERROR(tp.AllGather(sent, absl::MakeSpan(all)));
  std::vector<HeadResult> joined;
  at = 0;
  for (const HeadRequest& request : requests) {
    std::vector<HeadResult> parts;
    for (int rank = 0; rank < tp.size(); ++rank) {
      parts.push_back(ReadRecord(request, all.data() + static_cast<size_t>(rank) * bytes + at));
    }
    for (size_t step = 1; step < parts.size(); step *= 2) {
      for (size_t i = 0; i + step < parts.size(); i += 2 * step) {
        Join(request, parts[i + step], parts[i]);
      }
    }
    joined.push_back(std::move(parts.front()));
    at += RecordBytes(request);
  }
  return joined;
}

}  // namespace tandem
