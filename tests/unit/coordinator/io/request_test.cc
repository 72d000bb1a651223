#include "coordinator/io/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/base/json_text.h"
#include "coordinator/io/request_fields.h"
#include "coordinator/io/result.h"
#include "tests/unit/coordinator/io/parse_helpers.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(RequestTest, EveryServedFieldIsRead) {
  const Request request = Accepted(
      R"({"id": "a-1", "prompt": "one\ntwo \u00e9", "decoder_prompt_token_ids": [2, 7],
          "max_tokens": 9, "min_tokens": 3, "ignore_eos": true, "stop_token_ids": [8, 5, 8],
          "logprobs": 2, "metadata": {"k": [1.50, "\u00e9"]}})");
  EXPECT_EQ(request.line, 5);
  EXPECT_EQ(request.id.json, "\"a-1\"");
  EXPECT_EQ(request.id.key, "a-1");
  ASSERT_EQ(request.prompts.size(), 1u);
  EXPECT_EQ(request.prompts[0].text, "one\ntwo \xc3\xa9");
  EXPECT_THAT(request.prompts[0].token_ids, IsEmpty());
  EXPECT_FALSE(request.decoder_prompt.has_value());
  EXPECT_THAT(*request.decoder_prompt_token_ids, ElementsAre(2, 7));
  EXPECT_EQ(request.decoding.max_tokens, 9);
  EXPECT_EQ(request.decoding.min_tokens, 3);
  EXPECT_TRUE(request.decoding.ignore_eos);
  EXPECT_THAT(request.decoding.stop_token_ids, ElementsAre(5, 8));
  EXPECT_EQ(request.decoding.logprobs, 2);
  EXPECT_EQ(request.metadata_json, R"({"k": [1.50, "\u00e9"]})");
}

TEST(RequestTest, DefaultsFillWhatTheLineLeavesOut) {
  const Request plain = Accepted(R"({"prompt":""})");
  EXPECT_EQ(plain.id.json, "\"4\"") << "line 5 is number 4 from 0";
  EXPECT_EQ(plain.id.key, "4");
  EXPECT_EQ(plain.prompts[0].text, "");
  EXPECT_EQ(plain.decoding.max_tokens, 256);
  EXPECT_EQ(plain.decoding.min_tokens, 0);
  EXPECT_FALSE(plain.decoding.ignore_eos);
  EXPECT_FALSE(plain.decoding.logprobs.has_value());
  EXPECT_FALSE(plain.decoder_prompt.has_value());
  EXPECT_FALSE(plain.decoder_prompt_token_ids.has_value());
  EXPECT_EQ(plain.metadata_json, "");

  RequestDefaults defaults;
  defaults.decoding.max_tokens = 7;
  defaults.decoding.min_tokens = 2;
  defaults.decoding.ignore_eos = true;
  defaults.decoding.stop_token_ids = {3, 9};
  defaults.decoding.logprobs = 1;
  defaults.decoder_prompt = "so";
  const Request from_job = Accepted(R"({"prompt_token_ids":[2]})", {}, defaults);
  EXPECT_EQ(from_job.decoding.max_tokens, 7);
  EXPECT_EQ(from_job.decoding.min_tokens, 2);
  EXPECT_TRUE(from_job.decoding.ignore_eos);
  EXPECT_THAT(from_job.decoding.stop_token_ids, ElementsAre(3, 9));
  EXPECT_EQ(from_job.decoding.logprobs, 1);
  EXPECT_EQ(from_job.decoder_prompt, "so");

  const Request own = Accepted(
      R"({"prompt":"x","max_tokens":2,"min_tokens":0,"ignore_eos":false,"stop_token_ids":[],
          "logprobs":0,"decoder_prompt_token_ids":[]})",
      {}, defaults);
  EXPECT_EQ(own.decoding.max_tokens, 2);
  EXPECT_EQ(own.decoding.min_tokens, 0);
  EXPECT_FALSE(own.decoding.ignore_eos);
  EXPECT_THAT(own.decoding.stop_token_ids, IsEmpty());
  EXPECT_EQ(own.decoding.logprobs, 0);
  EXPECT_FALSE(own.decoder_prompt.has_value());
  EXPECT_THAT(*own.decoder_prompt_token_ids, IsEmpty());

  const Request nulls = Accepted(
      R"({"id":null,"prompt":"x","prompt_token_ids":null,"max_tokens":null,"logprobs":null,
          "ignore_eos":null,"stop":null,"temperature":null,"images":null})",
      {}, defaults);
  EXPECT_EQ(nulls.id.key, "4");
  EXPECT_EQ(nulls.decoding.max_tokens, 7);
  EXPECT_EQ(nulls.decoding.logprobs, 1);
}

