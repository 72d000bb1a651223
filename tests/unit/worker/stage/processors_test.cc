// Every decoding option on single rows, beside transformers' own processors
// (tests/golden/data/decoding/processors.json).
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "common/kernels/math.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/decoding_cases.h"
#include "tests/unit/worker/stage/sampler_fixture.h"
#include "worker/stage/kept_tokens.h"
#include "worker/stage/logit_edits.h"

namespace tandem::testing {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct Row {
  SequenceSpec spec;
  std::vector<int32_t> tokens;
  std::vector<float> logits;

  explicit Row(const nlohmann::json& c) : spec(SpecOf(c.at("options"))) {
    tokens = c.at("history").at("decoder_prompt").get<std::vector<int32_t>>();
    spec.prompt = tokens;
    for (const int32_t id : c.at("history").at("answer")) tokens.push_back(id);
    logits = c.at("logits").get<std::vector<float>>();
  }

  // logit / temperature after all edits; the raw logits where nothing is sampled.
  std::vector<float> Processed() const {
    std::vector<float> out = logits;
    const LogitEdits edits = CollectEdits(spec, tokens, spec.prompt.size());
    for (size_t i = 0; i < edits.ids.size(); ++i) {
      float& logit = out[static_cast<size_t>(edits.ids[i])];
      logit = Apply(edits.edits[i], spec.choice, logit);
    }
    if (spec.choice.temperature > 0.0f) {
      for (float& logit : out) logit /= spec.choice.temperature;
    }
    return out;
  }
};

TEST(ProcessorsTest, RowsEqualTransformersToTheBit) {
  for (const nlohmann::json& c : DecodingCases("processors.json")) {
    const std::vector<float> got = Row(c).Processed();
    const nlohmann::json& want = c.at("processed");
    ASSERT_EQ(got.size(), want.size());
    for (size_t id = 0; id < got.size(); ++id) {
      const float expected = want[id].is_null() ? kMinusInfinity : want[id].get<float>();
      EXPECT_EQ(got[id], expected) << c.at("name") << ", token " << id;
    }
  }
}

// The kept tokens by both ways, and the probabilities among them.
TEST(ProcessorsTest, KeptTokensAndProbabilitiesEqualTransformers) {
  SetComputeFloatMode();
  int known = 0;
  for (const nlohmann::json& c : DecodingCases("processors.json")) {
    const Row row(c);
    const std::vector<float> values = row.Processed();
    std::vector<Candidate> tokens;
    for (size_t id = 0; id < values.size(); ++id) {
      if (values[id] > kMinusInfinity) tokens.push_back({static_cast<int32_t>(id), values[id]});
    }
    std::sort(tokens.begin(), tokens.end(), Better);
    const float max = tokens[0].logit;
    double mass = 0;
    for (const Candidate& token : tokens) mass += Exp(token.logit - max);
    std::vector<Candidate> found = tokens;
    if (Truncates(row.spec.choice)) {
      const absl::Status status = RunRanksOrAbort(1, [&](World& world) -> absl::Status {
        auto tp = world.MakeGroup({0});
        if (!tp.ok()) return tp.status();
        auto kept = SearchKept(row.spec.choice, values, 0, max, mass, **tp);
        if (kept.ok()) found = *std::move(kept);
        return kept.status();
      });
      ASSERT_TRUE(status.ok()) << status;
      const size_t at_hand =
          std::min(tokens.size(), static_cast<size_t>(NumCandidates(row.spec.choice)));
      const float floor = at_hand == tokens.size() ? kMinusInfinity : tokens[at_hand - 1].logit;
      auto kept = KeptOf(row.spec.choice, absl::MakeConstSpan(tokens).first(at_hand), floor, mass);
      if (kept.has_value()) {
        ++known;
        std::set<int32_t> ids, searched;
        for (const Candidate& token : *kept) ids.insert(token.id);
        for (const Candidate& token : found) searched.insert(token.id);
        EXPECT_EQ(ids, searched) << c.at("name");
      }
    }
    std::map<int32_t, double> probabilities;
    double total = 0;
    for (const Candidate& token : found) {
      total += std::exp(static_cast<double>(token.logit) - max);
    }
    for (const Candidate& token : found) {
      probabilities[token.id] = std::exp(static_cast<double>(token.logit) - max) / total;
    }
    const nlohmann::json& kept = c.at("kept");
    ASSERT_EQ(found.size(), kept.size()) << c.at("name");
    for (size_t i = 0; i < kept.size(); ++i) {
      const int32_t id = kept[i];
      ASSERT_TRUE(probabilities.contains(id)) << c.at("name") << ", token " << id;
      EXPECT_NEAR(probabilities[id], c.at("probabilities")[i].get<double>(), 1e-6)
          << c.at("name") << ", token " << id;
    }
  }
  EXPECT_GT(known, 40);
}

// What the sampler chooses out of the whole row is always among the kept ones; greedily the best.
TEST(ProcessorsTest, TheSamplerChoosesAmongThem) {
  for (const nlohmann::json& c : DecodingCases("processors.json")) {
    Row row(c);
    const std::vector<float> processed = row.Processed();
    std::set<int32_t> kept;
    for (const int32_t id : c.at("kept")) kept.insert(id);
    for (const int tp : {1, 4}) {
      std::vector<RowQuestion> questions;
      std::vector<SequenceSpec> specs(8, row.spec);
      for (size_t i = 0; i < specs.size(); ++i) {
        specs[i].choice.seed = i;
        questions.push_back(
            {.spec = &specs[i], .tokens = row.tokens, .num_prompt = row.spec.prompt.size()});
      }
      const Answers answers = AnswerAtTp(tp, Logits(specs.size(), row.logits), questions);
      for (const RowAnswer& answer : answers.rows) {
        EXPECT_TRUE(kept.contains(answer.token)) << c.at("name");
        if (row.spec.choice.temperature > 0.0f) continue;
        const auto best = std::max_element(processed.begin(), processed.end());
        EXPECT_EQ(answer.token, best - processed.begin()) << c.at("name");
      }
    }
  }
}

}  // namespace
}  // namespace tandem::testing
