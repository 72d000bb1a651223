#include "common/kernels/math.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "common/base/check.h"

// simd.h's vocabulary on one lane, as far as vector_math.inc uses it.
#define TANDEM_ISA one_lane
#define TANDEM_INLINE static inline
namespace tandem::one_lane {

struct Floats {
  float v;
};
struct Ints {
  int32_t v;
};
struct Mask {
  bool v;
};

TANDEM_INLINE Floats Set1(float a) { return {a}; }
TANDEM_INLINE Floats Zero() { return {0.0f}; }
TANDEM_INLINE Ints Set1Int(int32_t a) { return {a}; }
TANDEM_INLINE Ints Bits(Floats a) { return {std::bit_cast<int32_t>(a.v)}; }
TANDEM_INLINE Floats AsFloats(Ints a) { return {std::bit_cast<float>(a.v)}; }
TANDEM_INLINE Floats ToFloats(Ints a) { return {static_cast<float>(a.v)}; }
TANDEM_INLINE Floats operator+(Floats a, Floats b) { return {a.v + b.v}; }
TANDEM_INLINE Floats operator-(Floats a, Floats b) { return {a.v - b.v}; }
TANDEM_INLINE Floats operator*(Floats a, Floats b) { return {a.v * b.v}; }
TANDEM_INLINE Floats operator/(Floats a, Floats b) { return {a.v / b.v}; }
TANDEM_INLINE Floats Fma(Floats a, Floats b, Floats c) { return {std::fma(a.v, b.v, c.v)}; }
TANDEM_INLINE Floats Min(Floats a, Floats b) { return {a.v < b.v ? a.v : b.v}; }
TANDEM_INLINE Mask operator<(Floats a, Floats b) { return {a.v < b.v}; }
TANDEM_INLINE Mask operator>=(Floats a, Floats b) { return {a.v >= b.v}; }
TANDEM_INLINE Mask operator==(Floats a, Floats b) { return {a.v == b.v}; }
TANDEM_INLINE Floats Select(Mask m, Floats yes, Floats no) { return m.v ? yes : no; }
TANDEM_INLINE Ints operator&(Ints a, Ints b) { return {a.v & b.v}; }
TANDEM_INLINE Ints operator|(Ints a, Ints b) { return {a.v | b.v}; }
TANDEM_INLINE Ints operator^(Ints a, Ints b) { return {a.v ^ b.v}; }
TANDEM_INLINE Ints Wrapped(uint32_t a) { return {static_cast<int32_t>(a)}; }
TANDEM_INLINE uint32_t Unsigned(Ints a) { return static_cast<uint32_t>(a.v); }
TANDEM_INLINE Ints operator+(Ints a, Ints b) { return Wrapped(Unsigned(a) + Unsigned(b)); }
TANDEM_INLINE Ints operator-(Ints a, Ints b) { return Wrapped(Unsigned(a) - Unsigned(b)); }
template <int n>
TANDEM_INLINE Ints ShiftLeft(Ints a) {
  return Wrapped(Unsigned(a) << n);
}
template <int n>
TANDEM_INLINE Ints ShiftRightSigned(Ints a) {
  return {a.v >> n};
}
TANDEM_INLINE Floats Abs(Floats a) { return AsFloats(Bits(a) & Set1Int(0x7fffffff)); }
TANDEM_INLINE Floats operator-(Floats a) { return AsFloats(Bits(a) ^ Set1Int(INT32_MIN)); }

}  // namespace tandem::one_lane
#include "common/kernels/vector_math.inc"

