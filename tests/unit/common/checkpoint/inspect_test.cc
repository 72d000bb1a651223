#include "common/checkpoint/inspect.h"

#include <string>

#include "common/config/presets.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;

ModelConfig Preset(const std::string& name) {
  const auto config = ParseModelConfig(*PresetConfigJson(name), "");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

TEST(InspectTest, CountsAsThePublisherWritesThem) {
  const std::pair<const char*, const char*> sizes[] = {
      {"t5gemma2_270m_270m", "953.80M"}, {"t5gemma2_1b_1b", "2.42B"}, {"t5gemma2_4b_4b", "8.18B"}};
  for (const auto& [name, published] : sizes) {
    EXPECT_EQ(InspectConfig(Preset(name))["parameters"]["published_text"], published);
  }
  EXPECT_EQ(InspectConfig(Preset("t5gemma2_270m_270m"))["parameters"]["unique_text"], "786.03M");
}

TEST(InspectTest, NumbersForPeople) {
  EXPECT_EQ(CountText(999), "999");
  EXPECT_EQ(CountText(2150), "2.15K");
  EXPECT_EQ(BytesText(1023), "1023 B");
  EXPECT_EQ(BytesText(18432), "18.00 KiB");
  EXPECT_EQ(BytesText(int64_t{3} << 30), "3.00 GiB");
}

// By hand: 270m-270m in bf16. A layer's matrices: 2 * 640 * (1024 + 256) + 3 * 640 * 2048 at TP 1;
// vectors: 4 * 640 + 2 * 256, in fp32; 18 layers, and a norm of 640.
TEST(InspectTest, BytesOfARank) {
  const ordered_json facts = InspectConfig(Preset("t5gemma2_270m_270m"));
  const ordered_json& rows = facts["bytes_per_rank"]["decoder"];
  ASSERT_EQ(rows.size(), 3u);  // Four heads: TP 1, 2 and 4.
  const int64_t vectors = 4 * (18 * (4 * 640 + 2 * 256) + 640);
  for (int64_t tp = 1, i = 0; tp <= 4; tp *= 2, ++i) {
    const ordered_json& row = rows[static_cast<size_t>(i)];
    EXPECT_EQ(row["tp"], tp);
    // The one KV head is on every rank.
    EXPECT_EQ(row["kv_heads"], 1);
    EXPECT_EQ(row["kv_bytes_per_token"], 18432);
    EXPECT_EQ(row["layer_bytes"],
              2 * 18 * (2 * 640 * (1024 / tp + 256) + 3 * 640 * 2048 / tp) + vectors);
    EXPECT_EQ(row["table_bytes"], 2 * 640 * (262144 / tp) + 4 * 640);
    EXPECT_EQ(row["total_bytes"],
              row["layer_bytes"].get<int64_t>() + row["table_bytes"].get<int64_t>());
  }
  EXPECT_EQ(facts["kv_bytes_per_token"], 18432);
  EXPECT_EQ(facts["bytes_per_rank"]["encoder"][0]["total_bytes"], rows[0]["total_bytes"]);
  EXPECT_FALSE(facts["bytes_per_rank"]["encoder"][0].contains("kv_bytes_per_token"));
}

TEST(InspectTest, KvHeadsOfARank) {
  const ordered_json rows = InspectConfig(Preset("t5gemma2_4b_4b"))["bytes_per_rank"]["decoder"];
  ASSERT_EQ(rows.size(), 4u);  // Eight query heads over four KV heads.
  EXPECT_EQ(rows[0]["kv_heads"], 4);
  EXPECT_EQ(rows[1]["kv_heads"], 2);
  EXPECT_EQ(rows[2]["kv_heads"], 1);
  EXPECT_EQ(rows[3]["kv_heads"], 1);
}

TEST(InspectTest, VisionAtOneRankIsTheWholeTower) {
  ModelConfig config = Preset("t5gemma2_270m_270m");
  config.stored_dtype = DType::kF32;  // Matrices and vectors alike.
  const ordered_json facts = InspectConfig(config);
  const ParameterCounts counts = CountParameters(config);
  const ordered_json& vision = facts["bytes_per_rank"]["vision"];
  ASSERT_EQ(vision.size(), 5u);  // 16 heads.
  EXPECT_EQ(vision[0]["total_bytes"], 4 * (counts.vision + counts.projector));
  EXPECT_LT(vision[4]["total_bytes"].get<int64_t>(), vision[0]["total_bytes"].get<int64_t>() / 10);
  EXPECT_EQ(facts["bytes_per_rank"]["encoder"][0]["total_bytes"],
            4 * (counts.encoder + counts.table + config.encoder.hidden_dim));
}

TEST(InspectTest, UntiedDecodersHoldTwoTables) {
  ModelConfig config = Preset("t5gemma2_270m_270m");
  config.tie_word_embeddings = false;
  const ordered_json rows = InspectConfig(config)["bytes_per_rank"];
  EXPECT_EQ(rows["decoder"][0]["table_bytes"], 2 * 2 * 640 * 262144 + 4 * 640);
  EXPECT_EQ(rows["encoder"][0]["table_bytes"], 2 * 640 * 262144 + 4 * 640);
}

TEST(InspectTest, TextSaysTheMainThings) {
  ordered_json facts = InspectConfig(Preset("t5gemma2_270m_270m"));
  facts["tokenizer"] = {{"kind", "tokenizer.json"}, {"size", 262144}};
  const std::string text = InspectText(facts);
  EXPECT_THAT(text, HasSubstr("parameters         786.03M unique (786029296), 953.80M as published "
                              "with a table for each stack (953800816)\n"));
  EXPECT_THAT(text, HasSubstr("  layers           18: 15 sliding (window 512), 3 full (5, 11, "
                              "17)\n"));
  EXPECT_THAT(text, HasSubstr("  decoder  TP 4    "));
  EXPECT_THAT(text, HasSubstr("K/V 18.00 KiB a token\n"));
  EXPECT_THAT(text, HasSubstr("tokenizer\n  kind             tokenizer.json\n"));
}

TEST(InspectTest, WeightsByType) {
  const std::string folder = std::string(TANDEM_TEST_DATA) + "/hf/sharded";
  const auto config = LoadModelConfig(folder);
  const auto checkpoint = Checkpoint::Open(folder, *config, LoadMode::kAuto);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const ordered_json facts = InspectWeights(**checkpoint);
  EXPECT_EQ(facts["bytes"], 499776);  // metadata.total_size of its index.
  EXPECT_EQ(facts["tensors_of"]["BF16"], facts["tensors"]);
  EXPECT_THAT(InspectText(InspectConfig(*config)), HasSubstr("vision\n  layers "));
}

}  // namespace
}  // namespace tandem
