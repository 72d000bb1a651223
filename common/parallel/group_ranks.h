// What every World checks of MakeGroup's ranks.
#ifndef TANDEM_COMMON_PARALLEL_GROUP_RANKS_H_
#define TANDEM_COMMON_PARALLEL_GROUP_RANKS_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tandem {

// The index of `rank` in `ranks`. INVALID_ARGUMENT unless ranks ascend, are in [0, world_size), and
// hold `rank`.
absl::StatusOr<int> FindInGroup(absl::Span<const int> ranks, int rank, int world_size);

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_GROUP_RANKS_H_
