// The sum over the ranks of a group, in the one order that makes results independent of layouts.
#ifndef TANDEM_COMMON_PARALLEL_TREE_SUM_H_
#define TANDEM_COMMON_PARALLEL_TREE_SUM_H_

#include <cstdint>

#include "absl/types/span.h"

namespace tandem {

// out[i] = the sum of partials[r][i] in fp32, in the order of the binary tree over ranks: r and
// r + step join for step = 1, 2, 4...; the lower is the left operand. Element by element: how a
// caller cuts a vector into pieces changes no bit. `out` may be one of the partials.
// Denormals are treated as the calling thread's float mode says (SetComputeFloatMode).
void TreeSum(absl::Span<const float* const> partials, int64_t count, float* out);

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_TREE_SUM_H_
