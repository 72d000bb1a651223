#include "coordinator/cli/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/exit_code.h"
#include "common/config/presets.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;

ModelConfig Preset() { return *ParseModelSource(*ResolveModel("t5gemma2_270m_270m")); }

std::vector<LayoutGroup> Groups(const std::string& yaml, int ranks) {
  const absl::StatusOr<Layout> layout = ParseLayout(yaml, ranks);
  EXPECT_TRUE(layout.ok()) << layout.status();
  return AllGroups(*layout);
}

MemoryPlanOptions Options(int64_t kv_cache_bytes = 0) {
  return {.type = ComputeType::kBFloat16,
          .kv_cache_bytes = kv_cache_bytes,
          .max_num_seqs = 1,
          .max_model_len = 64};
}

// Source: docs/model.md, "Parameter counts": 268 M in a stack of this preset, 168 M of them its
// table.
TEST(MemoryPlanTest, ASharedTableCountsOnce) {
  const ModelConfig model = Preset();
  const auto groups = Groups("encoder: [{ranks: [0]}]\ndecoder: [{ranks: [0]}]\n", 1);
  const MemoryPlan plan = PlanMemory(model, groups, {{"a", 64 * kGiB}}, Options());
  const int64_t table = 2 * int64_t{262144} * 640;
  ASSERT_EQ(plan.ranks.size(), 1u);
  int64_t each = 0;
  for (const int64_t bytes : plan.ranks[0].shard_bytes) each += bytes;
  EXPECT_NEAR(static_cast<double>(each - plan.ranks[0].weight_bytes), static_cast<double>(table),
              4 * 640);
  EXPECT_NEAR(static_cast<double>(plan.ranks[0].weight_bytes), 2.0 * 368e6, 1e7);
}

TEST(MemoryPlanTest, EachRankHasItsShards) {
  const ModelConfig model = Preset();
  const auto groups = Groups(
      "coordinator: own\nencoder: [{ranks: [1]}]\ndecoder: [{ranks: [2, 3]}, {ranks: [1]}]\n", 4);
  std::vector<HostMemory> hosts(4, {"a", 64 * kGiB});
  const MemoryPlan plan = PlanMemory(model, groups, hosts, Options());
  EXPECT_EQ(plan.ranks[0].weight_bytes, 0);
  EXPECT_EQ(plan.ranks[0].kv_bytes, 0);
  EXPECT_GT(plan.ranks[1].weight_bytes, plan.ranks[2].weight_bytes);
  EXPECT_NEAR(static_cast<double>(plan.ranks[2].weight_bytes),
              static_cast<double>(plan.ranks[3].weight_bytes), 1e6);
  // Automatic: twice what one sequence of the longest prompt could use, 64 tokens: 2 pages.
  for (const LayoutGroup& group : groups) {
    EXPECT_EQ(plan.kv_tokens[static_cast<size_t>(group.id)],
              group.stage == StageKind::kDecoder ? 128 : 0);
  }
  EXPECT_TRUE(CheckMemory(plan, groups, hosts, Options()).ok());
}

TEST(MemoryPlanTest, HostsThatAreTooSmall) {
  const ModelConfig model = Preset();
  const auto groups = Groups("encoder: [{ranks: [0]}]\ndecoder: [{ranks: [1]}]\n", 2);
  const auto message = [&](const std::vector<HostMemory>& hosts, int64_t kv_cache_bytes) {
    const MemoryPlanOptions options = Options(kv_cache_bytes);
    const absl::Status status =
        CheckMemory(PlanMemory(model, groups, hosts, options), groups, hosts, options);
    EXPECT_TRUE(status.ok() || ExitCodeOf(status) == ExitCode::kUsage);
    return std::string(status.message());
  };
  // 512 MiB a rank: each alone fits, both together do not.
  EXPECT_EQ(message({{"a", kGiB * 3 / 4}, {"b", kGiB * 3 / 4}}, 0), "");
  EXPECT_THAT(
      message({{"a", kGiB * 3 / 4}, {"a", kGiB * 3 / 4}}, 0),
      ::testing::MatchesRegex("host a has 768.00 MiB of memory left, but its 2 ranks need "
                              "102.\\....MiB of weights: use more hosts, or have fewer groups"));
  EXPECT_THAT(message({{"a", 4 * kGiB}, {"b", 4 * kGiB}}, 4 * kGiB),
              HasSubstr("host b has 4.00 GiB of memory left, but its rank needs "));
  EXPECT_THAT(message({{"a", 4 * kGiB}, {"b", 4 * kGiB}}, 4 * kGiB),
              HasSubstr(" of K/V memory: give less --kv-cache-mb, use more hosts"));
  EXPECT_EQ(message({{"a", 4 * kGiB}, {"b", 4 * kGiB}}, 1000),
            "the K/V memory of decoder group 0 is too small for one sequence: raise --kv-cache-mb");
  // A host that does not tell is not refused.
  EXPECT_EQ(message({{"a", 0}, {"b", 0}}, 0), "");
}

}  // namespace
}  // namespace tandem
