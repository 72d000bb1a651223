#include "worker/model/kv_pool.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

KvPool MakePool(int64_t pages) {
  return {KvLayout{.type = ComputeType::kFloat32, .num_kv_heads = 1, .head_dim = 16}, 2, pages};
}

TEST(KvPoolTest, APageIsFreeWhenItsLastOwnerLetsGo) {
  KvPool pool = MakePool(4);
  std::vector<int32_t> pages;
  ASSERT_TRUE(pool.Allocate(3, pages));
  EXPECT_FALSE(pool.Allocate(2, pages));
  EXPECT_EQ(pages.size(), 3u);
  pool.Share({pages[0], pages[1]});
  EXPECT_TRUE(pool.IsShared(pages[0]));
  EXPECT_FALSE(pool.IsShared(pages[2]));
  pool.Free(pages);
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_FALSE(pool.IsShared(pages[0]));
  pool.Free({pages[0], pages[1]});
  EXPECT_EQ(pool.num_free(), 4);
}

TEST(KvPoolTest, ACopyHasAllLayers) {
  KvPool pool = MakePool(2);
  std::vector<int32_t> pages;
  ASSERT_TRUE(pool.Allocate(2, pages));
  for (int64_t layer = 0; layer < 2; ++layer) {
    *pool.Layer(layer).key_part(pages[0], 0) = 7 + static_cast<uint32_t>(layer);
  }
  pool.Copy(pages[0], pages[1]);
  EXPECT_EQ(*pool.Layer(0).key_part(pages[1], 0), 7u);
  EXPECT_EQ(*pool.Layer(1).key_part(pages[1], 0), 8u);
  EXPECT_EQ(pool.num_copies(), 1);
}

TEST(KvPoolDeathTest, APageWithoutOwnersIsNotFreed) {
  KvPool pool = MakePool(1);
  EXPECT_DEATH(pool.Free({0}), "owners");
}

}  // namespace
}  // namespace tandem
