// The fields that say how to decode: each is read, bounded, and settled with the others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/io/decoding_rules.h"
#include "coordinator/io/request.h"
#include "tests/unit/coordinator/io/parse_helpers.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

std::string With(absl::string_view fields) {
  return absl::StrCat("{\"prompt\":\"x\",", fields, "}");
}
DecodingOptions Decoding(absl::string_view fields, const RequestDefaults& defaults = {}) {
  return Accepted(With(fields), {}, defaults).decoding;
}

TEST(DecodingFieldsTest, EachIsRead) {
  const DecodingOptions sampled = Decoding(
      R"("temperature":0.75,"top_k":40,"top_p":0.9,"min_p":0.05,"seed":-2,"n":2,"best_of":3,
         "repetition_penalty":1.25,"presence_penalty":-0.5,"frequency_penalty":2,
         "no_repeat_ngram_size":3,"bad_words":["a","b c"],"logit_bias":{"9":1.5,"7":-100},
         "stop":["\n","END"],"include_stop_str_in_output":true,"skip_special_tokens":false)");
  EXPECT_EQ(sampled.temperature, 0.75f);
  EXPECT_EQ(sampled.top_k, 40);
  EXPECT_EQ(sampled.top_p, 0.9f);
  EXPECT_EQ(sampled.min_p, 0.05f);
  EXPECT_EQ(sampled.seed, static_cast<uint64_t>(-2));
  EXPECT_EQ(sampled.n, 2);
  EXPECT_EQ(sampled.best_of, 3);
  EXPECT_EQ(sampled.repetition_penalty, 1.25f);
  EXPECT_EQ(sampled.presence_penalty, -0.5f);
  EXPECT_EQ(sampled.frequency_penalty, 2.0f);
  EXPECT_EQ(sampled.no_repeat_ngram_size, 3);
  EXPECT_THAT(sampled.bad_words, ElementsAre("a", "b c"));
  EXPECT_THAT(sampled.logit_bias, ElementsAre(Pair(7, -100.0f), Pair(9, 1.5f)));
  EXPECT_THAT(sampled.stop, ElementsAre("\n", "END"));
  EXPECT_TRUE(sampled.include_stop_str_in_output);
  EXPECT_FALSE(sampled.skip_special_tokens);

  const DecodingOptions beams = Decoding(
      R"("num_beams":4,"length_penalty":-0.5,"early_stopping":"never","n":4,"temperature":0)");
  EXPECT_EQ(beams.num_beams, 4);
  EXPECT_EQ(beams.length_penalty, -0.5f);
  EXPECT_EQ(beams.early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(beams.n, 4);
  EXPECT_EQ(Decoding(R"("early_stopping":true)").early_stopping, EarlyStopping::kTrue);
  EXPECT_EQ(Decoding(R"("early_stopping":false)").early_stopping, EarlyStopping::kFalse);
  EXPECT_THAT(Decoding(R"("stop":"END")").stop, ElementsAre("END"));
}

TEST(DecodingFieldsTest, WithoutThemDecodingIsGreedy) {
  const DecodingOptions plain = Accepted(R"({"prompt":"x"})").decoding;
  EXPECT_EQ(plain.temperature, 0.0f);
  EXPECT_EQ(plain.top_k, 0);
  EXPECT_EQ(plain.top_p, 1.0f);
  EXPECT_EQ(plain.n, 1);
  EXPECT_FALSE(plain.best_of.has_value());
  EXPECT_EQ(plain.num_beams, 1);
  EXPECT_EQ(plain.repetition_penalty, 1.0f);
  EXPECT_THAT(plain.stop, IsEmpty());
  EXPECT_TRUE(plain.skip_special_tokens);
}

TEST(DecodingFieldsTest, AListOfTheLineReplacesTheJobs) {
  RequestDefaults defaults;
  defaults.decoding.stop = {"a"};
  defaults.decoding.bad_words = {"b"};
  defaults.decoding.logit_bias = {{1, 1.0f}};
  defaults.decoding.stop_token_ids = {4};
  defaults.decoding.top_k = 5;
  const DecodingOptions inherited = Decoding(R"("n":1)", defaults);
  EXPECT_THAT(inherited.stop, ElementsAre("a"));
  EXPECT_THAT(inherited.logit_bias, ElementsAre(Pair(1, 1.0f)));
  EXPECT_EQ(inherited.top_k, 5);
  const DecodingOptions own = Decoding(
      R"("stop":"c","bad_words":[],"logit_bias":{"2":2},"stop_token_ids":[6,5,6],"top_k":0)",
      defaults);
  EXPECT_THAT(own.stop, ElementsAre("c"));
  EXPECT_THAT(own.bad_words, IsEmpty());
  EXPECT_THAT(own.logit_bias, ElementsAre(Pair(2, 2.0f)));
  EXPECT_THAT(own.stop_token_ids, ElementsAre(5, 6));
  EXPECT_EQ(own.top_k, 0);
}

TEST(DecodingFieldsTest, TheSeedComesFromTheJobAndTheId) {
  const auto seed = [](absl::string_view line, uint64_t job) {
    RequestDefaults defaults;
    defaults.job_seed = job;
    return *Accepted(line, {}, defaults).decoding.seed;
  };
  const uint64_t of_a = seed(R"({"id":"7","prompt":"x"})", 0);
  EXPECT_EQ(of_a, DerivedSeed(0, "7"));
  EXPECT_EQ(of_a, seed(R"({"prompt":"other","id":7})", 0)) << "7 and \"7\" are one id";
  EXPECT_NE(of_a, seed(R"({"id":"7","prompt":"x"})", 1));
  EXPECT_NE(of_a, seed(R"({"id":"8","prompt":"x"})", 0));
  EXPECT_EQ(seed(R"({"id":"7","prompt":"x","seed":3})", 1), 3u);
  EXPECT_EQ(seed(R"({"prompt":"x"})", 1), DerivedSeed(1, "4"));
  // Answers of released versions must stay what they are.
  EXPECT_EQ(DerivedSeed(0, ""), 0x2d06800538d394c2u);
}

TEST(DecodingFieldsTest, EveryBoundHasItsMessage) {
  const std::string k64 = absl::StrJoin(std::vector<std::string>(64, "\"s\""), ",");
  const std::string k1024 = absl::StrJoin(std::vector<std::string>(1024, "\"s\""), ",");
  const std::string long_text(1024, 'x');
  // These still are within.
  for (const std::string& fields :
       {std::string(R"("temperature":100)"), std::string(R"("temperature":0.001)"),
        std::string(R"("temperature":-0.0)"), std::string(R"("top_p":1.0)"),
        std::string(R"("top_p":1e-30)"), std::string(R"("min_p":1)"), std::string(R"("n":256)"),
        std::string(R"("best_of":256)"), std::string(R"("num_beams":64)"),
        std::string(R"("length_penalty":-100)"), std::string(R"("repetition_penalty":0.01)"),
        std::string(R"("presence_penalty":100)"), std::string(R"("seed":9223372036854775807)"),
        std::string(R"("logit_bias":{"0":100})"), absl::StrCat(R"("stop":[)", k64, "]"),
        absl::StrCat(R"("stop":")", long_text, "\""), absl::StrCat(R"("bad_words":[)", k1024, "]"),
        std::string(R"("max_tokens":2e1)"), std::string(R"("images":[])")}) {
    Accepted(With(fields));
  }
  struct Case {
    std::string fields, param, seen;
  };
  const Case kCases[] = {
      {R"("temperature":-1)", "temperature", "-1"},
      {R"("temperature":0.0001)", "temperature", "0.0001"},
      {R"("temperature":100.5)", "temperature", "100.5"},
      {R"("temperature":"hot")", "temperature", "\"hot\""},
      {R"("top_k":-1)", "top_k", "-1"},
      {R"("top_k":1.5)", "top_k", "1.5"},
      {R"("top_p":0)", "top_p", "0"},
      {R"("top_p":1e-50)", "top_p", "1e-50"},
      {R"("top_p":1.1)", "top_p", "1.1"},
      {R"("min_p":-0.1)", "min_p", "-0.1"},
      {R"("min_p":1.1)", "min_p", "1.1"},
      {R"("seed":9223372036854775808)", "seed", "9223372036854775808"},
      {R"("n":0)", "n", "0"},
      {R"("n":257)", "n", "257"},
      {R"("best_of":257)", "best_of", "257"},
      {R"("num_beams":65)", "num_beams", "65"},
      {R"("length_penalty":101)", "length_penalty", "101"},
      {R"("early_stopping":"sometimes")", "early_stopping", "\"sometimes\""},
      {R"("early_stopping":1)", "early_stopping", "1"},
      {R"("repetition_penalty":0)", "repetition_penalty", "0"},
      {R"("repetition_penalty":101)", "repetition_penalty", "101"},
      {R"("presence_penalty":-101)", "presence_penalty", "-101"},
      {R"("frequency_penalty":101)", "frequency_penalty", "101"},
      {R"("no_repeat_ngram_size":-1)", "no_repeat_ngram_size", "-1"},
      {R"("bad_words":"a")", "bad_words", "\"a\""},
      {R"("bad_words":[""])", "bad_words", "an empty one"},
      {R"("bad_words":[["a"]])", "bad_words", "an array that holds an array"},
      {absl::StrCat(R"("bad_words":[)", k1024, ",\"s\"]"), "bad_words", "more of them"},
      {R"("logit_bias":[])", "logit_bias", "an array"},
      {R"("logit_bias":{"x":1})", "logit_bias", "an object with the key \"x\""},
      {R"("logit_bias":{" 7":1})", "logit_bias", "an object with the key \" 7\""},
      {R"("logit_bias":{"":1})", "logit_bias", "an object with the key \"\""},
      {R"("logit_bias":{"99999999999":1})", "logit_bias", "an object with the key \"99999999999\""},
      {R"("logit_bias":{"7":"1"})", "logit_bias", "an object that holds \"1\""},
      {R"("logit_bias":{"7":101})", "logit_bias", "an object that holds 101"},
      {R"("logit_bias":{"7":1,"07":2})", "logit_bias", "an object that has the token id 7 twice"},
      {R"("stop":[1])", "stop", "an array that holds 1"},
      {R"("stop":"")", "stop", "an empty one"},
      {R"("stop":{"a":1})", "stop", "an object"},
      {absl::StrCat(R"("stop":")", long_text, "x\""), "stop", "one of 1,025 bytes"},
      {absl::StrCat(R"("stop":[)", k64, ",\"s\"]"), "stop", "more of them"},
      {R"("include_stop_str_in_output":1)", "include_stop_str_in_output", "1"},
      {R"("skip_special_tokens":"no")", "skip_special_tokens", "\"no\""},
  };
  for (const Case& c : kCases) {
    Field field;
    const FieldInfo* info = FindField(LineForm::kGenerate, c.param, &field);
    ASSERT_NE(info, nullptr);
    ExpectRefusals(
        {{With(c.fields), "invalid_value",
          absl::StrCat(c.param, " must be ", info->expects, ", not ", c.seen), c.param}});
  }
  std::string biases;
  for (int i = 0; i <= 4096; ++i) absl::StrAppend(&biases, i > 0 ? "," : "", "\"", i, "\":1");
  ExpectRefusals({
      {With(absl::StrCat(R"("logit_bias":{)", biases, "}")), "invalid_value",
       "logit_bias must be an object of up to 4,096 token ids and numbers from -100 to 100, not "
       "more of them",
       "logit_bias"},
      {With(R"("images":["a.png"])"), "unsupported", "images is not supported by this version",
       "images"},
      {With(R"("images":"a.png")"), "invalid_value",
       "images must be an array of strings, not \"a.png\"", "images"},
  });
  ExpectRefusals(
      {{With(R"("logit_bias":{"100":1})"), "invalid_token",
        "logit_bias has the token id 100; the vocabulary has ids from 0 to 99", "logit_bias"}},
      {.decoder_vocab_size = 100});
}

