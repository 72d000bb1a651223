// OpenAI batch lines, as OpenAI's documentation describes them, as requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/io/request.h"
#include "coordinator/io/result.h"
#include "tests/unit/coordinator/io/parse_helpers.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

std::string Line(absl::string_view url, absl::string_view body) {
  return absl::StrCat(R"({"custom_id": "request-1", "method": "POST", "url": ")", url,
                      R"(", "body": )", body, "}");
}
std::string Completion(absl::string_view body) { return Line("/v1/completions", body); }
std::string Chat(absl::string_view body) { return Line("/v1/chat/completions", body); }
std::string Embeddings(absl::string_view body) { return Line("/v1/embeddings", body); }
std::string UserSays(absl::string_view fields) {
  return Chat(
      absl::StrCat(R"({"model":"m","messages":[{"role":"user","content":"hi"}])", fields, "}"));
}
const RequestOptions kEmbed = {.form = LineForm::kEmbed};

TEST(OpenAiRequestTest, ACompletion) {
  const Request request = Accepted(Completion(
      R"({"model": "gpt-3.5-turbo-instruct", "prompt": "Say this is a test", "max_tokens": 7,
          "temperature": 0, "top_p": 0.5, "n": 2, "stream": false, "logprobs": 3, "echo": false,
          "stop": "\n", "presence_penalty": 0.5, "frequency_penalty": -0.5, "best_of": 4,
          "logit_bias": {"50": -100}, "seed": 11, "user": "user-1", "suffix": null})"));
  EXPECT_EQ(request.id.json, "\"request-1\"");
  EXPECT_EQ(request.id.key, "request-1");
  ASSERT_EQ(request.prompts.size(), 1u);
  EXPECT_EQ(request.prompts[0].text, "Say this is a test");
  EXPECT_EQ(PromptParam(request, 0), "prompt");
  const DecodingOptions& decoding = request.decoding;
  EXPECT_EQ(decoding.max_tokens, 7);
  EXPECT_EQ(decoding.temperature, 0.0f);
  EXPECT_EQ(decoding.top_p, 0.5f);
  EXPECT_EQ(decoding.n, 2);
  EXPECT_EQ(decoding.best_of, 4);
  EXPECT_EQ(decoding.logprobs, 3);
  EXPECT_THAT(decoding.stop, ElementsAre("\n"));
  EXPECT_THAT(decoding.logit_bias, ElementsAre(Pair(50, -100.0f)));
  EXPECT_EQ(decoding.presence_penalty, 0.5f);
  EXPECT_EQ(decoding.frequency_penalty, -0.5f);
  EXPECT_EQ(decoding.seed, 11u);
  ASSERT_NE(request.openai, nullptr);
  EXPECT_EQ(request.openai->body, LineForm::kCompletions);
  EXPECT_EQ(request.openai->model, "gpt-3.5-turbo-instruct");
  EXPECT_EQ(request.openai->hash.size(), 32u);
}

TEST(OpenAiRequestTest, TheirDefaultsUnlessSomebodySaidOthers) {
  const std::string line = Completion(R"({"model":"m","prompt":"x"})");
  const DecodingOptions theirs = Accepted(line).decoding;
  EXPECT_EQ(theirs.max_tokens, 16);
  EXPECT_EQ(theirs.temperature, 1.0f);
  EXPECT_EQ(theirs.n, 1);
  EXPECT_FALSE(theirs.logprobs.has_value());
  EXPECT_EQ(theirs.seed, DerivedSeed(0, "request-1"));
  const DecodingOptions chat = Accepted(UserSays("")).decoding;
  EXPECT_EQ(chat.max_tokens, 256);
  EXPECT_EQ(chat.temperature, 1.0f);
  RequestDefaults defaults;
  defaults.decoding.max_tokens = 3;
  defaults.decoding.temperature = 0.25f;
  defaults.max_tokens_given = defaults.temperature_given = true;
  EXPECT_EQ(Accepted(line, {}, defaults).decoding.max_tokens, 3);
  EXPECT_EQ(Accepted(line, {}, defaults).decoding.temperature, 0.25f);
  // Their temperature of 1 is no reason against beams.
  EXPECT_EQ(
      Accepted(Completion(R"({"model":"m","prompt":"x","num_beams":2})")).decoding.temperature,
      0.0f);
  RequestDefaults long_answers;
  long_answers.decoding.min_tokens = 20;
  EXPECT_EQ(Accepted(line, {}, long_answers).decoding.min_tokens, 16);
}

