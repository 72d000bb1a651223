#include "common/kernels/math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/kernels/cpu_kernels.h"
#include "gtest/gtest.h"
#include "tests/unit/common/kernels/ops_test_util.h"

namespace tandem {
namespace {

// Distance of `got` from `want` in units of the last place of a normal float at `want`.
double Ulps(float got, double want) {
  if (got == want) return 0.0;
  const int exponent = std::max(std::ilogb(want), -126);
  return std::fabs(got - want) / std::ldexp(1.0, exponent - 23);
}

// Calls visit on every `stride`-th float from first to last (of one sign).
template <class Visit>
void ForFloats(float first, float last, uint32_t stride, Visit visit) {
  const auto begin = std::bit_cast<uint32_t>(first), end = std::bit_cast<uint32_t>(last);
  for (uint64_t bits = begin; bits <= end; bits += stride) {
    visit(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  }
}

TEST(MathTest, SinAndCosAreRoundedOnce) {
  int64_t not_nearest = 0, tested = 0;
  const auto check = [&](float angle) {
    for (float x : {angle, -angle}) {
      const CosSin got = CosSinOf(x);
      ++tested;
      // libm's f64 and ours may round to different floats only next to a tie.
      not_nearest += got.cos != static_cast<float>(std::cos(double{x}));
      not_nearest += got.sin != static_cast<float>(std::sin(double{x}));
      ASSERT_LE(Ulps(got.cos, std::cos(double{x})), 0.5001) << x;
      ASSERT_LE(Ulps(got.sin, std::sin(double{x})), 0.5001) << x;
    }
  };
  ForFloats(0x1p-20f, kMaxAngle, 997, check);
  for (int position = 0; position <= 131072; ++position) check(static_cast<float>(position));
  for (int n = 1; n < 83443; ++n) {  // Where the reduction cancels: next to multiples of pi / 2.
    check(static_cast<float>(n * 1.5707963267948966));
  }
  EXPECT_LE(not_nearest, tested / 1000000);
  EXPECT_EQ(CosSinOf(0.0f).cos, 1.0f);
  EXPECT_EQ(CosSinOf(0.0f).sin, 0.0f);
}

TEST(MathTest, RopeFrequenciesAreTheNearestFloats) {
  for (int64_t head_dim : {2, 8, 20, 24, 64, 72, 128, 256}) {
    for (double theta : {1e4, 1e6, 5e5, 2.0, 0.5}) {
      for (double factor : {1.0, 8.0, 3.5}) {
        const std::vector<float> got = RopeFrequencies(theta, factor, head_dim);
        ASSERT_EQ(got.size(), static_cast<size_t>(head_dim / 2));
        for (size_t c = 0; c < got.size(); ++c) {
          const double exponent = 2.0 * static_cast<double>(c) / static_cast<double>(head_dim);
          EXPECT_EQ(got[c], static_cast<float>(std::pow(theta, -exponent) / factor))
              << head_dim << " " << theta << " " << factor << " " << c;
        }
      }
    }
  }
}

double Phi(double x) { return 0.5 * std::erfc(-x * std::sqrt(0.5)); }

struct Sweep {
  MathFunction function;
  float first, last;
  double max_ulps;
  double (*exact)(double);
};
// The bounds are measured ones, rounded up. Below a magnitude of 1e-16 gelu_tanh's relative error
// grows (its argument is a rounded cube); the product with `up` drowns that.
const Sweep kSweeps[] = {
    {MathFunction::kExp, -0x1p-26f, -87.33f, 0.9, [](double x) { return std::exp(x); }},
    {MathFunction::kExp, 0x1p-26f, 87.9f, 0.9, [](double x) { return std::exp(x); }},
    {MathFunction::kLog, 0x1p-126f, 0x1.fffffep127f, 0.9, [](double x) { return std::log(x); }},
    {MathFunction::kTanh, 0x1p-100f, 12.0f, 1.5, [](double x) { return std::tanh(x); }},
    {MathFunction::kTanh, -0x1p-100f, -12.0f, 1.5, [](double x) { return std::tanh(x); }},
    {MathFunction::kGeluTanh, 0x1p-100f, 9.0f, 2.6,
     [](double x) {
       return x / (1 + std::exp(-2 * 0.7978845608028654 * (x + 0.044715 * x * x * x)));
     }},
    {MathFunction::kGeluTanh, -0x1p-100f, -4.0f, 12.0,
     [](double x) {
       return x / (1 + std::exp(-2 * 0.7978845608028654 * (x + 0.044715 * x * x * x)));
     }},
    {MathFunction::kGeluErf, 0x1p-100f, 15.0f, 2.0, [](double x) { return x * Phi(x); }},
    {MathFunction::kGeluErf, -0x1p-100f, -12.9f, 6.0, [](double x) { return x * Phi(x); }},
    {MathFunction::kSilu, 0x1p-100f, 1e6f, 2.5, [](double x) { return x / (1 + std::exp(-x)); }},
    {MathFunction::kSilu, -0x1p-100f, -87.0f, 3.0, [](double x) { return x / (1 + std::exp(-x)); }},
    {MathFunction::kRelu, -1.0f, -3.0f, 0.0, [](double) { return 0.0; }},
    {MathFunction::kRelu, 1.0f, 3.0f, 0.0, [](double x) { return x; }},
};

TEST(VectorMathTest, IsWithinItsBoundsAndTheSameOnEveryIsa) {
  SetComputeFloatMode();
  for (const Sweep& sweep : kSweeps) {
    std::vector<float> x;
    ForFloats(sweep.first, sweep.last, 9973, [&](float value) { x.push_back(value); });
    const auto n = static_cast<int64_t>(x.size());
    std::vector<float> want(x.size()), got(x.size());
    CpuKernelsOf(Isa::kPortable).map(sweep.function, x.data(), n, want.data());
    double worst = 0.0;
    float worst_x = 0.0f;
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = sweep.exact(double{x[i]});
      if (std::fabs(exact) < 0x1p-126) continue;  // Flushed to zero.
      if (Ulps(want[i], exact) > worst) {
        worst = Ulps(want[i], exact);
        worst_x = x[i];
      }
    }
    EXPECT_LE(worst, sweep.max_ulps)
        << "function " << static_cast<int>(sweep.function) << " at " << worst_x;
    for (Isa isa : SupportedIsas()) {
      CpuKernelsOf(isa).map(sweep.function, x.data(), n, got.data());
      EXPECT_TRUE(testing::SameBits(got, want)) << tandem::NameOf(isa);
    }
  }
}

TEST(VectorMathTest, HostFunctionsHaveTheSameBits) {
  SetComputeFloatMode();
  std::vector<float> x, got;
  for (float sign : {1.0f, -1.0f}) {
    ForFloats(sign * 0x1p-126f, sign * 88.0f, 49999, [&](float value) { x.push_back(value); });
  }
  got.resize(x.size());
  const CpuKernels& kernels = CpuKernelsOf(SupportedIsas().back());
  const auto check = [&](MathFunction function, float (*host)(float)) {
    kernels.map(function, x.data(), static_cast<int64_t>(x.size()), got.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const float want = host(x[i]);
      if (std::isnan(want) && std::isnan(got[i])) continue;
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want)) << x[i];
    }
  };
  check(MathFunction::kExp, Exp);
  check(MathFunction::kLog, Log);
  check(MathFunction::kTanh, Tanh);
}

