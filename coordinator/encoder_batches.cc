#include "coordinator/encoder_batches.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace tandem {

EncoderCredit::EncoderCredit(const std::vector<LayoutGroup>& groups) : batches_(groups.size()) {
  for (const LayoutGroup& group : groups) {
    if (group.stage == StageKind::kEncoder) encoders_.push_back(group.id);
  }
}

bool EncoderCredit::idle() const {
  return std::all_of(batches_.begin(), batches_.end(), [](int batches) { return batches == 0; });
}

int EncoderCredit::FreeGroup() const {
  int best = -1;
  for (const int group : encoders_) {
    const int batches = batches_[static_cast<size_t>(group)];
    if (batches >= kBatchesAhead) continue;
    if (best < 0 || batches < batches_[static_cast<size_t>(best)]) best = group;
  }
  return best;
}

absl::Status EncoderCredit::Encoded(int group) {
  if (group < 0 || static_cast<size_t>(group) >= batches_.size() ||
      batches_[static_cast<size_t>(group)] == 0) {
    return absl::InternalError(absl::StrCat("group ", group, " encoded a batch it never got"));
  }
  --batches_[static_cast<size_t>(group)];
  return absl::OkStatus();
}

std::vector<size_t> ChooseByLength(std::vector<size_t> candidates,
                                   absl::FunctionRef<int64_t(size_t)> length, int64_t max_tokens,
                                   absl::FunctionRef<bool(size_t)> take) {
  if (candidates.empty()) return {};
  const int64_t first = length(candidates.front());
  std::stable_sort(candidates.begin() + 1, candidates.end(), [&](size_t a, size_t b) {
    return std::abs(length(a) - first) < std::abs(length(b) - first);
  });
  std::vector<size_t> chosen;
  int64_t tokens = 0;
  for (const size_t i : candidates) {
    if (!chosen.empty() && tokens + length(i) > max_tokens) continue;
    if (!take(i)) break;
    tokens += length(i);
    chosen.push_back(i);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace tandem