TEST(OpenAiRequestTest, EveryKindOfPrompt) {
  const Request texts = Accepted(Completion(R"({"prompt":["a","\u00e9\n",""]})"));
  ASSERT_EQ(texts.prompts.size(), 3u);
  EXPECT_EQ(texts.prompts[1].text, "\xc3\xa9\n");
  EXPECT_EQ(texts.prompts[2].text, "");
  const Request ids = Accepted(Completion(R"({"prompt":[2, 284,466]})"));
  ASSERT_EQ(ids.prompts.size(), 1u);
  EXPECT_FALSE(ids.prompts[0].text.has_value());
  EXPECT_THAT(ids.prompts[0].token_ids, ElementsAre(2, 284, 466));
  const Request lists = Accepted(Completion(R"({"prompt":[ [2,3] ,[4]]})"));
  ASSERT_EQ(lists.prompts.size(), 2u);
  EXPECT_THAT(lists.prompts[0].token_ids, ElementsAre(2, 3));
  EXPECT_THAT(lists.prompts[1].token_ids, ElementsAre(4));
  const std::string wanted =
      "prompt must be a string, an array of strings, an array of token ids or an array of such "
      "arrays, not ";
  ExpectRefusals(
      {
          {Completion("{}"), "missing_field", "prompt is missing", "prompt"},
          {Completion(R"({"prompt":null})"), "missing_field", "prompt is missing", "prompt"},
          {Completion(R"({"prompt":7})"), "invalid_value", wanted + "7", "prompt"},
          {Completion(R"({"prompt":{"a":1}})"), "invalid_value", wanted + "an object", "prompt"},
          {Completion(R"({"prompt":["a",1]})"), "invalid_value",
           wanted + "an array that mixes them", "prompt"},
          {Completion(R"({"prompt":[1,-2]})"), "invalid_value", wanted + "an array that holds -2",
           "prompt"},
          {Completion(R"({"prompt":[null]})"), "invalid_value", wanted + "an array that holds null",
           "prompt"},
          {Completion(R"({"prompt":[[1,"a"]]})"), "invalid_value",
           wanted + "an array that holds \"a\"", "prompt"},
          {Completion(R"({"prompt":[]})"), "empty_prompt",
           "prompt has no tokens; at least one is needed", "prompt"},
          {Completion(R"({"prompt":[[1],[]]})"), "empty_prompt",
           "prompt[1] has no tokens; at least one is needed", "prompt"},
          {Completion(R"({"prompt":[[1],[2,512]]})"), "invalid_token",
           "prompt[1][1] is 512; the vocabulary has ids from 0 to 511", "prompt"},
          {Completion(R"({"prompt":["a","b","c","d","e","f","g","h","i"],"n":256})"),
           "invalid_value",
           "prompt has 9 prompts with 256 answers each; a request has at most 2,048 answers in all",
           "prompt"},
      },
      {.encoder_vocab_size = 512});
  std::string many = "\"a\"";
  for (int i = 0; i < 2048; ++i) many += ",\"a\"";
  ExpectRefusals({{Completion(absl::StrCat(R"({"prompt":[)", many, "]}")), "invalid_value",
                   "prompt has more than 2,048 elements", "prompt"}});
}

