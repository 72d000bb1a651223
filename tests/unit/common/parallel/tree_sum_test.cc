#include "common/parallel/tree_sum.h"

#include <cstddef>
#include <vector>

#include "gtest/gtest.h"

namespace tandem {
namespace {

// Powers of two far apart: a sum keeps what it has and drops what is small against it, so that each
// order of additions gives another result.
TEST(TreeSumTest, JoinsNeighboursFirstLowerLeft) {
  const float values[] = {1e8f, 1.0f, -1e8f, 1.0f, 3.0f};
  const auto sum = [&](size_t count) {
    std::vector<const float*> partials;
    for (size_t i = 0; i < count; ++i) partials.push_back(&values[i]);
    float out = 0;
    TreeSum(partials, 1, &out);
    return out;
  };
  EXPECT_EQ(sum(1), 1e8f);
  EXPECT_EQ(sum(2), 1e8f + 1.0f);
  EXPECT_EQ(sum(3), (1e8f + 1.0f) + -1e8f);
  EXPECT_EQ(sum(4), (1e8f + 1.0f) + (-1e8f + 1.0f));
  EXPECT_EQ(sum(5), ((1e8f + 1.0f) + (-1e8f + 1.0f)) + 3.0f);
  EXPECT_EQ(sum(4), 0.0f);  // In rank order it would be 1.
}

TEST(TreeSumTest, EveryLengthAndWidthEqualsTheTreeByElement) {
  for (size_t ranks = 1; ranks <= 9; ++ranks) {
    for (size_t count : {0, 1, 3, 511, 512, 513, 1029}) {
      std::vector<std::vector<float>> partials(ranks, std::vector<float>(count));
      std::vector<const float*> views;
      for (size_t r = 0; r < ranks; ++r) {
        for (size_t i = 0; i < count; ++i) {
          partials[r][i] = static_cast<float>((i * 7919 + r * 104729) % 1000003) * 1.1f;
        }
        views.push_back(partials[r].data());
      }
      std::vector<std::vector<float>> tree = partials;
      for (size_t step = 1; step < ranks; step *= 2) {
        for (size_t r = 0; r + step < ranks; r += 2 * step) {
          for (size_t i = 0; i < count; ++i) tree[r][i] += tree[r + step][i];
        }
      }
      std::vector<float> out(count + 1, -1.0f);
      TreeSum(views, static_cast<int64_t>(count), out.data());
      EXPECT_EQ(out.back(), -1.0f);  // Nothing is written behind the end.
      out.pop_back();
      EXPECT_EQ(out, tree[0]) << ranks << " ranks, " << count << " elements";

      // In place, into the last partial.
      TreeSum(views, static_cast<int64_t>(count), partials.back().data());
      EXPECT_EQ(partials.back(), tree[0]);
    }
  }
}

}  // namespace
}  // namespace tandem
