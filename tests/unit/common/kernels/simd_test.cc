// Every operation of simd.h gives the same bits on all instruction sets of this machine.
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>

#include "common/base/thread_pool.h"
#include "common/kernels/isa.h"
#include "gtest/gtest.h"
#include "tests/unit/common/kernels/simd_probe.h"

namespace tandem {
namespace {

constexpr int kSumOf = 49;
constexpr int kDotPair = 46;
constexpr int kDotPairByFma = 47;

float AsFloat(uint32_t bits) { return std::bit_cast<float>(bits); }

class Words {
 public:
  explicit Words(uint32_t seed) : random_(seed) {}
  // Any bits, ordinary numbers, small integers and special values, mixed.
  void Draw(uint32_t* out) {
    static constexpr uint32_t kSpecial[] = {
        0,          0x80000000, 1,          0x807fffff, 0x00800000, 0x3f800000, 0x7f7fffff,
        0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x4effffff, 0x4f000000, 0xcf000000,
        0x3f000000, 0x3fc00000, 0x40200000, 0x3f808000, 0x3f818000, 0x0000ffff, 0x7f7f8000};
    for (int l = 0; l < 16; ++l) {
      out[l] = static_cast<uint32_t>(random_());
      switch (random_() % 4) {
        case 0:
          out[l] = (out[l] & 0x807fffffu) | (119u + static_cast<uint32_t>(random_() % 16)) << 23;
          break;
        case 1:
          out[l] = kSpecial[random_() % std::size(kSpecial)];
          break;
        case 2:
          out[l] = std::bit_cast<uint32_t>(static_cast<float>(random_() % 64) - 32.0f);
          break;
        default:
          break;
      }
    }
  }
  int64_t Count() { return static_cast<int64_t>(random_() % 20); }

 private:
  std::mt19937 random_;
};

// NaN equals NaN where both are read as floats: which payload comes out is not defined.
bool SameLane(uint32_t a, uint32_t b) {
  return a == b || (std::isnan(AsFloat(a)) && std::isnan(AsFloat(b)));
}

class SimdTest : public ::testing::TestWithParam<Isa> {
 protected:
  SimdTest() { SetComputeFloatMode(); }
};

TEST_P(SimdTest, EveryOperationEqualsPortable) {
  const SimdProbe probe = SimdProbeFor(GetParam());
  Words words(1);
  uint32_t a[16], b[16], c[16];
  int num_operations = 0;
  for (int round = 0; round < 20000; ++round) {
    words.Draw(a), words.Draw(b), words.Draw(c);
    const int64_t count = words.Count();
    for (int op = 0;; ++op) {
      uint32_t want[16] = {}, got[16] = {};
      if (!portable::Probe(op, a, b, c, count, want)) {
        num_operations = op;
        break;
      }
      ASSERT_TRUE(probe(op, a, b, c, count, got));
      for (int l = 0; l < 16; ++l) {
        ASSERT_TRUE(SameLane(got[l], want[l]))
            << "operation " << op << " lane " << l << " count " << count << std::hex << ": got "
            << got[l] << " want " << want[l] << " from " << a[l] << " " << b[l] << " " << c[l];
      }
    }
  }
  EXPECT_EQ(num_operations, 55);
}

TEST_P(SimdTest, SumJoinsHalvesFirst) {
  // 2^24 + 1 rounds to 2^24: with neighbours first the 1 would be lost.
  uint32_t lanes[16] = {}, out[16], unused[16] = {};
  lanes[0] = std::bit_cast<uint32_t>(0x1p24f);
  lanes[1] = std::bit_cast<uint32_t>(1.0f);
  lanes[8] = std::bit_cast<uint32_t>(-0x1p24f);
  ASSERT_TRUE(SimdProbeFor(GetParam())(kSumOf, lanes, unused, unused, 16, out));
  EXPECT_EQ(AsFloat(out[0]), 1.0f);
}

TEST_P(SimdTest, DotPairTakesTheOddElementFirst) {
  // acc 1, odd product 2^24, even product -2^24: 1 + 2^24 loses the 1, so odd first gives 0.
  uint32_t acc[16], w[16], x[16], out[16];
  for (int l = 0; l < 16; ++l) {
    acc[l] = std::bit_cast<uint32_t>(1.0f);
    w[l] = std::bit_cast<uint32_t>(0x1p12f) | std::bit_cast<uint32_t>(0x1p12f) >> 16;
    x[l] = std::bit_cast<uint32_t>(0x1p12f) | std::bit_cast<uint32_t>(-0x1p12f) >> 16;
  }
  for (int op : {kDotPair, kDotPairByFma}) {
    ASSERT_TRUE(SimdProbeFor(GetParam())(op, w, x, acc, 16, out));
    for (uint32_t bits : out) EXPECT_EQ(AsFloat(bits), 0.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, SimdTest, ::testing::ValuesIn(SupportedIsas()),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

}  // namespace
}  // namespace tandem
