// From the hidden states of a step to one token a sequence, over a vocabulary split among ranks. No
// rank ever gathers all logits: each sends its candidates and its part of the softmax's sum.
#ifndef TANDEM_WORKER_STAGE_SAMPLER_H_
#define TANDEM_WORKER_STAGE_SAMPLER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/kernels/ops.h"
#include "common/parallel/communicator.h"

namespace tandem {

// The ranks' results joined in the order of the vocabulary's tree: the same on every rank, and the
// same bits as one rank holding the whole vocabulary. `requests` are equal on all ranks.
absl::StatusOr<std::vector<HeadResult>> JoinHeadResults(absl::Span<const HeadRequest> requests,
                                                        const std::vector<HeadResult>& mine,
                                                        Communicator& tp);

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_SAMPLER_H_
