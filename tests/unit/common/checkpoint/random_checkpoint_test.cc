#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "common/checkpoint/checkpoint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

ModelConfig ConfigOf(const std::string& name) {
  absl::StatusOr<ModelConfig> config =
      LoadModelConfig(std::string(TANDEM_TEST_DATA) + "/hf/" + name);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

// The slice as floats, row after row.
std::vector<float> Values(Checkpoint& checkpoint, const std::string& name, const Slice& slice) {
  std::vector<float> values;
  const absl::Status status = checkpoint.Read(name, slice, [&values](const TensorBlock& block) {
    for (int64_t row = 0; row < block.num_rows; ++row) {
      const std::byte* data = block.data + row * block.row_stride_bytes;
      for (int64_t i = 0; i < block.num_cols; ++i) {
        if (block.dtype == DType::kF32) {
          values.push_back(reinterpret_cast<const float*>(data)[i]);
        } else {
          values.push_back(Bf16ToFloat(reinterpret_cast<const uint16_t*>(data)[i]));
        }
      }
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return values;
}

constexpr char kTable[] = "encoder.embed_tokens.weight";

TEST(RandomCheckpointTest, AnySliceHasTheSameNumbers) {
  for (const char* name : {"text_full", "bf16_text"}) {
    const ModelConfig config = ConfigOf(name);
    const int64_t cols = config.encoder.hidden_dim;
    auto one = Checkpoint::Random(config, 7);
    auto other = Checkpoint::Random(config, 7);
    const std::vector<float> whole = Values(*one, kTable, {0, 512, 0, cols});
    const std::vector<float> part = Values(*other, kTable, {100, 200, 8, 24});
    ASSERT_EQ(part.size(), 100u * 16u);
    for (size_t i = 0; i < part.size(); ++i) {
      const size_t row = 100 + i / 16;
      ASSERT_EQ(part[i], whole[row * static_cast<size_t>(cols) + 8 + i % 16]);
    }
    EXPECT_EQ(other->bytes_read(), 100 * 16 * SizeOf(config.stored_dtype));
    EXPECT_EQ(one->identity_hash(), other->identity_hash());
  }
}

TEST(RandomCheckpointTest, NumbersAreNearlyNormal) {
  const ModelConfig config = ConfigOf("text_full");
  auto checkpoint = Checkpoint::Random(config, 0);
  const std::vector<float> values = Values(*checkpoint, kTable, {0, 512, 0, 64});
  double sum = 0.0;
  double sum_sq = 0.0;
  int beyond_two = 0;
  for (const float value : values) {
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    sum_sq += double{value} * value;
    if (std::abs(value) > 2 * 0.02f) ++beyond_two;
  }
  const auto count =
      static_cast<double>(values.size());  // 32,768: a deviation of 0.6 % is 1 sigma.
  EXPECT_NEAR(sum / count, 0.0, 5 * 0.02 / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(sum_sq / count), 0.02, 0.02 * 0.02);
  EXPECT_NEAR(beyond_two / count, 0.0455, 0.01);
}

TEST(RandomCheckpointTest, SeedAndNameDecide) {
  const ModelConfig config = ConfigOf("text_full");
  auto zero = Checkpoint::Random(config, 0);
  auto one = Checkpoint::Random(config, 1);
  const std::string up = "decoder.layers.0.mlp.up_proj.weight";
  const std::string gate = "decoder.layers.0.mlp.gate_proj.weight";
  const Slice slice{0, 2, 0, 64};
  EXPECT_NE(Values(*zero, up, slice), Values(*one, up, slice));
  EXPECT_NE(Values(*zero, up, slice), Values(*zero, gate, slice));
  EXPECT_NE(zero->identity_hash(), one->identity_hash());
  EXPECT_EQ(zero->Read("decoder.nothing", {}, [](const TensorBlock&) { return absl::OkStatus(); }),
            absl::NotFoundError("random weights: no tensor decoder.nothing"));
}

// The numbers are part of what a seed means: init and --load-weights=false agree between versions.
TEST(RandomCheckpointTest, TheseAreTheNumbers) {
  auto checkpoint = Checkpoint::Random(ConfigOf("text_full"), 42);
  const std::vector<float> values = Values(*checkpoint, "decoder.norm.weight", {0, 1, 0, 3});
  EXPECT_THAT(values, ::testing::ElementsAre(0.0106281573f, -0.0445212312f, 0.0115669155f));
}

TEST(RandomCheckpointTest, HalfPrecisionIsGivenAsFloats) {
  ModelConfig config = ConfigOf("text_full");
  config.stored_dtype = DType::kF16;
  auto checkpoint = Checkpoint::Random(config, 0);
  EXPECT_EQ(checkpoint->Info(kTable)->dtype, DType::kF32);
}

TEST(RandomCheckpointTest, LayerNormsOfVisionAreNearOne) {
  auto checkpoint = Checkpoint::Random(ConfigOf("text_full"), 0);
  for (const float value :
       Values(*checkpoint, "encoder.vision_tower.post_layernorm.weight", {0, 1, 0, 16})) {
    EXPECT_NEAR(value, 1.0f, 0.1f);
  }
}

}  // namespace
}  // namespace tandem