TEST(OpenAiRequestTest, AChat) {
  const Request text = Accepted(UserSays(
      R"(,"max_completion_tokens":9,"logprobs":true,"top_logprobs":2,"stop":["a","b"],
         "response_format":{"type":"text"},"tools":[],"stream":false,"store":true,
         "metadata":{"a":"b"},"service_tier":"auto","user":"u","top_k":4)"));
  EXPECT_EQ(text.prompts[0].text, "hi");
  EXPECT_EQ(PromptParam(text, 0), "messages");
  EXPECT_EQ(text.decoding.max_tokens, 9);
  EXPECT_EQ(text.decoding.logprobs, 2);
  EXPECT_EQ(text.decoding.top_k, 4);
  EXPECT_THAT(text.decoding.stop, ElementsAre("a", "b"));
  EXPECT_EQ(text.metadata_json, "");
  const Request parts = Accepted(Chat(
      R"({"messages":[{"content":[{"type":"text","text":"a "},{"text":"b","type":"text"}],
          "r\u006fle":"user","name":"n"}]})"));
  EXPECT_EQ(parts.prompts[0].text, "a b");
  EXPECT_EQ(Accepted(UserSays(R"(,"logprobs":true)")).decoding.logprobs, 0);
  RequestDefaults defaults;
  defaults.decoding.logprobs = 3;
  EXPECT_EQ(Accepted(UserSays(""), {}, defaults).decoding.logprobs, 3);
  EXPECT_FALSE(
      Accepted(UserSays(R"(,"logprobs":false)"), {}, defaults).decoding.logprobs.has_value());

  const std::string no_template =
      ": the model has no chat template, so that one message of the role \"user\" is the whole "
      "prompt";
  const auto messages = [](absl::string_view json) {
    return Chat(absl::StrCat("{\"messages\":", json, "}"));
  };
  ExpectRefusals({
      {Chat(R"({"model":"m"})"), "missing_field", "messages is missing", "messages"},
      {messages(R"([{"role":"system","content":"be brief"},{"role":"user","content":"hi"}])"),
       "invalid_value", "messages[0].role is \"system\"" + no_template, "messages"},
      {messages(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])"),
       "invalid_value",
       "messages must be an array of one message, not of several: the model has no chat template, "
       "so that one user message is the whole prompt",
       "messages"},
      {messages("[]"), "invalid_value",
       "messages must be an array of one message, not an empty one: the model has no chat "
       "template, so that one user message is the whole prompt",
       "messages"},
      {messages("\"hi\""), "invalid_value", "messages must be an array of one message, not \"hi\"",
       "messages"},
      {messages("[7]"), "invalid_value", "messages[0] must be an object, not 7", "messages"},
      {messages(R"([{"content":"a"}])"), "invalid_value", "messages[0].role is missing",
       "messages"},
      {messages(R"([{"role":"user"}])"), "invalid_value", "messages[0].content is missing",
       "messages"},
      {messages(R"([{"role":"user","content":null}])"), "invalid_value",
       "messages[0].content must be a string or an array of text parts, not null", "messages"},
      {messages(R"([{"role":"user","content":[]}])"), "invalid_value",
       "messages[0].content has no parts", "messages"},
      {messages(R"([{"role":"user","content":[{"type":"text","text":"a"},
                    {"type":"image_url","image_url":{"url":"data:x"}}]}])"),
       "unsupported", "messages[0].content[1] is an image: images are not served in this version",
       "messages"},
      {messages(R"([{"role":"user","content":[{"type":"text"}]}])"), "invalid_value",
       "messages[0].content[0] must be a text part, {\"type\": \"text\", \"text\": ...}",
       "messages"},
      {UserSays(R"(,"max_tokens":3,"max_completion_tokens":3)"), "invalid_value",
       "max_tokens and max_completion_tokens are both given; one of them is wanted",
       "max_completion_tokens"},
      {UserSays(R"(,"top_logprobs":3)"), "invalid_value",
       "top_logprobs is given, but logprobs is not true", "top_logprobs"},
      {UserSays(R"(,"logprobs":3)"), "invalid_value", "logprobs must be true or false, not 3",
       "logprobs"},
      {UserSays(R"(,"logprobs":true,"top_logprobs":21)"), "invalid_value",
       "top_logprobs must be an integer from 0 to 20, not 21", "top_logprobs"},
      {UserSays(R"(,"response_format":{"type":"json_object"})"), "invalid_value",
       "response_format must be {\"type\": \"text\"}, not an object", "response_format"},
      {UserSays(R"(,"tools":[{"type":"function"}])"), "unsupported",
       "tools is not supported by this version", "tools"},
      {UserSays(R"(,"stream":true)"), "unsupported", "stream true is not supported by this version",
       "stream"},
      {UserSays(R"(,"prompt":"x")"), "unknown_field",
       "\"prompt\" is no field of /v1/chat/completions bodies, but one of generate requests "
       "(--ignore-unknown-fields lets it pass)",
       "prompt"},
  });
}

TEST(OpenAiRequestTest, Embeddings) {
  const Request request = Accepted(
      Embeddings(
          R"({"model":"e","input":["a","b"],"encoding_format":"base64","dimensions":640,"user":"u"})"),
      {.form = LineForm::kEmbed, .embedding_dim = 640});
  EXPECT_EQ(request.prompts.size(), 2u);
  EXPECT_TRUE(request.openai->base64);
  EXPECT_EQ(PromptParam(request, 1), "input");
  EXPECT_THAT(Accepted(Embeddings(R"({"input":[[1,2],[3]]})"), kEmbed).prompts[1].token_ids,
              ElementsAre(3));
  EXPECT_FALSE(Accepted(Embeddings(R"({"input":"a","dimensions":null})"), kEmbed).openai->base64);
  ExpectRefusals(
      {
          {Embeddings(R"({"model":"e"})"), "missing_field", "input is missing", "input"},
          {Embeddings(R"({"input":"a","encoding_format":"hex"})"), "invalid_value",
           "encoding_format must be \"float\" or \"base64\", not \"hex\"", "encoding_format"},
          {Embeddings(R"({"input":"a","dimensions":256})"), "invalid_value",
           "dimensions must be the model's width, 640, not 256", "dimensions"},
          {Embeddings(R"({"input":"a","temperature":1})"), "unknown_field",
           "\"temperature\" is no field of /v1/embeddings bodies, but one of generate requests "
           "(--ignore-unknown-fields lets it pass)",
           "temperature"},
          {Completion(R"({"prompt":"a"})"), "unsupported",
           "url /v1/completions is served by tandem generate", "url"},
      },
      {.form = LineForm::kEmbed, .embedding_dim = 640});
  ExpectRefusals({{Embeddings(R"({"input":"a"})"), "unsupported",
                   "url /v1/embeddings is served by tandem embed", "url"}});
}

