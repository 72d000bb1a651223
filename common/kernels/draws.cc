#include "common/kernels/draws.h"

#include "common/kernels/math.h"

namespace tandem {

// Both logarithms in f64: near u = 1, where the large values are, fp32 has too few steps.
float GumbelOf(uint32_t bits) {
  const double u = (static_cast<double>(bits) + 0.5) * 0x1p-32;
  return static_cast<float>(-LogOfDouble(-LogOfDouble(u)));
}

uint32_t LeastBitsFor(float noise) {
  if (noise > kMaxGumbel) return UINT32_MAX;
  if (noise < -3.0f) return 0;
  // u = exp(-exp(-noise)); the bound is lowered by much more than fp32's error of u, 2^-23.
  const double u = ExpOfDouble(-ExpOfDouble(-static_cast<double>(noise)));
  const double bits = u * 0x1p32 - 4096.0;
  return bits < 0.0 ? 0 : static_cast<uint32_t>(bits);
}

}  // namespace tandem
