#include "worker/stage/sampler.h"

#include <algorithm>
#include <cstring>

#include "common/base/status_macros.h"

namespace tandem {
namespace {

// What a rank sends of one row, followed by `num_top` candidates (id -1 where it has fewer).
struct RowRecord {
  Candidate best;
  LogSumExp log_sum_exp;
  int32_t nonfinite = 0;
};

size_t RecordBytes(int num_top) {
  return sizeof(RowRecord) + static_cast<size_t>(num_top) * sizeof(Candidate);
}

void WriteRecord(const HeadResult& result, int num_top, std::byte* to) {
  const RowRecord record{result.best, result.log_sum_exp, result.nonfinite ? 1 : 0};
  std::memcpy(to, &record, sizeof record);
  std::vector<Candidate> top = result.top;
  top.resize(static_cast<size_t>(num_top));
  if (num_top > 0) std::memcpy(to + sizeof record, top.data(), top.size() * sizeof(Candidate));
}

HeadResult ReadRecord(const std::byte* from, int num_top) {
  RowRecord record;
  std::memcpy(&record, from, sizeof record);
  HeadResult result{.best = record.best,
                    .top = std::vector<Candidate>(static_cast<size_t>(num_top)),
                    .log_sum_exp = record.log_sum_exp,
                    .nonfinite = record.nonfinite != 0};
  if (num_top > 0) {
    std::memcpy(result.top.data(), from + sizeof record, result.top.size() * sizeof(Candidate));
  }
  std::erase_if(result.top, [](const Candidate& candidate) { return candidate.id < 0; });
  return result;
}

// `left` owns the lower part of the vocabulary.
void Join(const HeadRequest& request, const HeadResult& right, HeadResult& left) {
  if (left.best.id < 0 || (right.best.id >= 0 && Better(right.best, left.best))) {
    left.best = right.best;
  }
  std::vector<Candidate> top;
  std::merge(left.top.begin(), left.top.end(), right.top.begin(), right.top.end(),
             std::back_inserter(top), Better);
  if (top.size() > static_cast<size_t>(request.num_top)) {
    top.resize(static_cast<size_t>(request.num_top));
  }
  left.top = std::move(top);
  if (request.log_sum_exp) left.log_sum_exp = Merge(left.log_sum_exp, right.log_sum_exp);
  left.nonfinite = left.nonfinite || right.nonfinite;
}

}  // namespace

absl::StatusOr<std::vector<HeadResult>> JoinHeadResults(absl::Span<const HeadRequest> requests,
                                                        const std::vector<HeadResult>& mine,
                                                        Communicator& tp) {
  if (tp.size() == 1) return mine;
  size_t bytes = 0;
  for (const HeadRequest& request : requests) bytes += RecordBytes(request.num_top);
  std::vector<std::byte> sent(bytes);
  std::vector<std::byte> all(bytes * static_cast<size_t>(tp.size()));
  size_t at = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    WriteRecord(mine[i], requests[i].num_top, sent.data() + at);
    at += RecordBytes(requests[i].num_top);
  }
  TANDEM_RETURN_IF_ERROR(tp.AllGather(sent, absl::MakeSpan(all)));
  std::vector<HeadResult> joined;
  at = 0;
  for (const HeadRequest& request : requests) {
    std::vector<HeadResult> parts;
    for (int rank = 0; rank < tp.size(); ++rank) {
      parts.push_back(
          ReadRecord(all.data() + static_cast<size_t>(rank) * bytes + at, request.num_top));
    }
    for (size_t step = 1; step < parts.size(); step *= 2) {
      for (size_t i = 0; i + step < parts.size(); i += 2 * step) {
        Join(request, parts[i + step], parts[i]);
      }
    }
    joined.push_back(std::move(parts.front()));
    at += RecordBytes(request.num_top);
  }
  return joined;
}

}  // namespace tandem
