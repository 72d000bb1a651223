// What every verb needs to keep encoder groups at work: which group takes a batch, and which
// prompts make one.
#ifndef TANDEM_COORDINATOR_ENCODER_BATCHES_H_
#define TANDEM_COORDINATOR_ENCODER_BATCHES_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "common/parallel/layout_groups.h"

namespace tandem {

// Encoder groups and the batches that they have: one at work, one waiting.
class EncoderCredit {
 public:
  explicit EncoderCredit(const std::vector<LayoutGroup>& groups);

  // The group with the least to do that may get one more; -1: none.
  int FreeGroup() const;
  void Sent(int group) { ++batches_[static_cast<size_t>(group)]; }
  bool idle() const;  // No group has a batch.
  // INTERNAL when the group has no batch.
  absl::Status Encoded(int group);

 private:
  static constexpr int kBatchesAhead = 2;

  std::vector<int> encoders_;  // Group ids.
  std::vector<int> batches_;   // By group id.
};

// The first of `candidates`, and those nearest to it in length, up to the token budget; the first
// alone may exceed it. `take` is asked for each in turn whether there is room for it, and counts it
// if so; candidates are indices of which `length` knows the tokens. Ascending.
std::vector<size_t> ChooseByLength(std::vector<size_t> candidates,
                                   absl::FunctionRef<int64_t(size_t)> length, int64_t max_tokens,
                                   absl::FunctionRef<bool(size_t)> take);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_ENCODER_BATCHES_H_
