#include "worker/stage/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/worker/stage/sampler_fixture.h"
#include "worker/stage/kept_tokens.h"

namespace tandem::testing {
namespace {

std::vector<float> GaussRow(std::mt19937& random, int64_t vocab, float spread) {
  return Gauss(random, vocab, spread);
}

RowQuestion Ask(const SequenceSpec& spec, const std::vector<int32_t>& tokens) {
  return {.spec = &spec, .tokens = tokens, .num_prompt = 1};
}

// Every way of choosing, with edits and without: the same answers, to the bit, on 1, 2, 4 and 8
// ranks and any number of threads; and some of them need the search over shards.
TEST(SamplerTest, AnswersDoNotDependOnTheSplit) {
  std::mt19937 random(1);
  Logits logits;
  std::vector<SequenceSpec> specs;
  std::vector<std::vector<int32_t>> tokens;
  for (const float temperature : {0.0f, 0.5f, 1.0f, 3.0f}) {
    for (const float top_p : {1.0f, 0.3f, 0.95f}) {
      for (const int top_k : {0, 3, 40, 2000}) {
        for (const float min_p : {0.0f, 0.05f}) {
          SequenceSpec spec;
          spec.stop_token_ids = {1};
          spec.num_logprobs = 2;
          spec.choice = {.temperature = temperature,
                         .top_k = top_k,
                         .top_p = top_p,
                         .min_p = min_p,
                         .seed = random(),
                         .sample = 1};
          if (specs.size() % 3 == 1) {
            spec.choice.repetition_penalty = 1.5f;
            spec.choice.logit_bias = {{.id = 7, .bias = 4.0f}, {.id = 4000, .bias = 5.0f}};
            spec.min_tokens = 100;
          }
          if (specs.size() % 5 == 2) spec.target = {};
          specs.push_back(spec);
          logits.push_back(GaussRow(random, 4099, specs.size() % 2 == 0 ? 3.0f : 0.3f));
          tokens.push_back({2, 5, 700, 5, 4098});
        }
      }
    }
  }
  std::vector<RowQuestion> questions;
  for (size_t i = 0; i < specs.size(); ++i) {
    questions.push_back(Ask(specs[i], tokens[i]));
    if (i % 7 == 3) questions.back().target = 4000;
    if (i % 7 == 5) questions.back().num_extensions = 12;
  }
  const Answers want = AnswerAtTp(1, logits, questions);
  EXPECT_GT(want.num_searches, 5);
  for (const int tp : {2, 4, 8}) {
    const Answers got = AnswerAtTp(tp, logits, questions, 1 + tp % 3);
    EXPECT_EQ(got.num_searches, want.num_searches);
    for (size_t i = 0; i < questions.size(); ++i) {
      const RowAnswer& a = got.rows[i];
      const RowAnswer& b = want.rows[i];
      EXPECT_FALSE(b.nonfinite);
      EXPECT_EQ(a.token, b.token) << i;
      EXPECT_EQ(std::bit_cast<uint32_t>(a.logprob), std::bit_cast<uint32_t>(b.logprob)) << i;
      ASSERT_EQ(a.top.size(), b.top.size());
      for (size_t k = 0; k < a.top.size(); ++k) {
        EXPECT_EQ(a.top[k].id, b.top[k].id);
        EXPECT_EQ(a.top[k].logit, b.top[k].logit);
      }
      ASSERT_EQ(a.extensions.size(), b.extensions.size());
      for (size_t k = 0; k < a.extensions.size(); ++k) {
        EXPECT_EQ(a.extensions[k].id, b.extensions[k].id);
        EXPECT_EQ(a.extensions[k].score, b.extensions[k].score);
      }
    }
  }
}

// The log-probability is that of the raw distribution, whatever the processors do.
TEST(SamplerTest, LogprobsAreOfTheRawDistribution) {
  std::mt19937 random(2);
  const Logits logits = {GaussRow(random, 300, 2.0f)};
  double sum = 0;
  for (const float x : logits[0]) sum += std::exp(static_cast<double>(x));
  SequenceSpec spec;
  spec.num_logprobs = 3;
  spec.choice = {.temperature = 2.0f, .top_k = 5};
  spec.choice.logit_bias = {{.id = 100, .bias = 50.0f}};
  const std::vector<int32_t> tokens = {2};
  const RowAnswer answer = AnswerAtTp(2, logits, {Ask(spec, tokens)}).rows[0];
  EXPECT_EQ(answer.token, 100);  // By its bias.
  EXPECT_NEAR(answer.logprob, static_cast<double>(logits[0][100]) - std::log(sum), 1e-5);
  ASSERT_EQ(answer.top.size(), 3u);
  const float best = *std::max_element(logits[0].begin(), logits[0].end());
  EXPECT_NEAR(answer.top[0].logit, static_cast<double>(best) - std::log(sum), 1e-5);
}

TEST(SamplerTest, NoTokenLeftIsNoAnswer) {
  SequenceSpec spec;
  spec.choice.no_repeat_ngram_size = 1;
  const std::vector<int32_t> tokens = {0, 1, 2};
  const Logits logits = {{1.0f, 2.0f, 3.0f}};
  for (const float temperature : {0.0f, 1.0f}) {
    spec.choice.temperature = temperature;
    for (const float top_p : {1.0f, 0.5f}) {
      spec.choice.top_p = top_p;
      const RowAnswer answer = AnswerAtTp(1, logits, {Ask(spec, tokens)}).rows[0];
      EXPECT_TRUE(answer.no_token);
      EXPECT_FALSE(answer.nonfinite);
    }
  }
}

// ------------------------------------------------------------------------------ the distribution

struct Drawn {
  std::string name;
  ChoiceSpec choice;
  float spread;
};

// Probabilities by the definitions, in f64.
std::map<int32_t, double> Exact(const ChoiceSpec& choice, const std::vector<float>& logits) {
  std::vector<std::pair<double, int32_t>> order;
  for (size_t i = 0; i < logits.size(); ++i) {
    order.push_back(
        {-static_cast<double>(logits[i]) / choice.temperature, static_cast<int32_t>(i)});
  }
  std::sort(order.begin(), order.end());
  if (choice.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(choice.top_k)));
  const auto mass = [&](size_t i) { return std::exp(order[0].first - order[i].first); };
  double total = 0;
  for (size_t i = 0; i < order.size(); ++i) total += mass(i);
  std::map<int32_t, double> kept;
  double better = 0, kept_mass = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (better < choice.top_p * total && mass(i) >= choice.min_p) {
      kept[order[i].second] = mass(i);
      kept_mass += mass(i);
    }
    better += mass(i);
  }
  for (auto& [id, p] : kept) p /= kept_mass;
  return kept;
}

