#include "common/parallel/shard.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/parallel/leaves.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;

TEST(ShardAttentionTest, OneRankHoldsAllHeads) {
  const AttentionShard shard = ShardAttention({.num_heads = 4, .num_kv_heads = 1}, {});
  EXPECT_EQ(shard.first_head, 0);
  EXPECT_EQ(shard.num_heads, 4);
  EXPECT_EQ(shard.first_kv_head, 0);
  EXPECT_EQ(shard.num_kv_heads, 1);
  EXPECT_THAT(shard.kv_head_of_head, ElementsAre(0, 0, 0, 0));
}

TEST(ShardAttentionTest, KvHeadsSplitWithTheirQueryHeads) {
  const AttentionShard shard =
      ShardAttention({.num_heads = 8, .num_kv_heads = 4}, {.tp_size = 2, .tp_rank = 1});
  EXPECT_EQ(shard.first_head, 4);
  EXPECT_EQ(shard.num_heads, 4);
  EXPECT_EQ(shard.first_kv_head, 2);
  EXPECT_EQ(shard.num_kv_heads, 2);
  EXPECT_THAT(shard.kv_head_of_head, ElementsAre(0, 0, 1, 1));
}

TEST(ShardAttentionTest, KvHeadsAreReplicatedBeyondTheirNumber) {
  for (int rank = 0; rank < 8; ++rank) {
    const AttentionShard shard =
        ShardAttention({.num_heads = 8, .num_kv_heads = 4}, {.tp_size = 8, .tp_rank = rank});
    EXPECT_EQ(shard.num_heads, 1);
    EXPECT_EQ(shard.first_kv_head, rank / 2);
    EXPECT_EQ(shard.num_kv_heads, 1);
    EXPECT_THAT(shard.kv_head_of_head, ElementsAre(0));
  }
}

// Three KV heads on two ranks: both need the one in the middle.
TEST(ShardAttentionTest, UnevenGroups) {
  const AttentionHeads heads{.num_heads = 6, .num_kv_heads = 3};
  const AttentionShard first = ShardAttention(heads, {.tp_size = 2, .tp_rank = 0});
  EXPECT_EQ(first.first_head, 0);
  EXPECT_EQ(first.first_kv_head, 0);
  EXPECT_EQ(first.num_kv_heads, 2);
  EXPECT_THAT(first.kv_head_of_head, ElementsAre(0, 0, 1));
  const AttentionShard second = ShardAttention(heads, {.tp_size = 2, .tp_rank = 1});
  EXPECT_EQ(second.first_head, 3);
  EXPECT_EQ(second.first_kv_head, 1);
  EXPECT_EQ(second.num_kv_heads, 2);
  EXPECT_THAT(second.kv_head_of_head, ElementsAre(0, 1, 1));
}

// For all small head counts: every query head is on one rank, reads the KV head that the whole
// attention reads, and its features are those of the rank's leaves of o.
TEST(ShardAttentionTest, EveryHeadHasOneOwnerThatHoldsItsKvHeadAndItsLeaves) {
  for (int64_t num_heads = 1; num_heads <= 24; ++num_heads) {
    for (int64_t num_kv_heads = 1; num_kv_heads <= num_heads; ++num_kv_heads) {
      if (num_heads % num_kv_heads != 0) continue;
      for (int tp_size : {1, 2, 4, 8}) {
        if (num_heads % tp_size != 0) continue;
        int64_t next_head = 0;
        for (int tp_rank = 0; tp_rank < tp_size; ++tp_rank) {
          const TpRank rank{.tp_size = tp_size, .tp_rank = tp_rank};
          const AttentionShard shard =
              ShardAttention({.num_heads = num_heads, .num_kv_heads = num_kv_heads}, rank);
          ASSERT_EQ(shard.first_head, next_head);
          next_head += shard.num_heads;
          ASSERT_EQ(static_cast<int64_t>(shard.kv_head_of_head.size()), shard.num_heads);
          for (int64_t i = 0; i < shard.num_heads; ++i) {
            const int64_t local = shard.kv_head_of_head[static_cast<size_t>(i)];
            ASSERT_LT(local, shard.num_kv_heads);
            ASSERT_EQ(shard.first_kv_head + local,
                      (shard.first_head + i) / (num_heads / num_kv_heads));
          }
          ASSERT_EQ(*std::max_element(shard.kv_head_of_head.begin(), shard.kv_head_of_head.end()),
                    shard.num_kv_heads - 1);  // None is held in vain.
          for (int64_t head_dim : {2, 6, 16, 24, 256}) {
            const LeafShard leaves = ShardOf(AttentionCut(num_heads, head_dim), rank);
            ASSERT_EQ(leaves.begin(), shard.first_head * head_dim);
            ASSERT_EQ(leaves.size(), shard.num_heads * head_dim);
          }
        }
        ASSERT_EQ(next_head, num_heads);
      }
    }
  }
}

TEST(ShardAttentionDeathTest, RefusesATpSizeThatDoesNotDivideTheHeads) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(ShardAttention({.num_heads = 6, .num_kv_heads = 3}, {.tp_size = 4}),
               "heads.num_heads % rank.tp_size == 0");
}

}  // namespace
}  // namespace tandem
