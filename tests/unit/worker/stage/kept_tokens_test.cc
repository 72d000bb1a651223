#include "worker/stage/kept_tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "common/base/thread_pool.h"
#include "common/kernels/math.h"
#include "common/parallel/thread_world.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// The definition of kept_tokens.h over a whole vocabulary.
std::set<int32_t> Definition(const ChoiceSpec& choice, const std::vector<float>& values,
                             double total_mass) {
  std::vector<Candidate> tokens;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] > kMinusInfinity) tokens.push_back({static_cast<int32_t>(i), values[i]});
  }
  std::sort(tokens.begin(), tokens.end(), Better);
  const float max = tokens[0].logit;
  const auto mass = [max](float value) {
    return static_cast<uint64_t>(std::floor(static_cast<double>(Exp(value - max)) * 0x1p40));
  };
  double total = total_mass * 0x1p40;
  if (choice.top_k > 0) {
    const auto k = std::min(static_cast<size_t>(choice.top_k), tokens.size());
    const float border = tokens[k - 1].logit;
    std::erase_if(tokens, [border](const Candidate& c) { return c.logit < border; });
    uint64_t sum = 0;
    for (const Candidate& c : tokens) sum += mass(c.logit);
    total = static_cast<double>(sum);
  }
  std::set<int32_t> kept;
  uint64_t better = 0;
  for (const Candidate& c : tokens) {
    const bool top_p = choice.top_p >= 1.0f ||
                       static_cast<double>(better) < static_cast<double>(choice.top_p) * total;
    if (top_p && (choice.min_p <= 0.0f || Exp(c.logit - max) >= choice.min_p)) kept.insert(c.id);
    better += mass(c.logit);
  }
  return kept;
}

double MassOfAll(const std::vector<float>& values) {
  const float max = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const float value : values) sum += value > kMinusInfinity ? Exp(value - max) : 0.0f;
  return sum;
}