TEST(RequestTest, IdsComeBackAsWrittenAndCompareAsText) {
  struct Case {
    std::string line, json, key;
  };
  const Case kCases[] = {
      {R"({"id":7,"prompt":"x"})", "7", "7"},
      {R"({"id":"7","prompt":"x"})", "\"7\"", "7"},
      {R"({ "id" : "\u0037" , "prompt":"x"})", "\"\\u0037\"", "7"},
      {R"({"prompt":"id","i\u0064":-3})", "-3", "-3"},
      {R"({"metadata":{"id":1,"x":"}\",\"id\":2"},"id":"","prompt":"x"})", "\"\"", ""},
      {R"({"id":123456789012345678901234567890,"prompt":"x"})", "123456789012345678901234567890",
       "123456789012345678901234567890"},
      {R"({"id":18446744073709551615,"prompt":"x"})", "18446744073709551615",
       "18446744073709551615"},
      {R"({"id":"a/b\/c\n","prompt":"x"})", R"("a/b\/c\n")", "a/b/c\n"},
  };
  for (const Case& c : kCases) {
    const Request request = Accepted(c.line);
    EXPECT_EQ(request.id.json, c.json);
    EXPECT_EQ(request.id.key, c.key);
  }
}

TEST(RequestTest, MetadataComesBackToTheByte) {
  for (const char* metadata :
       {"null", "0.10", "-0", "1E+2", "12345678901234567890123", R"("a\/\u0041\\\"}")", "[ ]",
        R"({ "a" : {"b":[1 , 2.0]} , "a" : 3 })", "{}", "true"}) {
    const std::string line = absl::StrCat(R"({"metadata":  )", metadata, R"( ,"prompt":"x"})");
    EXPECT_EQ(Accepted(line).metadata_json, metadata);
  }
  EXPECT_EQ(Rejected(R"({"metadata":[1.0],"prompt":3})").metadata_json, "[1.0]");
}

TEST(RequestTest, ExactMessagesOfTextThatIsNoRequest) {
  const std::string deep = std::string(64, '[') + std::string(64, ']');
  ExpectRefusals({
      {"[1]", "invalid_json", "a request is a JSON object, not an array", ""},
      {"7", "invalid_json", "a request is a JSON object, not 7", ""},
      {"\"prompt\"", "invalid_json", "a request is a JSON object, not \"prompt\"", ""},
      {"null", "invalid_json", "a request is a JSON object, not null", ""},
      {R"({"prompt":"x","prompt":"y"})", "invalid_json", "the field \"prompt\" is there twice", ""},
      {R"({"prompt":"x","pr\u006fmpt":"y"})", "invalid_json", "the field \"prompt\" is there twice",
       ""},
      {absl::StrCat(R"({"prompt":"x","metadata":)", deep, "}"), "invalid_json",
       "arrays and objects are nested more than 64 deep", ""},
      {std::string("{\"prompt\":\"x\"}\0{", 16), "invalid_json",
       "not valid JSON at byte 15: a NUL byte", ""},
      {"\xef\xbb\xbf{\"prompt\":\"x\"}", "invalid_json",
       "not valid JSON at byte 1: a byte order mark (only the input's very beginning may have one)",
       ""},
      {"{\"prompt\":\"\xc3\x28\"}", "invalid_utf8", "byte 12 is not UTF-8", ""},
      {"\xff\xfe{", "invalid_utf8", "byte 1 is not UTF-8", ""},
      {"{\"prompt\":\"\xed\xa0\x80\"}", "invalid_utf8", "byte 12 is not UTF-8", ""},
      {"{\"prompt\":\"\xc0\xaf\"}", "invalid_utf8", "byte 12 is not UTF-8", ""},
      {"{\"prompt\":\"\xf4\x90\x80\x80\"}", "invalid_utf8", "byte 12 is not UTF-8", ""},
  });
  EXPECT_EQ(Accepted(absl::StrCat(R"({"prompt":"x","metadata":)", deep.substr(1, 126), "}"))
                .metadata_json.size(),
            126u)
      << "63 below the object's own level";
}