TEST(DecodingFieldsTest, WhatContradictsItselfIsRefused) {
  ExpectRefusals({
      {With(R"("n":3,"best_of":2)"), "invalid_value", "n is 3, more than best_of, 2", "n"},
      {With(R"("best_of":4,"num_beams":4)"), "invalid_value",
       "num_beams is 4 and best_of 4, which with beams can only be n, 1; give one of them",
       "num_beams"},
      {With(R"("n":5,"num_beams":4)"), "invalid_value", "n is 5, more than num_beams, 4", "n"},
      {With(R"("num_beams":4,"temperature":0.5)"), "invalid_value",
       "num_beams is 4 and temperature 0.5: beams are not sampled; give one of them", "num_beams"},
      {With(R"("num_beams":4,"stop":"x")"), "invalid_value",
       "num_beams is 4 and stop is given: beams end at stop_token_ids, not at strings; give one of "
       "them",
       "num_beams"},
      {With(R"("min_tokens":300)"), "invalid_value", "min_tokens is 300, more than max_tokens, 256",
       "min_tokens"},
  });
  Decoding(R"("num_beams":4,"n":4,"best_of":4)");
  Decoding(R"("num_beams":1,"temperature":1,"stop":"x","best_of":3)");
  Decoding(R"("n":3,"top_k":5)");
}