class DistributionTest : public ::testing::TestWithParam<Drawn> {};

// Draws over many seeds, samples and steps against the exact distribution. Seeds are fixed, so the
// statistic is one number for ever; a wrong distribution puts it far above the bound, which a right
// one passes with probability 1 - 1e-6 for any other seeds.
TEST_P(DistributionTest, DrawsFollowIt) {
  constexpr int kDraws = 12800, kRows = 64;
  std::mt19937 random(11);
  const std::vector<float> row = GaussRow(random, 400, GetParam().spread);
  const std::map<int32_t, double> exact = Exact(GetParam().choice, row);
  std::map<int32_t, int> counts;
  for (int begin = 0; begin < kDraws; begin += kRows) {
    std::vector<SequenceSpec> specs;
    std::vector<std::vector<int32_t>> tokens;
    for (int i = begin; i < begin + kRows; ++i) {
      SequenceSpec spec;
      spec.choice = GetParam().choice;
      spec.choice.seed = static_cast<uint64_t>(i / 100);
      spec.choice.sample = static_cast<uint32_t>(i % 100 / 10);
      specs.push_back(spec);
      tokens.emplace_back(static_cast<size_t>(1 + i % 10), 2);  // Steps 0 to 9.
    }
    std::vector<RowQuestion> questions;
    for (size_t i = 0; i < specs.size(); ++i) questions.push_back(Ask(specs[i], tokens[i]));
    for (const RowAnswer& answer : AnswerAtTp(1, Logits(kRows, row), questions).rows) {
      ++counts[answer.token];
    }
  }
  double statistic = 0, rest_expected = 0, total = 0;
  int cells = 0, rest_seen = 0;
  for (const auto& [id, count] : counts) {
    ASSERT_TRUE(exact.contains(id)) << "token " << id << " may not come";
    total += count;
  }
  for (const auto& [id, p] : exact) {
    if (p * total < 10) {  // Rare ones are judged together.
      rest_expected += p * total;
      rest_seen += counts[id];
      continue;
    }
    ++cells;
    statistic += std::pow(counts[id] - p * total, 2) / (p * total);
  }
  if (rest_expected > 10) {
    ++cells;
    statistic += std::pow(rest_seen - rest_expected, 2) / rest_expected;
  }
  const double freedom = cells - 1;
  ASSERT_GT(freedom, 2);
  // Wilson and Hilferty: the cube root of chi-square over its degrees is nearly normal.
  const double z =
      (std::cbrt(statistic / freedom) - (1 - 2 / (9 * freedom))) / std::sqrt(2 / (9 * freedom));
  EXPECT_LT(z, 4.75) << statistic << " for " << freedom << " degrees of freedom";
  EXPECT_GT(z, -4.75) << "too even to be random";
}