// What nlohmann says of bad syntax is its own; ours is where, and that no part of the line is in
// it.
TEST(RequestTest, BadSyntaxIsPlaced) {
  for (const auto& [line, start] : std::vector<std::pair<std::string, std::string>>{
           {"{\"prompt\":", "not valid JSON at byte 11: "},
           {"{\"prompt\":\"secret", "not valid JSON at byte 18: "},
           {"{'prompt':1}", "not valid JSON at byte 2: "},
           {"{\"prompt\":NaN}", "not valid JSON at byte 11: "},
           {"{\"temperature\":Infinity}", "not valid JSON at byte 16: "},
           {"{\"temperature\":-Infinity}", "not valid JSON at byte 17: "},
           {"{\"n\":01}", "not valid JSON at byte 7: "},
           {"{\"n\":1,}", "not valid JSON at byte 8: "},
           {"{\"n\":1e999}", "not valid JSON at byte 10: "},
           {"{\"prompt\":\"\\ud800\"}", "not valid JSON at byte 18: "},
           {"{\"prompt\":\"\\udc00x\"}", "not valid JSON at byte 17: "},
           {"{\"prompt\":\"secret\ttab\"}", "not valid JSON at byte 18: "},
           {"{\"prompt\":\"x\"} {\"prompt\":\"y\"}", "not valid JSON at byte 16: "},
           {"{\"prompt\":\"x\"} // why", "not valid JSON at byte 16: "},
           {"{\"prompt\" \"x\"}", "not valid JSON at byte 13: "}}) {
    const RejectedLine rejected = Rejected(line);
    EXPECT_EQ(rejected.error.code, RequestErrorCode::kInvalidJson) << line;
    EXPECT_THAT(rejected.error.message, StartsWith(start)) << line;
    EXPECT_THAT(rejected.error.message, Not(HasSubstr("secret")));
    EXPECT_LT(rejected.error.message.size(), 300u);
  }
}

