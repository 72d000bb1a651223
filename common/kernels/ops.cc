#include "common/kernels/ops.h"

#include <cmath>
#include <limits>

#include "common/kernels/math.h"

namespace tandem {

LogSumExp Merge(const LogSumExp& left, const LogSumExp& right) {
  const float max = left.max < right.max ? right.max : left.max;
  // Two empty runs: -inf minus -inf would be NaN.
  if (max == -std::numeric_limits<float>::infinity()) return {max, left.sum + right.sum};
  return {max, std::fma(right.sum, Exp(right.max - max), left.sum * Exp(left.max - max))};
}

float LogOf(const LogSumExp& value) { return value.max + Log(value.sum); }

}  // namespace tandem
