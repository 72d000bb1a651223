#include "coordinator/io/result.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

namespace tandem {
namespace {

std::string FloatText(float value) {
  std::string text;
  AppendFloat(value, &text);
  return text;
}

TEST(ResultTest, TheDocumentedLines) {
  ResultOutput output;
  output.text = "MMXXVI";
  output.token_ids = {88, 301};
  output.stop_reason = 1;
  output.cumulative_logprob = -0.0123f;
  output.logprobs = {{{88, "MM", -0.01f, {{88, "MM", -0.01f}}}}};
  Result result;
  result.id = {"\"7\"", "7"};
  result.outputs = {output};
  result.prompt_tokens = 9;
  result.completion_tokens = 3;
  result.metadata_json = "{}";
  EXPECT_EQ(
      FormatResult(result),
      R"({"id":"7","outputs":[{"index":0,"text":"MMXXVI","token_ids":[88,301],)"
      R"("finish_reason":"stop","stop_reason":1,"cumulative_logprob":-0.0123,)"
      R"("logprobs":[{"token_id":88,"token":"MM","logprob":-0.01,)"
      R"("top":[{"token_id":88,"token":"MM","logprob":-0.01}]}]}],)"
      R"("usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12},"metadata":{}})");
  RejectedLine rejected;
  rejected.line = 9;
  rejected.id = {"\"8\"", "8"};
  rejected.error = PromptTooLongError("prompt", 131090, 131072);
  EXPECT_EQ(
      FormatError(rejected),
      R"~({"id":"8","error":{"code":"prompt_too_long","message":"prompt has 131,090 tokens; )~"
      R"~(the model takes 131,072 (use --truncate to cut it)","param":"prompt"},"line":9})~");
  rejected.error.param = "";
  EXPECT_TRUE(nlohmann::json::parse(FormatError(rejected))["error"]["param"].is_null());
}

TEST(ResultTest, WhatIsNotThereIsNullOrLeftOut) {
  Result result;
  result.id = {"8", "8"};
  result.outputs.resize(2);
  result.outputs[0].finish_reason = FinishReason::kLength;
  result.outputs[0].token_ids = {5};
  result.outputs[1].index = 1;
  result.outputs[1].text = "";
  result.outputs[1].stop_reason = std::string("\n\"");
  result.outputs[1].logprobs.emplace();
  result.truncated = true;
  EXPECT_EQ(FormatResult(result),
            R"({"id":8,"outputs":[{"index":0,"text":null,"token_ids":[5],"finish_reason":"length",)"
            R"("stop_reason":null},{"index":1,"text":"","token_ids":[],)"
            R"("finish_reason":"stop","stop_reason":"\n\"","logprobs":[]}],)"
            R"("usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0},)"
            R"("truncated":true})");
}

TEST(ResultTest, ABeamsScoreComesBehindItsLogProbability) {
  Result result;
  result.id = {"8", "8"};
  result.outputs.resize(1);
  result.outputs[0].text = "a";
  result.outputs[0].stop_reason = 1;
  result.outputs[0].cumulative_logprob = -0.5f;
  result.outputs[0].score = -0.25f;
  EXPECT_EQ(FormatResult(result),
            R"({"id":8,"outputs":[{"index":0,"text":"a","token_ids":[],"finish_reason":"stop",)"
            R"("stop_reason":1,"cumulative_logprob":-0.5,"score":-0.25}],)"
            R"("usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}})");
}

TEST(ResultTest, ScoresAndEmbeddings) {
  Request request;
  request.id = {"\"a\"", "a"};
  request.metadata_json = "{}";
  auto score = AnswerTo<ScoreResult>(request);
  score.token_ids = {88, 1};
  score.logprobs = {-0.5f, -0.0123f};
  score.sum_logprob = -0.5123f;
  score.prompt_tokens = 9;
  score.truncated = true;
  EXPECT_EQ(FormatScore(score),
            R"({"id":"a","token_ids":[88,1],"logprobs":[-0.5,-0.0123],"sum_logprob":-0.5123,)"
            R"("usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11},)"
            R"("truncated":true,"metadata":{}})");
  auto embed = AnswerTo<EmbedResult>(request);
  embed.embeddings = {{0.25f, -1.0f}};
  embed.prompt_tokens = 9;
  EXPECT_EQ(FormatEmbedding(embed),
            R"({"id":"a","embedding":[0.25,-1],"usage":{"prompt_tokens":9,"total_tokens":9},)"
            R"("metadata":{}})");
}

TEST(ResultTest, AnyBytesGiveValidJson) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  Result result;
  result.id = {"1", "1"};
  result.outputs.resize(1);
  result.outputs[0].text = bytes + "\xf0\x9f\x98\x80 \xe2\x82";
  result.outputs[0].logprobs = {{{1, bytes, -1.0f, {{1, bytes, -1.0f}}}}};
  const std::string line = FormatResult(result);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto json = nlohmann::json::parse(line);
  const std::string text = json["outputs"][0]["text"];
  EXPECT_EQ(text.substr(0, 128), bytes.substr(0, 128));
  EXPECT_EQ(text.substr(text.size() - 11), "\xf0\x9f\x98\x80 \xef\xbf\xbd\xef\xbf\xbd");
}

TEST(ResultTest, FloatsAreTheShortestThatReadBack) {
  EXPECT_EQ(FloatText(-0.0123f), "-0.0123");
  EXPECT_EQ(FloatText(0.0f), "0");
  EXPECT_EQ(FloatText(-0.0f), "-0");
  EXPECT_EQ(FloatText(1.0f / 3.0f), "0.33333334");
  EXPECT_EQ(FloatText(-17.5f), "-17.5");
  EXPECT_EQ(FloatText(std::numeric_limits<float>::infinity()), "null");
  EXPECT_EQ(FloatText(std::nanf("")), "null");
  std::mt19937 random(5);
  for (int i = 0; i < 200'000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    const std::string text = FloatText(value);
    ASSERT_EQ(std::bit_cast<uint32_t>(std::strtof(text.c_str(), nullptr)),
              std::bit_cast<uint32_t>(value))
        << text;
    ASSERT_TRUE(nlohmann::json::accept(text)) << text;
  }
}

TEST(ResultTest, TextAlone) {
  Result result;
  result.outputs.resize(2);
  result.outputs[0].text = "one\ntwo";
  result.outputs[1].token_ids = {4, 5};
  EXPECT_EQ(FormatResultAsText(result), "one\ntwo\n4 5");
}

}  // namespace
}  // namespace tandem
