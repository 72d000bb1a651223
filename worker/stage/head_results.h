// What ranks found in their shards of the vocabulary, joined. No rank ever gathers all logits: each
// sends its candidates and its parts of the softmax's sums.
#ifndef TANDEM_WORKER_STAGE_HEAD_RESULTS_H_
#define TANDEM_WORKER_STAGE_HEAD_RESULTS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/kernels/ops.h"
#include "common/parallel/communicator.h"

namespace tandem {

// Joined in the order of the vocabulary's tree: the same on every rank, and the same bits as one
// rank holding the whole vocabulary. `requests` are equal on all ranks.
absl::StatusOr<std::vector<HeadResult>> JoinHeadResults(absl::Span<const HeadRequest> requests,
                                                        std::vector<HeadResult> mine,
                                                        Communicator& tp);

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_HEAD_RESULTS_H_
