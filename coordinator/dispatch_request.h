// A piece of work for the ranks, and how much of it was done.
#ifndef TANDEM_COORDINATOR_DISPATCH_REQUEST_H_
#define TANDEM_COORDINATOR_DISPATCH_REQUEST_H_

#include <cstdint>
#include <vector>

#include "common/protocol/messages.h"

namespace tandem {

// A prompt and what is decoded from it: one sequence, or several that differ in their sample alone.
// One encoding and one copy of its K/V serve all. Sequence i has the id sequence.id + i and the
// sample sequence.choice.sample + i; its memory is set by the dispatcher.
struct DispatchRequest {
  std::vector<int32_t> encoder_ids;
  SequenceSpec sequence;
  uint32_t num_samples = 1;
};

struct DispatchCounts {
  int64_t encoder_batches = 0;
  int64_t prompts_encoded = 0;
  int64_t prompts_shared = 0;   // Prompts that used another's encoding.
  int64_t memories_stored = 0;  // Times that a decoder computed the K/V of an encoding.
  int64_t pages_copied = 0;     // K/V pages copied when beams parted.
  int64_t evictions = 0;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_DISPATCH_REQUEST_H_