namespace tandem {
namespace {

// To the nearest integer, ties to even, for |x| < 2^51.
double RoundToInteger(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

// Taylor's series on |r| <= pi / 4: the first terms left out are r^17 / 17! and r^18 / 18!, below
// 2^-54 of the sum.
double SinOfReduced(double r) {
  const double z = r * r;
  double p = -1.0 / 1307674368000.0;
  p = p * z + 1.0 / 6227020800.0;
  p = p * z - 1.0 / 39916800.0;
  p = p * z + 1.0 / 362880.0;
  p = p * z - 1.0 / 5040.0;
  p = p * z + 1.0 / 120.0;
  p = p * z - 1.0 / 6.0;
  return r + r * (z * p);
}

double CosOfReduced(double r) {
  const double z = r * r;
  double p = 1.0 / 20922789888000.0;
  p = p * z - 1.0 / 87178291200.0;
  p = p * z + 1.0 / 479001600.0;
  p = p * z - 1.0 / 3628800.0;
  p = p * z + 1.0 / 40320.0;
  p = p * z - 1.0 / 720.0;
  p = p * z + 1.0 / 24.0;
  p = p * z - 0.5;
  return 1.0 + z * p;
}

constexpr double kLn2High = 0x1.62e42feep-1;  // ln 2 cut to 32 bits, so that n * kLn2High is exact.
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

}  // namespace

// x > 0 and normal. With m in [sqrt(1/2), sqrt(2)) and f = (m - 1) / (m + 1), |f| < 0.1716:
// log m = 2 (f + f^3 / 3 + f^5 / 5 ...); the first term left out is below 2^-56 of the sum.
double LogOfDouble(double x) {
  constexpr auto kSqrtHalf = std::bit_cast<int64_t>(0x1.6a09e667f3bcdp-1);
  const int64_t exponent = (std::bit_cast<int64_t>(x) - kSqrtHalf) >> 52;
  const auto m = std::bit_cast<double>(std::bit_cast<int64_t>(x) - exponent * (int64_t{1} << 52));
  const double f = (m - 1.0) / (m + 1.0), z = f * f;
  double p = 0.0;
  for (int k = 21; k >= 3; k -= 2) p = p * z + 1.0 / k;
  const double log_m = 2.0 * (f + f * (z * p));
  const auto n = static_cast<double>(exponent);
  return n * kLn2High + (n * kLn2Low + log_m);
}

// |x| < 700. Taylor's series on |r| <= ln2 / 2 to r^13 / 13!.
double ExpOfDouble(double x) {
  const double n = RoundToInteger(x * 0x1.71547652b82fep+0);
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double p = 1.0;
  for (int k = 13; k >= 1; --k) p = 1.0 + r * p / k;
  return p * std::bit_cast<double>((static_cast<int64_t>(n) + 1023) << 52);
}

double PowOf(double base, double exponent) { return ExpOfDouble(exponent * LogOfDouble(base)); }

float Exp(float x) { return one_lane::Exp({x}).v; }
float Log(float x) { return one_lane::Log({x}).v; }
float Tanh(float x) { return one_lane::Tanh({x}).v; }

CosSin CosSinOf(float angle) {
  TANDEM_DCHECK(std::fabs(angle) <= kMaxAngle);
  // pi / 2 in three parts. The first two have 33 bits, so that their products with n < 2^20 are
  // exact, and so are the subtractions of both wherever they cancel.
  constexpr double kHigh = 0x1.921fb544p+0, kMiddle = 0x1.0b4611a6p-34,
                   kLow = 0x1.3198a2e037073p-69;
  const double x = angle, n = RoundToInteger(x * 0x1.45f306dc9c883p-1);
  const double r = ((x - n * kHigh) - n * kMiddle) - n * kLow;
  const double sin = SinOfReduced(r), cos = CosOfReduced(r);
  switch (static_cast<int64_t>(n) & 3) {
    case 0:
      return {static_cast<float>(cos), static_cast<float>(sin)};
    case 1:
      return {static_cast<float>(-sin), static_cast<float>(cos)};
    case 2:
      return {static_cast<float>(-cos), static_cast<float>(-sin)};
    default:
      return {static_cast<float>(sin), static_cast<float>(-cos)};
  }
}

std::vector<float> RopeFrequencies(double theta, double factor, int64_t head_dim) {
  TANDEM_CHECK(theta > 0.0 && factor > 0.0 && head_dim % 2 == 0);
  const double log_theta = LogOfDouble(theta);
  std::vector<float> out(static_cast<size_t>(head_dim / 2));
  for (size_t c = 0; c < out.size(); ++c) {
    const double exponent = 2.0 * static_cast<double>(c) / static_cast<double>(head_dim);
    out[c] = static_cast<float>(ExpOfDouble(-exponent * log_theta) / factor);
  }
  return out;
}

}  // namespace tandem
