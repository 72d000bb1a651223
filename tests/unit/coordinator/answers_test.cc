#include "coordinator/answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/unit/coordinator/demo_tokenizer.h"

namespace tandem {
namespace {

using ::nlohmann::json;
using ::testing::ElementsAre;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// An answer of these tokens, its stop token last unless it has none, each with a log-probability.
SequenceOutput Output(std::vector<int32_t> ids, std::vector<float> logprobs = {},
                      int32_t stop_token = kEos) {
  SequenceOutput output;
  output.token_ids = std::move(ids);
  output.stop_token = stop_token;
  output.reason = stop_token < 0 ? SequenceEnd::kLength : SequenceEnd::kStop;
  for (const float logprob : logprobs) output.logprobs.push_back({.logprob = logprob, .top = {}});
  return output;
}

DecodedRequest Decoded(std::vector<SequenceOutput> outputs, int64_t num_prompts = 1) {
  DecodedRequest decoded;
  decoded.number = 3;
  decoded.request.line = 4;
  decoded.request.id = {.json = "\"a\"", .key = "a"};
  decoded.num_prompts = num_prompts;
  decoded.prompt_tokens = 9;
  for (SequenceOutput& output : outputs) {
    decoded.sequences.emplace_back().outputs.push_back(std::move(output));
  }
  return decoded;
}

json ResultOf(const DecodedRequest& decoded, const Tokenizer* tokenizer = &DemoTokenizer()) {
  const FinishedRequest finished = GenerateResult(decoded, tokenizer, /*text_format=*/false);
  EXPECT_EQ(finished.number, decoded.number);
  EXPECT_FALSE(finished.rejected.has_value());
  const json result = json::parse(finished.line);
  EXPECT_EQ(result["usage"]["completion_tokens"], finished.completion_tokens);
  EXPECT_EQ(result["usage"]["prompt_tokens"], decoded.prompt_tokens);
  return result;
}

std::vector<std::string> Texts(const json& result) {
  std::vector<std::string> texts;
  for (const json& output : result["outputs"]) texts.push_back(output["text"]);
  return texts;
}

TEST(GenerateResultTest, OneAnswer) {
  const json result = ResultOf(Decoded({Output(Tokens({"MM", "XX", "VI"}))}));
  const json& output = result["outputs"][0];
  EXPECT_EQ(output["text"], "MMXXVI");
  EXPECT_EQ(output["token_ids"], json::array({296, 299, 371}));
  EXPECT_EQ(output["finish_reason"], "stop");
  EXPECT_EQ(output["stop_reason"], kEos);
  EXPECT_FALSE(output.contains("logprobs"));
  EXPECT_EQ(result["usage"]["completion_tokens"], 4);  // The stop token counts.
}

TEST(GenerateResultTest, CutByLength) {
  const json result = ResultOf(Decoded({Output(Tokens({"MM"}), {}, /*stop_token=*/-1)}));
  EXPECT_EQ(result["outputs"][0]["finish_reason"], "length");
  EXPECT_TRUE(result["outputs"][0]["stop_reason"].is_null());
  EXPECT_EQ(result["usage"]["completion_tokens"], 1);
}

TEST(GenerateResultTest, WithoutATokenizerTextIsNull) {
  DecodedRequest decoded = Decoded({Output({300, 301}, {-1, -2, -3})});
  decoded.request.decoding.logprobs = 0;
  const json result = ResultOf(decoded, nullptr);
  EXPECT_TRUE(result["outputs"][0]["text"].is_null());
  EXPECT_EQ(result["outputs"][0]["token_ids"], json::array({300, 301}));
  EXPECT_EQ(result["outputs"][0]["cumulative_logprob"], -6.0);
}

TEST(GenerateResultTest, BestOfKeepsTheHighestWithTheStopToken) {
  DecodedRequest decoded = Decoded({
      Output(Tokens({"I"}), {-1.0f, -4.0f}),  // Highest without its stop token, lowest with it.
      Output(Tokens({"V"}), {-1.5f, -0.5f}), Output(Tokens({"X"}), {-3.0f, -0.25f}),
      Output(Tokens({"L"}), {-1.0f, -1.0f}),  // As the second.
  });
  decoded.request.decoding.temperature = 1;
  decoded.request.decoding.best_of = 4;
  decoded.request.decoding.n = 3;
  json result = ResultOf(decoded);
  EXPECT_THAT(Texts(result), ElementsAre("V", "L", "X"));  // Ties: the earlier sample first.
  EXPECT_EQ(result["outputs"][2]["index"], 2);
  EXPECT_EQ(result["usage"]["completion_tokens"], 6);       // Of what is given back.
  EXPECT_FALSE(result["outputs"][0].contains("logprobs"));  // Computed, but not asked for.
  decoded.request.decoding.n = 1;
  EXPECT_THAT(Texts(ResultOf(decoded)), ElementsAre("V"));
  // As many as were drawn: in the order of the samples.
  decoded.request.decoding.n = 4;
  EXPECT_THAT(Texts(ResultOf(decoded)), ElementsAre("I", "V", "X", "L"));
}

TEST(GenerateResultTest, BestOfLooksAtWhatIsLeftOfAnAnswer) {
  DecodedRequest decoded = Decoded({
      Output(Tokens({"I", "V", "X"}), {-1, -1, -9, -9}),
      Output(Tokens({"I", "I"}), {-1, -2, -1}),
  });
  decoded.request.decoding.best_of = 2;
  decoded.request.decoding.stop = {"V"};
  EXPECT_THAT(Texts(ResultOf(decoded)), ElementsAre("I"));
  EXPECT_EQ(ResultOf(decoded)["outputs"][0]["stop_reason"], "V");
}

TEST(GenerateResultTest, OneGreedyAnswerIsGivenNTimes) {
  DecodedRequest decoded = Decoded({Output(Tokens({"X", "I"}))});
  decoded.request.decoding.n = 3;
  const json result = ResultOf(decoded);
  EXPECT_THAT(Texts(result), ElementsAre("XI", "XI", "XI"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(result["outputs"][static_cast<size_t>(i)]["index"], i);
  EXPECT_EQ(result["usage"]["completion_tokens"], 9);
}

TEST(GenerateResultTest, OutputsOfSeveralPromptsAreNumberedOn) {
  DecodedRequest decoded = Decoded(
      {
          Output(Tokens({"I"}), {-2, -2}),
          Output(Tokens({"II"}), {-1, -1}),
          Output(Tokens({"III"}), {-3, -3}),  // The first prompt's three samples.
          Output(Tokens({"V"}), {-1, -1}),
          Output(Tokens({"VI"}), {-2, -2}),
          Output(Tokens({"VII"}), {-1, -0.5f}),
      },
      /*num_prompts=*/2);
  decoded.request.decoding.n = 2;
  decoded.request.decoding.best_of = 3;
  const json result = ResultOf(decoded);
  EXPECT_THAT(Texts(result), ElementsAre("II", "I", "VII", "V"));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(result["outputs"][i]["index"], i);
}

TEST(GenerateResultTest, LogprobsAreCutWithTheText) {
  DecodedRequest decoded =
      Decoded({Output(Tokens({"MM", "XX", "VI", "II"}), {-0.5f, -0.25f, -0.125f, -4, -8})});
  decoded.sequences[0].outputs[0].logprobs[0].top = {{.id = 296, .logit = -0.5f},
                                                     {.id = 487, .logit = -1.5f}};
  decoded.request.decoding.logprobs = 2;
  json output = ResultOf(decoded)["outputs"][0];
  EXPECT_EQ(output["logprobs"].size(), 4u);  // The stop token has no entry, but counts.
  EXPECT_EQ(output["cumulative_logprob"], -12.875);
  EXPECT_EQ(output["logprobs"][0]["token"], "MM");
  EXPECT_EQ(output["logprobs"][0]["top"][1]["token"], "M");
  EXPECT_EQ(output["logprobs"][0]["top"][1]["logprob"], -1.5);

  decoded.request.decoding.stop = {"V"};
  const json result = ResultOf(decoded);
  output = result["outputs"][0];
  EXPECT_EQ(output["text"], "MMXX");
  EXPECT_EQ(output["token_ids"], json::array({296, 299, 371}));  // With what completed it.
  EXPECT_EQ(output["finish_reason"], "stop");
  EXPECT_EQ(output["stop_reason"], "V");
  ASSERT_EQ(output["logprobs"].size(), 3u);
  EXPECT_EQ(output["logprobs"][2]["token_id"], 371);
  EXPECT_EQ(output["cumulative_logprob"], -0.875);
  EXPECT_EQ(result["usage"]["completion_tokens"], 3);
}

TEST(GenerateResultTest, AStopStringMakesAnAnswerCutByLengthAStop) {
  DecodedRequest decoded = Decoded({Output(Tokens({"X", "I"}), {}, /*stop_token=*/-1)});
  decoded.request.decoding.stop = {"I"};
  const json output = ResultOf(decoded)["outputs"][0];
  EXPECT_EQ(output["finish_reason"], "stop");
  EXPECT_EQ(output["stop_reason"], "I");
}

TEST(GenerateResultTest, BeamsKeepTheirOrderAndHaveScores) {
  DecodedRequest decoded = Decoded({Output(Tokens({"V"}), {-5, -5})});
  decoded.sequences[0].outputs.push_back(Output(Tokens({"X"}), {-1, -1}));
  decoded.sequences[0].outputs[0].score = -0.5f;
  decoded.sequences[0].outputs[1].score = -0.75f;
  decoded.request.decoding.num_beams = 3;
  decoded.request.decoding.n = 2;
  const json result = ResultOf(decoded);
  EXPECT_THAT(Texts(result), ElementsAre("V", "X"));
  EXPECT_EQ(result["outputs"][0]["score"], -0.5);
  EXPECT_EQ(result["outputs"][1]["score"], -0.75);
  decoded.request.decoding.num_beams = 1;
  EXPECT_FALSE(ResultOf(decoded)["outputs"][0].contains("score"));
}

TEST(GenerateResultTest, NonfiniteIsAnError) {
  DecodedRequest decoded = Decoded({Output(Tokens({"X"})), Output(Tokens({"V", "I", "I"}))});
  decoded.request.decoding.n = 2;
  decoded.sequences[1].outputs[0].reason = SequenceEnd::kNonfinite;
  const FinishedRequest finished = GenerateResult(decoded, &DemoTokenizer(), false);
  ASSERT_TRUE(finished.rejected.has_value());
  EXPECT_EQ(finished.number, 3);
  EXPECT_EQ(finished.rejected->error.message, NonFiniteError(3).message);
  EXPECT_EQ(finished.rejected->line, 4);
  EXPECT_EQ(finished.rejected->id.key, "a");
}

// Whether the step behind the stop string was computed at all is a matter of time.
TEST(GenerateResultTest, NonfiniteBehindAStopStringDoesNotCount) {
  DecodedRequest decoded = Decoded({Output(Tokens({"V", "I", "X"}), {-1, -2, -4}, -1)});
  decoded.request.decoding.stop = {"I"};
  decoded.request.decoding.logprobs = 0;
  const std::string in_time = ResultOf(decoded).dump();
  decoded.sequences[0].outputs[0].reason = SequenceEnd::kNonfinite;
  EXPECT_EQ(ResultOf(decoded).dump(), in_time);
  decoded.request.decoding.stop = {"XI"};
  EXPECT_TRUE(GenerateResult(decoded, &DemoTokenizer(), false).rejected.has_value());
}

TEST(GenerateResultTest, AsText) {
  DecodedRequest decoded = Decoded({Output(Tokens({"X"})), Output(Tokens({"V", "I"}))});
  decoded.request.decoding.n = 2;
  EXPECT_EQ(GenerateResult(decoded, &DemoTokenizer(), /*text_format=*/true).line, "X\nVI");
}

TEST(ScoreResultTest, SumsWhatTheTargetHas) {
  DecodedRequest decoded = Decoded({Output({296, 299, kEos}, {-0.5f, -0.25f, -2}, -1)});
  decoded.sequences[0].outputs[0].reason = SequenceEnd::kFinished;
  decoded.truncated = true;
  const FinishedRequest finished = ScoreResultOf(decoded);
  EXPECT_EQ(finished.line,
            R"({"id":"a","token_ids":[296,299,1],"logprobs":[-0.5,-0.25,-2],"sum_logprob":-2.75,)"
            R"("usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12},)"
            R"("truncated":true})");
  EXPECT_EQ(finished.prompt_tokens, 9);
  EXPECT_EQ(finished.completion_tokens, 3);
  decoded.sequences[0].outputs[0].reason = SequenceEnd::kNonfinite;
  EXPECT_TRUE(ScoreResultOf(decoded).rejected.has_value());
}

TEST(ScoreResultTest, ManySmallTermsAreNotLost) {
  std::vector<float> logprobs(100001, -1e-3f);
  logprobs[0] = -65536.0f;  // Its neighbours are 1/128 apart.
  DecodedRequest decoded =
      Decoded({Output(std::vector<int32_t>(logprobs.size(), 300), logprobs, -1)});
  const json result = json::parse(ScoreResultOf(decoded).line);
  EXPECT_NEAR(result["sum_logprob"].get<double>(), -65636.0, 0.01);
}

EmbeddedRequest Embedded(std::vector<float> data, int64_t rows = 1) {
  EmbeddedRequest embedded;
  embedded.number = 3;
  embedded.request.line = 4;
  embedded.request.id = {.json = "7", .key = "7"};
  embedded.prompt_tokens = 9;
  embedded.prompts.push_back({.rows = rows, .data = std::move(data)});
  return embedded;
}

TEST(EmbedResultTest, AsItIsAndOfUnitLength) {
  EXPECT_EQ(EmbedResultOf(Embedded({3, -4}), false).line,
            R"({"id":7,"embedding":[3,-4],"usage":{"prompt_tokens":9,"total_tokens":9}})");
  EXPECT_EQ(json::parse(EmbedResultOf(Embedded({3, -4}), true).line)["embedding"].dump(),
            json::parse("[0.6,-0.8]").dump());
  // Nothing has no direction; what squares to more than a float holds has one.
  EXPECT_EQ(json::parse(EmbedResultOf(Embedded({0, 0}), true).line)["embedding"].dump(), "[0,0]");
  EXPECT_EQ(
      json::parse(EmbedResultOf(Embedded({std::ldexp(3.0f, 100), std::ldexp(4.0f, 100)}), true)
                      .line)["embedding"]
          .dump(),
      json::parse("[0.6,0.8]").dump());
}

TEST(EmbedResultTest, NonfiniteIsAnError) {
  for (const bool normalize : {false, true}) {
    const FinishedRequest finished = EmbedResultOf(Embedded({1, kNan}), normalize);
    ASSERT_TRUE(finished.rejected.has_value());
    EXPECT_EQ(finished.rejected->error.message, NonFiniteStatesError().message);
    EXPECT_EQ(finished.number, 3);
  }
  const FinishedRequest states = StatesResultOf(Embedded({1, 2, -INFINITY, 4}, 2));
  ASSERT_TRUE(states.rejected.has_value());
  EXPECT_EQ(states.rejected->error.code, RequestErrorCode::kNonFinite);
}

}  // namespace
}  // namespace tandem