TEST(OpenAiRequestTest, WhatIsAroundTheBody) {
  const std::string urls =
      "url must be /v1/completions, /v1/chat/completions or /v1/embeddings, not ";
  ExpectRefusals({
      {R"({"custom_id":"a","url":"/v1/completions"})", "missing_field", "body is missing", "body"},
      {R"({"custom_id":"a","body":{}})", "missing_field", "url is missing", "url"},
      {R"({"url":"/v1/completions","body":{"prompt":"x"}})", "missing_field",
       "custom_id is missing", "custom_id"},
      {R"({"custom_id":7,"url":"/v1/completions","body":{"prompt":"x"}})", "invalid_value",
       "custom_id must be a string, not 7", "custom_id"},
      {R"({"custom_id":"a","url":"/v1/completions","body":[1]})", "invalid_value",
       "body must be an object, not an array", "body"},
      {R"({"custom_id":"a","url":"/v1/responses","body":{}})", "invalid_value",
       urls + "\"/v1/responses\"", "url"},
      {R"({"custom_id":"a","method":"GET","url":"/v1/completions","body":{}})", "invalid_value",
       "method must be \"POST\", not \"GET\"", "method"},
      {R"({"custom_id":"a","url":"/v1/completions","body":{"prompt":"x"},"temperature":1})",
       "unknown_field",
       "\"temperature\" is no field of OpenAI batch lines, but one of generate requests "
       "(--ignore-unknown-fields lets it pass)",
       "temperature"},
      {Completion(R"({"prompt":"x","logprobs":6})"), "invalid_value",
       "logprobs must be an integer from 0 to 5, not 6", "logprobs"},
      {Completion(R"({"prompt":"x","echo":true})"), "unsupported",
       "echo true is not supported by this version", "echo"},
      {Completion(R"({"prompt":"x","suffix":"y"})"), "unsupported",
       "suffix \"y\" is not supported by this version", "suffix"},
      {Completion(R"({"prompt":"x","n":0})"), "invalid_value",
       "n must be an integer from 1 to 256, not 0", "n"},
      {Completion(R"({"prompt":"x","n":2,"n":3})"), "invalid_json",
       "the field \"n\" is there twice", ""},
      {Completion(R"({"prompt":"x","n":3,"best_of":2})"), "invalid_value",
       "n is 3, more than best_of, 2", "n"},
  });
  EXPECT_FALSE(Rejected(R"({"custom_id":7,"url":"u","body":{}})").id_given);
}

TEST(OpenAiRequestTest, TheIdOfARefusedLineIsItsOwn) {
  const RejectedLine refused = Rejected(R"({"url":"u","custom_id":"r-\u0031"})");
  EXPECT_EQ(refused.id.json, "\"r-\\u0031\"");
  EXPECT_EQ(refused.id.key, "r-1");
  EXPECT_TRUE(refused.id_given);
  ASSERT_NE(refused.openai, nullptr);
  const RejectedLine broken = Rejected(R"({"custom_id":"r-1","url":)");
  EXPECT_EQ(broken.error.code, RequestErrorCode::kInvalidJson);
  EXPECT_EQ(broken.id.key, "r-1");
  ASSERT_NE(broken.openai, nullptr);
}

TEST(OpenAiRequestTest, TheHashIsOfIdAndBody) {
  const auto hash = [](absl::string_view id, absl::string_view body) {
    return Accepted(absl::StrCat(R"({"custom_id":")", id, R"(","url":"/v1/completions","body":)",
                                 body, "}"))
        .openai->hash;
  };
  const std::string first = hash("a", R"({"prompt":"x"})");
  EXPECT_EQ(first, hash("\\u0061", R"({"prompt":"x"})")) << "spelling of the id does not count";
  EXPECT_NE(first, hash("b", R"({"prompt":"x"})"));
  EXPECT_NE(first, hash("a", R"({"prompt":"y"})"));
}

}  // namespace
}  // namespace tandem
