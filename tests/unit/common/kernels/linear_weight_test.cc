// Packing: where elements go, how they are rounded, which are refused.
#include "common/kernels/linear_weight.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;

template <class T>
RowSource SourceOf(const std::vector<T>& rows, DType dtype, int64_t features) {
  return {.data = reinterpret_cast<const std::byte*>(rows.data()),
          .dtype = dtype,
          .row_stride_bytes = features * static_cast<int64_t>(sizeof(T))};
}

uint32_t WordAt(const LinearWeight& weight, int64_t column, int64_t word) {
  return weight.panel(column / kPanel)[word * kPanel + column % kPanel];
}

TEST(LinearWeightTest, LeavesStartInNewWordsAndSegmentsInNewPanels) {
  const LinearWeight bf16 = MakeLinearWeight(ComputeType::kBFloat16, {0, 3, 3, 8, 9}, {17, 0, 16});
  EXPECT_THAT(bf16.leaf_words, ElementsAre(0, 2, 2, 5, 6));
  EXPECT_EQ(bf16.in_features, 9);
  EXPECT_EQ(bf16.columns, 48);
  EXPECT_EQ(bf16.segments[1].column, 32);
  EXPECT_EQ(bf16.segments[2].column, 32);
  EXPECT_EQ(bf16.bytes(), 48u * 6u * 4u);
  const LinearWeight fp32 = MakeLinearWeight(ComputeType::kFloat32, {0, 3, 9}, {16});
  EXPECT_THAT(fp32.leaf_words, ElementsAre(0, 3, 9));
}

TEST(LinearWeightTest, EveryElementInItsPlace) {
  constexpr int64_t kFeatures = 1301;  // Two pieces of K in the second leaf; odd.
  std::vector<uint16_t> rows(35 * kFeatures);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<uint16_t>(i * 7 % 0x7f00 + 0x80);
  LinearWeight weight = MakeLinearWeight(ComputeType::kBFloat16, {0, 11, kFeatures}, {5, 35});
  const RowSource all = SourceOf(rows, DType::kBF16, kFeatures);
  // In runs that begin and end inside panels.
  int64_t first = 0;
  for (int64_t count : {1, 16, 7, 11}) {
    RowSource part = all;
    part.data += first * part.row_stride_bytes;
    EXPECT_TRUE(PackRows(part, 1, first, count, weight));
    first += count;
  }
  for (int64_t row = 0; row < 35; ++row) {
    for (int64_t feature = 0; feature < kFeatures; ++feature) {
      const int64_t leaf_begin = feature < 11 ? 0 : 11, leaf_word = feature < 11 ? 0 : 6;
      const uint32_t word = WordAt(weight, 16 + row, leaf_word + (feature - leaf_begin) / 2);
      ASSERT_EQ((feature - leaf_begin) % 2 == 0 ? word & 0xffffu : word >> 16,
                rows[static_cast<size_t>(row * kFeatures + feature)])
          << row << " " << feature;
    }
    EXPECT_EQ(WordAt(weight, 16 + row, 5) >> 16,
              0u);  // Leaf 0 has 11 features: half a word is left.
  }
  for (int64_t padding = 35; padding < 48; ++padding)
    EXPECT_EQ(WordAt(weight, 16 + padding, 3), 0u);
}

TEST(LinearWeightTest, RoundsToNearestEvenAndKeepsFloats) {
  const std::vector<float> row = {1.00390625f, 1.01171875f, 1.00390637f, -2.5f, 1e-40f, -1e-40f};
  LinearWeight bf16 = MakeLinearWeight(ComputeType::kBFloat16, {0, 6}, {1});
  EXPECT_TRUE(PackRows(SourceOf(row, DType::kF32, 6), 0, 0, 1, bf16));
  EXPECT_EQ(WordAt(bf16, 0, 0), 0x3f823f80u);  // 1 + 3/256 rounds up to even, 1 + 1/256 down.
  EXPECT_EQ(WordAt(bf16, 0, 1), 0xc0203f81u);
  EXPECT_EQ(WordAt(bf16, 0, 2), 0x80000000u);  // Denormals become zero, with their sign.
  LinearWeight fp32 = MakeLinearWeight(ComputeType::kFloat32, {0, 6}, {1});
  EXPECT_TRUE(PackRows(SourceOf(row, DType::kF32, 6), 0, 0, 1, fp32));
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(WordAt(fp32, 0, i), std::bit_cast<uint32_t>(row[static_cast<size_t>(i)]));
  }
}