TEST(RequestTest, ExactMessagesOfFields) {
  ExpectRefusals({
      {"{}", "missing_field", "prompt or prompt_token_ids is missing", "prompt"},
      {R"({"prompt":null})", "missing_field", "prompt or prompt_token_ids is missing", "prompt"},
      {R"({"prompt":"x","max_token":3})", "unknown_field",
       "unknown field \"max_token\"; the nearest known one is \"max_tokens\" "
       "(--ignore-unknown-fields lets it pass)",
       "max_token"},
      {R"({"prompt":"x","prompt_token_ids":[1]})", "invalid_value",
       "prompt and prompt_token_ids are both given; one of them is wanted", "prompt_token_ids"},
      {R"({"prompt":"x","decoder_prompt":"a","decoder_prompt_token_ids":[1]})", "invalid_value",
       "decoder_prompt and decoder_prompt_token_ids are both given; one of them is wanted",
       "decoder_prompt_token_ids"},
      {R"({"prompt":7})", "invalid_value", "prompt must be a string, not 7", "prompt"},
      {R"({"prompt":["x"]})", "invalid_value", "prompt must be a string, not an array", "prompt"},
      {R"({"prompt":{"a":{"b":1}}})", "invalid_value", "prompt must be a string, not an object",
       "prompt"},
      {R"({"prompt_token_ids":[]})", "empty_prompt",
       "prompt_token_ids has no tokens; at least one is needed", "prompt_token_ids"},
      {R"({"prompt_token_ids":"2 3"})", "invalid_value",
       "prompt_token_ids must be an array of token ids (integers from 0 on), not \"2 3\"",
       "prompt_token_ids"},
      {R"({"prompt_token_ids":[2,-1]})", "invalid_value",
       "prompt_token_ids must be an array of token ids (integers from 0 on), not an array that "
       "holds -1",
       "prompt_token_ids"},
      {R"({"prompt_token_ids":[2.5]})", "invalid_value",
       "prompt_token_ids must be an array of token ids (integers from 0 on), not an array that "
       "holds 2.5",
       "prompt_token_ids"},
      {R"({"prompt_token_ids":[1,[2]]})", "invalid_value",
       "prompt_token_ids must be an array of token ids (integers from 0 on), not an array that "
       "holds an array",
       "prompt_token_ids"},
      {R"({"prompt_token_ids":[4294967296]})", "invalid_value",
       "prompt_token_ids must be an array of token ids (integers from 0 on), not an array that "
       "holds 4294967296",
       "prompt_token_ids"},
      {R"({"prompt_token_ids":[null]})", "invalid_value",
       "prompt_token_ids must be an array of token ids (integers from 0 on), not an array that "
       "holds null",
       "prompt_token_ids"},
      {R"({"prompt":"x","id":7.0})", "invalid_value", "id must be a string or an integer, not 7.0",
       "id"},
      {R"({"prompt":"x","id":true})", "invalid_value",
       "id must be a string or an integer, not true", "id"},
      {R"({"prompt":"x","id":["a"]})", "invalid_value",
       "id must be a string or an integer, not an array", "id"},
      {R"({"prompt":"x","max_tokens":0})", "invalid_value",
       "max_tokens must be an integer from 1 to 2,147,483,647, not 0", "max_tokens"},
      {R"({"prompt":"x","max_tokens":2.5})", "invalid_value",
       "max_tokens must be an integer from 1 to 2,147,483,647, not 2.5", "max_tokens"},
      {R"({"prompt":"x","max_tokens":2147483648})", "invalid_value",
       "max_tokens must be an integer from 1 to 2,147,483,647, not 2147483648", "max_tokens"},
      {R"({"prompt":"x","max_tokens":99999999999999999999})", "invalid_value",
       "max_tokens must be an integer from 1 to 2,147,483,647, not 99999999999999999999",
       "max_tokens"},
      {R"({"prompt":"x","max_tokens":"64"})", "invalid_value",
       "max_tokens must be an integer from 1 to 2,147,483,647, not \"64\"", "max_tokens"},
      {R"({"prompt":"x","min_tokens":300})", "invalid_value",
       "min_tokens is 300, more than max_tokens, 256", "min_tokens"},
      {R"({"prompt":"x","ignore_eos":1})", "invalid_value",
       "ignore_eos must be true or false, not 1", "ignore_eos"},
      {R"({"prompt":"x","logprobs":-1})", "invalid_value",
       "logprobs must be an integer from 0 to 1,024, not -1", "logprobs"},
      {R"({"prompt":"x","logprobs":true})", "invalid_value",
       "logprobs must be an integer from 0 to 1,024, not true", "logprobs"},
      {R"({"prompt":"x","seed":1.5})", "invalid_value",
       "seed must be a signed integer of 64 bits, not 1.5", "seed"},
      {absl::StrCat(R"({"prompt":"x","ignore_eos":")", std::string(500, 'y'), "\"}"),
       "invalid_value",
       absl::StrCat("ignore_eos must be true or false, not \"", std::string(40, 'y'), "...\""),
       "ignore_eos"},
  });
}

TEST(RequestTest, TokenIdsMustLieInTheVocabulary) {
  const RequestOptions options = {.encoder_vocab_size = 512, .decoder_vocab_size = 100};
  EXPECT_THAT(
      Accepted(R"({"prompt_token_ids":[511],"stop_token_ids":[99]})", options).prompts[0].token_ids,
      ElementsAre(511));
  ExpectRefusals(
      {
          {R"({"prompt_token_ids":[0,512]})", "invalid_token",
           "prompt_token_ids[1] is 512; the vocabulary has ids from 0 to 511", "prompt_token_ids"},
          {R"({"prompt":"x","decoder_prompt_token_ids":[100]})", "invalid_token",
           "decoder_prompt_token_ids[0] is 100; the vocabulary has ids from 0 to 99",
           "decoder_prompt_token_ids"},
          {R"({"prompt":"x","stop_token_ids":[1,2,100]})", "invalid_token",
           "stop_token_ids[2] is 100; the vocabulary has ids from 0 to 99", "stop_token_ids"},
      },
      options);
}

