// Results of OpenAI batch lines: their exact bytes.
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "coordinator/io/result.h"

namespace tandem {
namespace {

std::shared_ptr<const OpenAiLine> LineOf(LineForm body) {
  OpenAiLine line;
  line.body = body;
  line.hash = "00ff";
  line.custom_id_json = "\"r-1\"";
  line.model = "m\"1";
  return std::make_shared<OpenAiLine>(line);
}

Result TwoAnswers(LineForm body) {
  Result result;
  result.openai = LineOf(body);
  result.prompt_tokens = 9;
  result.completion_tokens = 5;
  result.outputs.resize(2);
  result.outputs[0].text = "MM\xc3\xa9";
  result.outputs[0].logprobs = {{{88, "MM", -0.5f, {{88, "MM", -0.5f}, {5, "C", -1.5f}}},
                                 {301, "\xc3\xa9", -2.5f, {{7, "X", -0.25f}, {8, "X", -3.0f}}},
                                 {302, "!", -0.125f, {{302, "!", -0.125f}}}}};
  result.outputs[1].index = 1;
  result.outputs[1].text = "";
  result.outputs[1].finish_reason = FinishReason::kLength;
  return result;
}

TEST(OpenAiResultTest, ACompletion) {
  EXPECT_EQ(FormatResult(TwoAnswers(LineForm::kCompletions)),
            R"({"id":"batch_req_00ff","custom_id":"r-1","response":{"status_code":200,)"
            R"("request_id":"req_00ff","body":{"id":"cmpl-00ff","object":"text_completion",)"
            R"("created":0,"model":"m\"1","choices":[{"text":"MMé","index":0,"logprobs":{)"
            R"("tokens":["MM","é","!"],"token_logprobs":[-0.5,-2.5,-0.125],)"
            R"("top_logprobs":[{"MM":-0.5,"C":-1.5},{"X":-0.25,"é":-2.5},{"!":-0.125}],)"
            R"("text_offset":[0,2,3]},"finish_reason":"stop"},)"
            R"({"text":"","index":1,"logprobs":null,"finish_reason":"length"}],)"
            R"("usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}},)"
            R"("error":null})");
  Result chosen_alone = TwoAnswers(LineForm::kCompletions);
  for (TokenLogprob& token : *chosen_alone.outputs[0].logprobs) token.top.clear();
  const auto json = nlohmann::json::parse(FormatResult(chosen_alone));
  EXPECT_TRUE(json["response"]["body"]["choices"][0]["logprobs"]["top_logprobs"].is_null());
}

TEST(OpenAiResultTest, AChat) {
  EXPECT_EQ(
      FormatResult(TwoAnswers(LineForm::kChat)),
      R"({"id":"batch_req_00ff","custom_id":"r-1","response":{"status_code":200,)"
      R"("request_id":"req_00ff","body":{"id":"chatcmpl-00ff","object":"chat.completion",)"
      R"("created":0,"model":"m\"1","choices":[{"index":0,"message":{"role":"assistant",)"
      R"("content":"MMé","refusal":null},"logprobs":{"content":[)"
      R"({"token":"MM","logprob":-0.5,"bytes":[77,77],"top_logprobs":[)"
      R"({"token":"MM","logprob":-0.5,"bytes":[77,77]},{"token":"C","logprob":-1.5,"bytes":[67]}]},)"
      R"({"token":"é","logprob":-2.5,"bytes":[195,169],"top_logprobs":[)"
      R"({"token":"X","logprob":-0.25,"bytes":[88]},{"token":"X","logprob":-3,"bytes":[88]}]},)"
      R"({"token":"!","logprob":-0.125,"bytes":[33],"top_logprobs":[)"
      R"({"token":"!","logprob":-0.125,"bytes":[33]}]}],"refusal":null},"finish_reason":"stop"},)"
      R"({"index":1,"message":{"role":"assistant","content":"","refusal":null},"logprobs":null,)"
      R"("finish_reason":"length"}],)"
      R"("usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}},"error":null})");
}

TEST(OpenAiResultTest, WithoutATokenizerTheIdsAreThere) {
  Result result;
  result.openai = LineOf(LineForm::kCompletions);
  result.outputs.resize(1);
  result.outputs[0].token_ids = {4, 5};
  result.truncated = true;
  const auto body = nlohmann::json::parse(FormatResult(result))["response"]["body"];
  EXPECT_TRUE(body["choices"][0]["text"].is_null());
  EXPECT_EQ(body["choices"][0]["token_ids"], (std::vector<int>{4, 5}));
  EXPECT_EQ(body["truncated"], true);
}

TEST(OpenAiResultTest, Embeddings) {
  EmbedResult result;
  result.openai = LineOf(LineForm::kEmbeddings);
  result.prompt_tokens = 7;
  result.embeddings = {{0.25f, -1.0f}, {3.0f, 0.0f}};
  EXPECT_EQ(FormatEmbedding(result),
            R"({"id":"batch_req_00ff","custom_id":"r-1","response":{"status_code":200,)"
            R"("request_id":"req_00ff","body":{"object":"list","data":[)"
            R"({"object":"embedding","index":0,"embedding":[0.25,-1]},)"
            R"({"object":"embedding","index":1,"embedding":[3,0]}],"model":"m\"1",)"
            R"("usage":{"prompt_tokens":7,"total_tokens":7}}},"error":null})");
  OpenAiLine line = *LineOf(LineForm::kEmbeddings);
  line.base64 = true;
  result.openai = std::make_shared<OpenAiLine>(line);
  const auto json = nlohmann::json::parse(FormatEmbedding(result));
  // 00 00 80 3e, 00 00 80 bf: 0.25 and -1, little-endian.
  EXPECT_EQ(json["response"]["body"]["data"][0]["embedding"], "AACAPgAAgL8=");
}

TEST(OpenAiResultTest, Errors) {
  RejectedLine rejected;
  rejected.line = 9;
  rejected.openai = LineOf(LineForm::kChat);
  rejected.error = PromptTooLongError("messages", 131090, 131072);
  EXPECT_EQ(FormatError(rejected),
            R"~({"id":"batch_req_00ff","custom_id":"r-1","response":{"status_code":400,)~"
            R"~("request_id":"req_00ff","body":{"error":{"message":"prompt has 131,090 tokens; )~"
            R"~(the model takes 131,072 (use --truncate to cut it)",)~"
            R"~("type":"invalid_request_error","param":"messages","code":"prompt_too_long"}}},)~"
            R"~("error":null})~");
  rejected.error = DuplicateIdError("\"r-1\"");
  EXPECT_EQ(nlohmann::json::parse(FormatError(rejected))["response"]["body"]["error"]["param"],
            "custom_id");
  rejected.error = NonFiniteError(3);
  const auto json = nlohmann::json::parse(FormatError(rejected));
  EXPECT_EQ(json["response"]["status_code"], 500);
  EXPECT_EQ(json["response"]["body"]["error"]["type"], "server_error");
  EXPECT_TRUE(json["response"]["body"]["error"]["param"].is_null());
}

}  // namespace
}  // namespace tandem
