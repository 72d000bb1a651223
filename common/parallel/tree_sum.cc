#include "common/parallel/tree_sum.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/base/check.h"

namespace tandem {
namespace {

// Sums are formed block by block in local arrays: they cannot alias the partials, so the compiler
// vectorises the loops, and all levels of the tree stay in the first-level cache.
constexpr int64_t kBlock = 512;

// The subtree over ranks [first, first + width) that exist, for elements [begin, begin + count).
void SumSubtree(absl::Span<const float* const> partials, size_t first, size_t width, int64_t begin,
                int64_t count, float* out) {
  if (width == 1) {
    std::memcpy(out, partials[first] + begin, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  const size_t middle = first + width / 2;
  if (width == 2 && middle < partials.size()) {
    const float* left = partials[first] + begin;
    const float* right = partials[middle] + begin;
    for (int64_t i = 0; i < count; ++i) out[i] = left[i] + right[i];
    return;
  }
  SumSubtree(partials, first, width / 2, begin, count, out);
  if (middle >= partials.size()) return;  // No rank there: the left sum goes up as it is.
  float right[kBlock];
  SumSubtree(partials, middle, width / 2, begin, count, right);
  for (int64_t i = 0; i < count; ++i) out[i] += right[i];
}

}  // namespace

void TreeSum(absl::Span<const float* const> partials, int64_t count, float* out) {
  TANDEM_CHECK(!partials.empty());
  const size_t width = std::bit_ceil(partials.size());
  float sum[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t size = std::min(kBlock, count - begin);
    SumSubtree(partials, 0, width, begin, size, sum);
    std::memcpy(out + begin, sum, static_cast<size_t>(size) * sizeof(float));
  }
}

}  // namespace tandem