TEST(RequestTest, TheFirstFaultIsToldAndTheIdIsKept) {
  const RejectedLine rejected =
      Rejected(R"({"max_tokens":"a","n":3,"colour":1,"id":42,"metadata":{"k":1}})");
  EXPECT_EQ(rejected.error.param, "max_tokens");
  EXPECT_EQ(rejected.id.json, "42");
  EXPECT_TRUE(rejected.id_given);
  EXPECT_EQ(rejected.metadata_json, R"({"k":1})");
  const RejectedLine broken = Rejected(R"({"id":"a\u0062","prompt":"x")");
  EXPECT_EQ(broken.error.code, RequestErrorCode::kInvalidJson);
  EXPECT_EQ(broken.id.json, "\"ab\"");
  const RejectedLine unreadable = Rejected("nonsense");
  EXPECT_EQ(unreadable.id.json, "\"4\"");
  EXPECT_FALSE(unreadable.id_given);
}

TEST(RequestTest, UnknownFieldsPassWhenAsked) {
  const RequestOptions options = {.ignore_unknown_fields = true};
  const Request request =
      Accepted(R"({"colour":{"id":3},"prompt":"x","x":[[1]],"x":2,"body":"y"})", options);
  EXPECT_EQ(request.prompts[0].text, "x");
  EXPECT_EQ(request.id.key, "4");
}

TEST(RequestTest, LaterRefusalsHaveTheirExactMessages) {
  const Request request = Accepted(R"({"id":8,"prompt":"x","metadata":1})");
  EXPECT_EQ(FormatError(Reject(request, PromptTooLongError("prompt", 131090, 131072))),
            R"~({"id":8,"error":{"code":"prompt_too_long","message":"prompt has 131,090 tokens; )~"
            R"~(the model takes 131,072 (use --truncate to cut it)","param":"prompt"},"line":5,)~"
            R"~("metadata":1})~");
  EXPECT_EQ(DuplicateIdError("\"7\"").message, "id \"7\" was used by an earlier line");
  EXPECT_EQ(NoTokenizerError("prompt").message,
            "prompt is text, but the model folder has neither tokenizer.json nor tokenizer.model; "
            "give prompt_token_ids");
  EXPECT_EQ(SpecialTokenError("prompt", "<bos>").message,
            "prompt holds the special token \"<bos>\", which --no-special-in-prompt refuses");
  EXPECT_EQ(KvMemoryError(12345, 10000).message,
            "the request needs K/V memory for 12,345 tokens (prompt, decoder prompt and "
            "max_tokens); a decoder rank has room for 10,000 (raise --kv-cache-mb or lower "
            "max_tokens)");
  EXPECT_EQ(NonFiniteError(3).message,
            "the model's logits were NaN or infinite at token 3 of the answer; the weights or the "
            "computation are damaged");
  EXPECT_EQ(DecoderTooLongError("decoder_prompt", 3000, 0, 2047).message,
            "decoder_prompt has 3,000 tokens; the model's decoder takes 2,047");
  EXPECT_EQ(DecoderTooLongError("target", 3000, 1, 2047).message,
            "target has 3,000 tokens; behind a decoder prompt of 1 the model's decoder takes "
            "2,047");
  EXPECT_EQ(NonFiniteStatesError().message,
            "the encoder's states were NaN or infinite; the weights or the computation are "
            "damaged");
  EXPECT_EQ(RejectTooLongLine(9, 20000000, 16777216).error.message,
            "the line has 20,000,000 bytes; at most 16,777,216 are taken (--max-line-bytes)");
  EXPECT_EQ(RejectTooLongLine(9, 2, 1).id.json, "\"8\"");
}

TEST(RequestTest, LinesForOnePromptReadBack) {
  EXPECT_EQ(Accepted(RequestLineFor("a \"b\"\n\xc3\xa9")).prompts[0].text, "a \"b\"\n\xc3\xa9");
  const int32_t ids[] = {2, 284};
  EXPECT_THAT(Accepted(RequestLineFor(ids)).prompts[0].token_ids, ElementsAre(2, 284));
}