TEST(VectorMathTest, EdgesOfTheDomains) {
  SetComputeFloatMode();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(Exp(0.0f), 1.0f);
  EXPECT_EQ(Exp(-0.0f), 1.0f);
  EXPECT_EQ(Exp(-kInf), 0.0f);
  EXPECT_EQ(Exp(-1e30f), 0.0f);
  EXPECT_TRUE(std::isnan(Exp(kNan)));
  EXPECT_EQ(Log(1.0f), 0.0f);
  EXPECT_EQ(Log(0.0f), -kInf);
  EXPECT_EQ(Log(kInf), kInf);
  EXPECT_TRUE(std::isnan(Log(-1.0f)));
  EXPECT_TRUE(std::isnan(Log(-0x1p-127f * 2.0f)));
  EXPECT_TRUE(std::isnan(Log(kNan)));
  EXPECT_EQ(Tanh(kInf), 1.0f);
  EXPECT_EQ(Tanh(-kInf), -1.0f);
  EXPECT_TRUE(std::signbit(Tanh(-0.0f)));
  EXPECT_TRUE(std::isnan(Tanh(kNan)));
  const CpuKernels& kernels = CpuKernelsOf(SupportedIsas().back());
  for (MathFunction function : {MathFunction::kGeluTanh, MathFunction::kGeluErf,
                                MathFunction::kSilu, MathFunction::kRelu}) {
    const float x[] = {0.0f, 1e30f, -1e30f, kNan};
    float y[4];
    kernels.map(function, x, 4, y);
    EXPECT_EQ(y[0], 0.0f);
    EXPECT_EQ(y[1], 1e30f);
    EXPECT_EQ(y[2], 0.0f);
    EXPECT_TRUE(std::isnan(y[3]));
  }
}

}  // namespace
}  // namespace tandem
