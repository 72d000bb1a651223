#include "common/kernels/math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace tandem {
namespace {

// Distance of `got` from `want` in units of the last place of a float at `want`.
double Ulps(float got, double want) {
  const auto nearest = static_cast<float>(want);
  const float next = std::nextafter(std::fabs(nearest), std::numeric_limits<float>::infinity());
  const double ulp = double{next} - std::fabs(nearest);
  return std::fabs(got - want) / ulp;
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

}  // namespace
}  // namespace tandem