TEST(DecodingFieldsTest, WhatIsInheritedGivesWay) {
  RequestDefaults sampling;
  sampling.decoding.temperature = 1.0f;
  sampling.decoding.top_k = 64;
  sampling.decoding.stop = {"x"};
  sampling.decoding.best_of = 3;
  const DecodingOptions beams = Decoding(R"("num_beams":4)", sampling);
  EXPECT_EQ(beams.num_beams, 4);
  EXPECT_EQ(beams.temperature, 0.0f);
  EXPECT_THAT(beams.stop, IsEmpty());
  EXPECT_FALSE(beams.best_of.has_value());
  EXPECT_EQ(Decoding(R"("num_beams":1)", sampling).temperature, 1.0f);

  RequestDefaults searching;
  searching.decoding.num_beams = 4;
  for (const char* own : {R"("temperature":0.5)", R"("stop":"x")", R"("best_of":2)"}) {
    EXPECT_EQ(Decoding(own, searching).num_beams, 1) << own;
  }
  EXPECT_EQ(Decoding(R"("temperature":0)", searching).num_beams, 4);
  EXPECT_EQ(Decoding(R"("stop":[])", searching).num_beams, 4);

  RequestDefaults best;
  best.decoding.best_of = 2;
  EXPECT_FALSE(Decoding(R"("n":3)", best).best_of.has_value());
  EXPECT_EQ(Decoding(R"("n":2)", best).best_of, 2);
  // Numbers that do not fit are told, wherever they come from.
  RequestDefaults numbers;
  numbers.decoding.min_tokens = 5;
  numbers.decoding.num_beams = 2;
  ExpectRefusals({{With(R"("max_tokens":4)"), "invalid_value",
                   "min_tokens is 5, more than max_tokens, 4", "min_tokens"},
                  {With(R"("n":3)"), "invalid_value", "n is 3, more than num_beams, 2", "n"}},
                 {}, numbers);
}