INSTANTIATE_TEST_SUITE_P(
    Choices, DistributionTest,
    ::testing::Values(
        Drawn{"temperature", {.temperature = 0.8f}, 2.0f},
        Drawn{"flat", {.temperature = 3.0f}, 1.0f},
        Drawn{"top_k", {.temperature = 1.0f, .top_k = 12}, 1.0f},
        Drawn{"top_p", {.temperature = 1.0f, .top_p = 0.8f}, 1.5f},
        Drawn{"top_p_searched", {.temperature = 2.0f, .top_p = 0.97f}, 0.5f},
        Drawn{"min_p", {.temperature = 0.7f, .min_p = 0.1f}, 1.0f},
        Drawn{"all", {.temperature = 1.3f, .top_k = 60, .top_p = 0.9f, .min_p = 0.02f}, 1.5f}),
    [](const ::testing::TestParamInfo<Drawn>& info) { return info.param.name; });

// Two draws that differ in one part of their key alone have nothing in common: over pairs, the
// correlation of their uniforms is within 5 standard deviations of zero, for each part.
TEST(DrawsTest, PartsOfTheKeyAreIndependent) {
  constexpr int kPairs = 200000;
  std::mt19937 random(3);
  const auto uniform = [](const DrawKey& key, int32_t token) {
    return (DrawBits(key, token) + 0.5) * 0x1p-32 - 0.5;
  };
  for (const int part : {0, 1, 2, 3, 4}) {
    double product = 0, sum = 0;
    for (int i = 0; i < kPairs; ++i) {
      const DrawKey a{.seed = random() % 1000,
                      .sample = static_cast<uint32_t>(random() % 8),
                      .step = static_cast<uint32_t>(random() % 300)};
      const auto token = static_cast<int32_t>(random() % 262144);
      DrawKey b = a;
      int32_t other = token;
      if (part == 0) b.seed += 1;
      if (part == 1) b.sample += 1;
      if (part == 2) b.step += 1;
      if (part == 3) other += 1;
      if (part == 4) b.seed += uint64_t{1} << 32;
      product += uniform(a, token) * uniform(b, other);
      sum += uniform(a, token);
    }
    // A product of two uniforms on (-1/2, 1/2) has the deviation 1/12.
    EXPECT_LT(std::abs(product), 5 * std::sqrt(kPairs) / 12) << "part " << part;
    EXPECT_LT(std::abs(sum), 5 * std::sqrt(kPairs / 12.0)) << "part " << part;
  }
}

}  // namespace
}  // namespace tandem::testing