std::set<int32_t> Search(int ranks, const ChoiceSpec& choice, const std::vector<float>& values,
                         double total_mass) {
  const float max = *std::max_element(values.begin(), values.end());
  std::vector<std::set<int32_t>> found(static_cast<size_t>(ranks));
  const absl::Status status = RunRanksOrAbort(ranks, [&](World& world) -> absl::Status {
    SetComputeFloatMode();
    std::vector<int> members;
    for (int rank = 0; rank < ranks; ++rank) members.push_back(rank);
    auto tp = world.MakeGroup(members);
    if (!tp.ok()) return tp.status();
    // Shards of different lengths.
    const size_t begin =
        values.size() * static_cast<size_t>(world.rank()) / static_cast<size_t>(ranks);
    const size_t end =
        values.size() * static_cast<size_t>(world.rank() + 1) / static_cast<size_t>(ranks);
    const auto kept = SearchKept(choice, absl::MakeConstSpan(values).subspan(begin, end - begin),
                                 static_cast<int32_t>(begin), max, total_mass, **tp);
    if (!kept.ok()) return kept.status();
    for (const Candidate& c : *kept) {
      EXPECT_EQ(c.logit, values[static_cast<size_t>(c.id)]);
      found[static_cast<size_t>(world.rank())].insert(c.id);
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  std::set<int32_t> all;
  for (const std::set<int32_t>& part : found) all.insert(part.begin(), part.end());
  return all;
}

struct Shape {
  int vocab;
  float spread;  // Of the logits.
  int distinct;  // So many different values; 0: all differ.
};

// Peaked and flat rows, with and without ties, every option alone and together: the search over
// shards finds the definition's tokens on any number of ranks, and so do the candidates wherever
// they say that they know.
TEST(KeptTokensTest, BothWaysFindTheDefinition) {
  SetComputeFloatMode();
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  int known = 0, unknown = 0;
  for (const Shape& shape : {Shape{1000, 3.0f, 0}, Shape{1000, 0.1f, 0}, Shape{1000, 1.0f, 7},
                             Shape{1000, 0.0f, 1}, Shape{37, 2.0f, 0}, Shape{3000, 30.0f, 0}}) {
    for (int trial = 0; trial < 60; ++trial) {
      ChoiceSpec choice;
      choice.temperature = 1.0f;
      const auto any = [&](std::initializer_list<float> values) {
        return values.begin()[random() % values.size()];
      };
      choice.top_k = static_cast<int32_t>(any({0, 0, 1, 2, 20, 200, 999, 5000}));
      choice.top_p = any({1.0f, 1.0f, 1e-6f, 0.1f, 0.5f, 0.9f, 0.999f, 0.9999999f});
      choice.min_p = any({0.0f, 0.0f, 1e-4f, 0.1f, 0.9f, 1.0f});
      if (!Truncates(choice)) continue;
      std::vector<float> values;
      for (int i = 0; i < shape.vocab; ++i) {
        float value = normal(random) * shape.spread;
        if (shape.distinct > 0) value = static_cast<float>(random() % shape.distinct) - 3.0f;
        values.push_back(random() % 20 == 0 ? kMinusInfinity : value);
      }
      values[random() % values.size()] = -0.0f;
      values[random() % values.size()] = 0.0f;
      const double total = MassOfAll(values);
      const std::set<int32_t> want = Definition(choice, values, total);
      EXPECT_EQ(Search(1, choice, values, total), want);
      EXPECT_EQ(Search(3, choice, values, total), want);

      std::vector<Candidate> tokens;
      for (size_t i = 0; i < values.size(); ++i) {
        if (values[i] > kMinusInfinity) tokens.push_back({static_cast<int32_t>(i), values[i]});
      }
      std::sort(tokens.begin(), tokens.end(), Better);
      for (const size_t at_hand : {size_t{1}, size_t{21}, size_t{256}, tokens.size()}) {
        const size_t count = std::min(at_hand, tokens.size());
        const float floor = count == tokens.size() ? kMinusInfinity : tokens[count - 1].logit;
        const auto kept = KeptOf(choice, absl::MakeConstSpan(tokens).first(count), floor, total);
        ++(kept.has_value() ? known : unknown);
        if (!kept.has_value()) {
          EXPECT_LT(count, tokens.size());
          continue;
        }
        std::set<int32_t> ids;
        for (const Candidate& c : *kept) ids.insert(c.id);
        EXPECT_EQ(ids, want) << "top_k " << choice.top_k << " top_p " << choice.top_p << " min_p "
                             << choice.min_p << " of " << count;
      }
    }
  }
  EXPECT_GT(known, 300);
  EXPECT_GT(unknown, 100);
}

// What would be lost if candidates were trusted too far: a tie at the border of top_k.
TEST(KeptTokensTest, ATieBehindTheCandidatesIsNotMissed) {
  SetComputeFloatMode();
  ChoiceSpec choice;
  choice.top_k = 2;
  const std::vector<Candidate> tokens = {{5, 3.0f}, {1, 2.0f}, {7, 2.0f}};
  EXPECT_FALSE(KeptOf(choice, tokens, 2.0f, 0.0).has_value());
  EXPECT_EQ(KeptOf(choice, tokens, 1.0f, 0.0)->size(), 3u);
}

TEST(KeptTokensTest, TotalMassAddsTheEditedTokens) {
  SetComputeFloatMode();
  const double total = TotalMass({.max = 1.0f, .sum = 2.0f}, {{3.0f, kMinusInfinity, 1.0f}}, 3.0f);
  EXPECT_NEAR(total, 2.0 * std::exp(-2.0) + 1.0 + std::exp(-2.0), 1e-6);
  EXPECT_NEAR(TotalMass(LogSumExp(), {{3.0f}}, 3.0f), 1.0, 1e-6);
}

}  // namespace
}  // namespace tandem