TEST(DecodingFieldsTest, ScoreAndEmbedHaveTheirOwnFields) {
  const RequestOptions score = {.form = LineForm::kScore, .decoder_vocab_size = 100};
  const Request text = Accepted(R"({"id":1,"prompt":"x","target":"y","metadata":[1]})", score);
  EXPECT_EQ(text.prompts[0].text, "x");
  EXPECT_EQ(text.target, "y");
  EXPECT_TRUE(text.add_eos);
  EXPECT_EQ(text.metadata_json, "[1]");
  const Request ids =
      Accepted(R"({"prompt_token_ids":[2,3],"target_token_ids":[4,99],"add_eos":false})", score);
  EXPECT_THAT(ids.prompts[0].token_ids, ElementsAre(2, 3));
  EXPECT_THAT(*ids.target_token_ids, ElementsAre(4, 99));
  EXPECT_FALSE(ids.add_eos);
  ExpectRefusals(
      {
          {R"({"prompt":"x"})", "missing_field", "target or target_token_ids is missing", "target"},
          {R"({"target":"x"})", "missing_field", "prompt or prompt_token_ids is missing", "prompt"},
          {R"({"prompt":"x","target":"y","target_token_ids":[4]})", "invalid_value",
           "target and target_token_ids are both given; one of them is wanted", "target_token_ids"},
          {R"({"prompt":"x","target_token_ids":[100]})", "invalid_token",
           "target_token_ids[0] is 100; the vocabulary has ids from 0 to 99", "target_token_ids"},
          {R"({"prompt":"x","target":"y","temperature":1})", "unknown_field",
           "\"temperature\" is no field of score requests, but one of generate requests "
           "(--ignore-unknown-fields lets it pass)",
           "temperature"},
          {R"({"prompt":"x","target":"y","targt":1})", "unknown_field",
           "unknown field \"targt\"; the nearest known one is \"target\" "
           "(--ignore-unknown-fields lets it pass)",
           "targt"},
      },
      score);
  const RequestOptions embed = {.form = LineForm::kEmbed};
  EXPECT_EQ(Accepted(R"({"prompt":"x","id":3})", embed).id.key, "3");
  ExpectRefusals({{R"({"prompt":"x","target":"y"})", "unknown_field",
                   "\"target\" is no field of embed requests, but one of score requests "
                   "(--ignore-unknown-fields lets it pass)",
                   "target"},
                  {R"({"prompt":"x","max_tokens":3})", "unknown_field",
                   "\"max_tokens\" is no field of embed requests, but one of generate requests "
                   "(--ignore-unknown-fields lets it pass)",
                   "max_tokens"}},
                 embed);
}

}  // namespace
}  // namespace tandem