TEST(LinearWeightTest, HalvesGoThroughFloats) {
  // 1.0, -2, the least denormal 2^-24, the largest 65504, 1 + 2^-10.
  const std::vector<uint16_t> row = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x3c01};
  LinearWeight fp32 = MakeLinearWeight(ComputeType::kFloat32, {0, 5}, {1});
  EXPECT_TRUE(PackRows(SourceOf(row, DType::kF16, 5), 0, 0, 1, fp32));
  const float want[] = {1.0f, -2.0f, 0x1p-24f, 65504.0f, 1.0f + 0x1p-10f};
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(WordAt(fp32, 0, i), std::bit_cast<uint32_t>(want[i]));
  LinearWeight bf16 = MakeLinearWeight(ComputeType::kBFloat16, {0, 5}, {1});
  EXPECT_TRUE(PackRows(SourceOf(row, DType::kF16, 5), 0, 0, 1, bf16));
  EXPECT_EQ(WordAt(bf16, 0, 1), 0x47803380u);  // 65504 rounds to 65536.
  EXPECT_EQ(WordAt(bf16, 0, 2), 0x00003f80u);
}

TEST(LinearWeightTest, UnalignedSourcesAreRead) {
  std::vector<std::byte> bytes(1 + 4 * 4);
  const float values[] = {1.0f, 2.0f, 3.0f, 4.0f};
  memcpy(bytes.data() + 1, values, sizeof values);
  LinearWeight weight = MakeLinearWeight(ComputeType::kFloat32, {0, 4}, {1});
  EXPECT_TRUE(PackRows({.data = bytes.data() + 1, .dtype = DType::kF32, .row_stride_bytes = 16}, 0,
                       0, 1, weight));
  EXPECT_EQ(WordAt(weight, 0, 3), std::bit_cast<uint32_t>(4.0f));
}

TEST(LinearWeightTest, NanAndInfinityAreReported) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    for (size_t at : {size_t{0}, size_t{699}, size_t{700}}) {
      for (float bad : {kNan, kInfinity, -kInfinity}) {
        std::vector<float> rows(2 * 701, 1.0f);
        rows[701 + at] = bad;
        LinearWeight weight = MakeLinearWeight(type, {0, 701}, {2});
        EXPECT_FALSE(PackRows(SourceOf(rows, DType::kF32, 701), 0, 0, 2, weight));
        const uint32_t word =
            WordAt(weight, 1, static_cast<int64_t>(at) / (type == ComputeType::kFloat32 ? 1 : 2));
        const uint32_t bits = type == ComputeType::kFloat32 ? word
                              : at % 2 == 0                 ? word << 16
                                                            : word & 0xffff0000u;
        EXPECT_FALSE(std::isfinite(std::bit_cast<float>(bits)));
        EXPECT_TRUE(PackRows(SourceOf(rows, DType::kF32, 701), 0, 0, 1, weight));
      }
    }
    for (auto [dtype, bits] : {std::pair{DType::kBF16, 0x7f80}, std::pair{DType::kBF16, 0xffc0},
                               std::pair{DType::kF16, 0x7c00}, std::pair{DType::kF16, 0x7e01}}) {
      std::vector<uint16_t> row(5, 0x3c00);
      row[4] = static_cast<uint16_t>(bits);
      LinearWeight weight = MakeLinearWeight(type, {0, 5}, {1});
      EXPECT_FALSE(PackRows(SourceOf(row, dtype, 5), 0, 0, 1, weight));
      row[4] = 0x3c00;
      EXPECT_TRUE(PackRows(SourceOf(row, dtype, 5), 0, 0, 1, weight));
    }
  }
  // Finite as stored, infinite as rounded.
  const std::vector<float> huge = {3.4e38f};
  LinearWeight weight = MakeLinearWeight(ComputeType::kBFloat16, {0, 1}, {1});
  EXPECT_FALSE(PackRows(SourceOf(huge, DType::kF32, 1), 0, 0, 1, weight));
}

TEST(LinearWeightDeathTest, BadShapes) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(MakeLinearWeight(ComputeType::kFloat32, {0, 4, 2}, {1}), "features");
  EXPECT_DEATH(MakeLinearWeight(ComputeType::kFloat32, {0}, {1}), "leaf_features");
  const std::vector<float> rows(64);
  LinearWeight weight = MakeLinearWeight(ComputeType::kFloat32, {0, 4}, {3});
  EXPECT_DEATH(PackRows(SourceOf(rows, DType::kF32, 4), 0, 2, 2, weight), "size");
  EXPECT_DEATH(PackRows(SourceOf(rows, DType::kI8, 4), 0, 0, 1, weight), "dtype");
}

}  // namespace
}  // namespace tandem
