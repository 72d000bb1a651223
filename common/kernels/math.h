// Elementary functions for host code. They are the project's own because libm's bits differ between
// libraries and processors; these are plain IEEE operations in a fixed order, so every host of a
// job computes the same tables and log-probabilities.
#ifndef TANDEM_COMMON_KERNELS_MATH_H_
#define TANDEM_COMMON_KERNELS_MATH_H_

#include <cstdint>
#include <vector>

namespace tandem {

// The same bits as the vector functions of the kernels (vector_math.inc), and the same domains:
// Exp for x <= 88, within 1 ulp (results below 2^-126 are 0); Log for normal x > 0, within 1 ulp
// (0 gives -inf, a negative x NaN); Tanh within 1.5 ulp. They expect SetComputeFloatMode.
float Exp(float x);
float Log(float x);
float Tanh(float x);

// In f64, relative error below 2^-50: x > 0 and normal; |x| < 700; base > 0 and |exponent log base|
// < 700.
double LogOfDouble(double x);
double ExpOfDouble(double x);
double PowOf(double base, double exponent);

// Largest |angle| that CosSinOf takes: 131,072 positions at a frequency of 1.
inline constexpr float kMaxAngle = 131072.0f;

struct CosSin {
  float cos = 1.0f;
  float sin = 0.0f;
};
// Computed in f64 (relative error below 2^-50) and rounded once.
CosSin CosSinOf(float angle);

// theta^(-2c / head_dim) / factor for c in [0, head_dim / 2): f64, rounded once.
// theta > 0, factor > 0, head_dim even.
std::vector<float> RopeFrequencies(double theta, double factor, int64_t head_dim);

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_MATH_H_