// Every line gets an answer of one kind, whose error result is valid JSON: cut, changed and spliced
// lines, and bytes at random.
TEST(RequestTest, AThousandHostileLines) {
  const std::string seeds[] = {
      R"({"id":"a","prompt":"one \ud83d\ude00 two","max_tokens":3,"metadata":{"a":[1,2,{"b":null}]}})",
      R"({"prompt_token_ids":[1,2,3,4],"logit_bias":{},"stop":[],"seed":-1,"id":"q"})",
      R"({"id":-12,"prompt":"\u0000\n","top_p":1e-3,"images":[],"early_stopping":"never"})",
      R"({"custom_id":"x","method":"POST","url":"/v1/completions","body":{"model":"m","n":[]}})"};
  const std::string splices[] = {"NaN",
                                 "[[[[",
                                 "}}",
                                 "\"",
                                 "\\u",
                                 "\xff",
                                 std::string(1, '\0'),
                                 "1e400",
                                 "\"id\":7,",
                                 "\xef\xbb\xbf",
                                 "-",
                                 "9999999999999999999999",
                                 std::string(100, '['),
                                 "\\ud800",
                                 "null",
                                 "{\"a\":"};
  std::mt19937 random(1);
  int accepted = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string line = seeds[random() % std::size(seeds)];
    for (int edits = static_cast<int>(random() % 4); edits > 0; --edits) {
      const size_t at = random() % (line.size() + 1);
      switch (random() % 5) {
        case 0:
          line.resize(at);
          break;
        case 1:
          line.insert(at, splices[random() % std::size(splices)]);
          break;
        case 2:
          if (at < line.size()) line[at] = static_cast<char>(random());
          break;
        case 3:
          line += line.substr(at);
          break;
        default:
          if (at < line.size()) line.erase(at, 1 + random() % 5);
      }
    }
    auto parsed = ParseRequest(line, i + 1, {}, {.ignore_unknown_fields = i % 2 == 0});
    if (const auto* request = std::get_if<Request>(&parsed)) {
      ++accepted;
      EXPECT_TRUE(nlohmann::json::accept(request->id.json)) << line;
      EXPECT_TRUE(request->metadata_json.empty() || nlohmann::json::accept(request->metadata_json));
      for (const Prompt& prompt : request->prompts) {
        EXPECT_TRUE(prompt.text.has_value() == prompt.token_ids.empty());
      }
      EXPECT_FALSE(request->prompts.empty());
    } else {
      const RejectedLine& rejected = std::get<RejectedLine>(parsed);
      const std::string result = FormatError(rejected);
      EXPECT_TRUE(nlohmann::json::accept(result)) << line << "\n" << result;
      EXPECT_FALSE(rejected.error.message.empty());
      EXPECT_LT(rejected.error.message.size(), 400u) << rejected.error.message;
    }
  }
  EXPECT_GT(accepted, 20);
  EXPECT_LT(accepted, 900);
}

TEST(RequestFieldsTest, TableIsInTheEnumsOrder) {
  EXPECT_EQ(InfoOf(Field::kId).name, "id");
  EXPECT_EQ(InfoOf(Field::kNumBeams).name, "num_beams");
  EXPECT_EQ(InfoOf(Field::kStopTokenIds).name, "stop_token_ids");
  EXPECT_EQ(InfoOf(Field::kMetadata).name, "metadata");
  EXPECT_EQ(InfoOf(Field::kBody).name, "body");
  EXPECT_EQ(InfoOf(Field::kChatLogprobs).type, FieldType::kBoolean);
  EXPECT_EQ(InfoOf(Field::kServiceTier).name, "service_tier");
  for (int f = 0; f < kNumLineForms; ++f) {
    const auto form = static_cast<LineForm>(f);
    for (const FieldInfo& info : FieldTable()) {
      Field field;
      const FieldInfo* found = FindField(form, info.name, &field);
      EXPECT_EQ(found != nullptr && found == &info, info.BelongsTo(form)) << info.name;
      if (found != nullptr) {
        EXPECT_EQ(&InfoOf(field), found);
      }
    }
  }
}

TEST(RequestErrorTest, TableIsInTheEnumsOrder) {
  EXPECT_EQ(NameOf(RequestErrorCode::kInvalidJson), "invalid_json");
  EXPECT_EQ(NameOf(RequestErrorCode::kUnsupported), "unsupported");
  EXPECT_EQ(NameOf(RequestErrorCode::kPromptTooLong), "prompt_too_long");
  EXPECT_EQ(NameOf(RequestErrorCode::kKvMemory), "kv_memory");
  EXPECT_EQ(NameOf(RequestErrorCode::kNonFinite), "nonfinite");
}

}  // namespace
}  // namespace tandem
