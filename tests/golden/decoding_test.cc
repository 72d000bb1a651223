// Decoding options, beams and scores over whole models, beside transformers
// (tests/golden/data/decoding), at TP 1, 2 and 4. Ranks are threads of this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tests/testing/decoding_cases.h"
#include "tests/testing/generate.h"

namespace tandem {
namespace {

using Answers = std::map<SequenceId, SequenceDone>;

class DecodingTest : public ::testing::TestWithParam<int> {
 protected:
  // All requests of a model together; ids are indices. Batches of five rows, so that sequences and
  // beams join and leave.
  static Answers Run(const std::string& model, std::vector<DispatchRequest> requests,
                     int max_num_seqs = 5) {
    SessionSettings settings;
    settings.model = std::string(TANDEM_SOURCE_DIR) + "/" + model;
    settings.threads = 1;
    settings.dtype = "float32";
    settings.max_num_seqs = max_num_seqs;
    settings.kv_cache_mb = 32;
    // Some of the models have two query heads.
    const absl::StatusOr<ModelConfig> config = LoadModelConfig(settings.model);
    if (!config.ok()) throw std::runtime_error(config.status().ToString());
    const int64_t heads = std::min(config->encoder.num_heads, config->decoder.num_heads);
    const int tp = std::min(GetParam(), static_cast<int>(heads));
    settings.layout_flags.tp[static_cast<int>(StageKind::kEncoder)] = tp;
    settings.layout_flags.tp[static_cast<int>(StageKind::kDecoder)] = tp;
    settings.layout_flags.colocate = true;
    auto answers = GenerateInThreads(tp, settings, 256, requests);
    EXPECT_TRUE(answers.ok()) << answers.status();
    return answers.ok() ? *std::move(answers) : Answers();
  }
};

// Cases by model, each with its index in the file.
std::map<std::string, std::vector<size_t>> ByModel(const nlohmann::json& cases) {
  std::map<std::string, std::vector<size_t>> models;
  for (size_t i = 0; i < cases.size(); ++i) models[cases[i].at("model")].push_back(i);
  return models;
}

// The request of a case; its id is the case's index.
DispatchRequest RequestOf(const nlohmann::json& c, size_t index, int num_logprobs) {
  DispatchRequest request;
  request.encoder_ids = c.at("prompt_token_ids").get<std::vector<int32_t>>();
  request.sequence = SpecOf(c.at("options"));
  request.sequence.id = index;
  request.sequence.max_tokens = c.at("max_new_tokens");
  request.sequence.num_logprobs = num_logprobs;
  return request;
}

void ExpectEnd(const nlohmann::json& want, const SequenceOutput& got, const std::string& name) {
  if (want.is_string()) {
    EXPECT_EQ(got.reason, SequenceEnd::kLength) << name;
    return;
  }
  EXPECT_EQ(got.reason, SequenceEnd::kStop) << name;
  EXPECT_EQ(got.stop_token, want.at("stop").get<int32_t>()) << name;
}

TEST_P(DecodingTest, GreedyAnswersUnderEveryOption) {
  const nlohmann::json cases = DecodingCases("greedy.json");
  for (const auto& [model, indices] : ByModel(cases)) {
    std::vector<DispatchRequest> requests;
    for (const size_t i : indices) {
      requests.push_back(RequestOf(cases[i], i, /*num_logprobs=*/0));
    }
    for (const auto& [i, done] : Run(model, std::move(requests))) {
      const nlohmann::json& c = cases[i];
      const std::string name = c.at("name").get<std::string>() + ", case " + std::to_string(i);
      const SequenceOutput& got = done.outputs.at(0);
      EXPECT_EQ(got.token_ids, c.at("token_ids").get<std::vector<int32_t>>()) << name;
      ExpectEnd(c.at("finished_by"), got, name);
      double sum = 0;
      for (const TokenLogprobs& token : got.logprobs) sum += static_cast<double>(token.logprob);
      const double want = c.at("cumulative_logprob");
      EXPECT_NEAR(sum, want, 1e-3 + 1e-4 * std::abs(want)) << name;
    }
  }
}

TEST_P(DecodingTest, Beams) {
  const nlohmann::json cases = DecodingCases("beams.json");
  int sequences = 0;
  for (const auto& [model, indices] : ByModel(cases)) {
    std::vector<DispatchRequest> requests;
    for (const size_t i : indices) {
      requests.push_back(RequestOf(cases[i], i, /*num_logprobs=*/1));
      requests.back().sequence.prompt =
          cases[i].at("decoder_prompt_token_ids").get<std::vector<int32_t>>();
    }
    for (const auto& [i, done] : Run(model, std::move(requests))) {
      const nlohmann::json& want = cases[i].at("sequences");
      const std::string name = cases[i].at("name");
      ASSERT_EQ(done.outputs.size(), want.size()) << name;
      for (size_t k = 0; k < want.size(); ++k) {
        ++sequences;
        const SequenceOutput& got = done.outputs[k];
        EXPECT_EQ(got.token_ids, want[k].at("token_ids").get<std::vector<int32_t>>())
            << name << ", sequence " << k;
        ExpectEnd(want[k].at("finished_by"), got, name);
        const double score = want[k].at("score");
        EXPECT_NEAR(got.score, score, 1e-4 + 1e-4 * std::abs(score)) << name;
        // In the raw distribution, the stop token counted: one entry a token, with alternatives.
        ASSERT_EQ(static_cast<int64_t>(got.logprobs.size()), got.completion_tokens()) << name;
        double sum = 0;
        for (const TokenLogprobs& token : got.logprobs) {
          sum += static_cast<double>(token.logprob);
          ASSERT_EQ(token.top.size(), 1u);
          EXPECT_GE(token.top[0].logit, token.logprob);
        }
        const double cumulative = want[k].at("cumulative_logprob");
        EXPECT_NEAR(sum, cumulative, 1e-3 + 1e-4 * std::abs(cumulative)) << name;
      }
    }
  }
  EXPECT_GT(sequences, 200);
}

TEST_P(DecodingTest, Scores) {
  const nlohmann::json cases = DecodingCases("scores.json");
  std::vector<DispatchRequest> requests;
  std::vector<std::pair<size_t, size_t>> places;
  for (size_t i = 0; i < cases.size(); ++i) {
    for (size_t k = 0; k < cases[i].at("targets").size(); ++k) {
      DispatchRequest request;
      request.encoder_ids = cases[i].at("prompt_token_ids").get<std::vector<int32_t>>();
      request.sequence.id = places.size();
      request.sequence.prompt = {2};
      request.sequence.target =
          cases[i].at("targets")[k].at("token_ids").get<std::vector<int32_t>>();
      request.sequence.target.push_back(1);
      request.sequence.num_logprobs = 0;
      requests.push_back(std::move(request));
      places.emplace_back(i, k);
    }
  }
  const Answers together = Run("models/demo", requests);
  ASSERT_EQ(together.size(), places.size());
  for (const auto& [id, done] : together) {
    const nlohmann::json& want = cases[places[id].first].at("targets")[places[id].second];
    const SequenceOutput& got = done.outputs.at(0);
    ASSERT_EQ(got.logprobs.size(), want.at("token_ids").size() + 1);
    double sum = 0;
    for (size_t t = 0; t < got.logprobs.size(); ++t) {
      const double logprob = t < want.at("logprobs").size() ? want.at("logprobs")[t].get<double>()
                                                            : want.at("eos_logprob").get<double>();
      EXPECT_NEAR(got.logprobs[t].logprob, logprob, 1e-4 + 1e-4 * std::abs(logprob));
      sum += static_cast<double>(got.logprobs[t].logprob);
    }
    EXPECT_NEAR(sum, want.at("sum_logprob_eos").get<double>(), 1e-2);
    // A batch of mixed lengths gives each what it gets alone, to the bit.
    const SequenceOutput alone = Run("models/demo", {requests[id]}).at(id).outputs.at(0);
    for (size_t t = 0; t < got.logprobs.size(); ++t) {
      EXPECT_EQ(alone.logprobs[t].logprob, got.logprobs[t].logprob);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tp, DecodingTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace tandem
