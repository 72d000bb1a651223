#include "coordinator/prepare_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/coordinator/demo_tokenizer.h"
#include "tests/unit/coordinator/io/parse_helpers.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr int32_t kBos = 2;

PrepareOptions Options(LineForm form = LineForm::kGenerate) {
  PrepareOptions options;
  options.form = form;
  options.tokenizer = &DemoTokenizer();
  options.max_model_len = 32;
  options.max_decoder_len = 32;
  options.decoder_start_token_id = kBos;
  options.eos_token_ids = {kEos, 8};
  return options;
}

std::variant<PreparedRequest, RejectedLine> Prepare(absl::string_view line,
                                                    const PrepareOptions& options) {
  RequestOptions parse;
  parse.form = options.form;
  return PrepareRequest(Accepted(line, parse), options);
}

PreparedRequest Prepared(absl::string_view line, const PrepareOptions& options = Options()) {
  auto prepared = Prepare(line, options);
  if (auto* rejected = std::get_if<RejectedLine>(&prepared)) {
    ADD_FAILURE() << line << "\n" << rejected->error.message;
    PreparedRequest empty;
    empty.prompts.resize(1);
    return empty;
  }
  return std::get<PreparedRequest>(std::move(prepared));
}

RequestError Refused(absl::string_view line, const PrepareOptions& options = Options()) {
  auto prepared = Prepare(line, options);
  if (std::holds_alternative<PreparedRequest>(prepared)) {
    ADD_FAILURE() << "was accepted: " << line;
    return {};
  }
  return std::get<RejectedLine>(prepared).error;
}

std::vector<std::vector<int32_t>> WordsOf(const PreparedRequest& prepared) {
  std::vector<std::vector<int32_t>> words;
  for (const BadWord& word : prepared.prompts[0].sequence.choice.bad_words) {
    words.push_back(word.token_ids);
  }
  return words;
}

TEST(PrepareRequestTest, PromptAndDecoderPrompt) {
  const PreparedRequest text = Prepared(R"({"prompt":"two","decoder_prompt":"two thousand"})");
  EXPECT_THAT(text.prompts[0].encoder_ids, ElementsAre(kBos, 318));
  EXPECT_THAT(text.prompts[0].sequence.prompt, ElementsAre(kBos, 318, 313));
  EXPECT_EQ(text.prompt_tokens(), 2);
  EXPECT_THAT(text.request.prompts, IsEmpty());  // Tokens now: the text is let go.
  const PreparedRequest ids =
      Prepared(R"({"prompt_token_ids":[318],"decoder_prompt_token_ids":[2,313]})");
  EXPECT_THAT(ids.prompts[0].encoder_ids, ElementsAre(318));
  EXPECT_THAT(ids.prompts[0].sequence.prompt, ElementsAre(kBos, 313));
  EXPECT_THAT(Prepared(R"({"prompt":"two"})").prompts[0].sequence.prompt, ElementsAre(kBos));
}

TEST(PrepareRequestTest, OneSampleUnlessSomethingIsDrawn) {
  const auto samples = [](absl::string_view line) { return Prepared(line).prompts[0].num_samples; };
  EXPECT_EQ(samples(R"({"prompt":"two"})"), 1u);
  EXPECT_EQ(samples(R"({"prompt":"two","n":5})"), 1u);  // Greedy: all are equal.
  EXPECT_EQ(samples(R"({"prompt":"two","n":5,"temperature":1})"), 5u);
  EXPECT_EQ(samples(R"({"prompt":"two","n":2,"best_of":6,"temperature":1})"), 6u);
  EXPECT_EQ(samples(R"({"prompt":"two","n":3,"num_beams":4})"), 1u);
}

TEST(PrepareRequestTest, SeedAndSampleNumbersOverSeveralPrompts) {
  const PreparedRequest one = Prepared(R"({"prompt":"two","temperature":1,"n":3,"seed":11})");
  EXPECT_EQ(one.prompts[0].sequence.choice.seed, 11u);
  EXPECT_EQ(one.prompts[0].sequence.choice.sample, 0u);
  const PreparedRequest many =
      Prepared(R"({"custom_id":"a","method":"POST","url":"/v1/completions","body":{"model":"m",)"
               R"("prompt":["two","two","six"],"temperature":1,"n":4,"seed":11}})");
  ASSERT_EQ(many.prompts.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(many.prompts[i].num_samples, 4u);
    EXPECT_EQ(many.prompts[i].sequence.choice.seed, 11u);
    EXPECT_EQ(many.prompts[i].sequence.choice.sample, 4 * i);  // Equal prompts draw differently.
  }
  EXPECT_EQ(many.prompt_tokens(), 6);
  // Without one: of the job's seed and the id.
  EXPECT_EQ(Prepared(R"({"id":"x","prompt":"two"})").prompts[0].sequence.choice.seed,
            DerivedSeed(0, "x"));
}

TEST(PrepareRequestTest, BadWordsAreForbiddenBothWaysTheyAreWritten) {
  // "thousand" at the start of a text, and " thousand", one token, behind another word.
  const PreparedRequest both = Prepared(R"({"prompt":"two","bad_words":["thousand","two"]})");
  EXPECT_THAT(WordsOf(both),
              ElementsAre(DemoTokenizer().Encode("thousand"), std::vector<int32_t>{313},
                          std::vector<int32_t>{318}, std::vector<int32_t>{357}));
  // The word as it was written, and with a space more.
  EXPECT_THAT(WordsOf(Prepared(R"({"prompt":"two","bad_words":[" two"]})")),
              ElementsAre(std::vector<int32_t>{357}, DemoTokenizer().Encode("  two")));
  EXPECT_THAT(both.request.decoding.bad_words, IsEmpty());
}

TEST(PrepareRequestTest, StopTokensAreTheModelsAndTheRequests) {
  const auto stops = [](absl::string_view line) {
    return Prepared(line).prompts[0].sequence.stop_token_ids;
  };
  EXPECT_THAT(stops(R"({"prompt":"two"})"), ElementsAre(kEos, 8));
  EXPECT_THAT(stops(R"({"prompt":"two","stop_token_ids":[300,8,5]})"),
              ElementsAre(kEos, 5, 8, 300));
  EXPECT_THAT(stops(R"({"prompt":"two","stop_token_ids":[300],"ignore_eos":true})"),
              ElementsAre(300));
  EXPECT_THAT(stops(R"({"prompt":"two","ignore_eos":true})"), IsEmpty());
}

TEST(PrepareRequestTest, WhatIsAskedOfTheDecoder) {
  const SequenceSpec spec =
      Prepared(R"({"prompt":"two","temperature":0.5,"top_k":7,"top_p":0.75,"min_p":0.125,)"
               R"("repetition_penalty":1.5,"presence_penalty":0.25,"frequency_penalty":-0.5,)"
               R"("no_repeat_ngram_size":3,"logit_bias":{"9":1.5,"4":-2},"max_tokens":20,)"
               R"("min_tokens":2,"logprobs":4})")
          .prompts[0]
          .sequence;
  EXPECT_EQ(spec.choice.temperature, 0.5f);
  EXPECT_EQ(spec.choice.top_k, 7);
  EXPECT_EQ(spec.choice.top_p, 0.75f);
  EXPECT_EQ(spec.choice.min_p, 0.125f);
  EXPECT_EQ(spec.choice.repetition_penalty, 1.5f);
  EXPECT_EQ(spec.choice.presence_penalty, 0.25f);
  EXPECT_EQ(spec.choice.frequency_penalty, -0.5f);
  EXPECT_EQ(spec.choice.no_repeat_ngram_size, 3);
  ASSERT_EQ(spec.choice.logit_bias.size(), 2u);
  EXPECT_EQ(spec.choice.logit_bias[0].id, 4);
  EXPECT_EQ(spec.choice.logit_bias[0].bias, -2.0f);
  EXPECT_EQ(spec.max_tokens, 20);
  EXPECT_EQ(spec.min_tokens, 2);
  EXPECT_EQ(spec.num_logprobs, 4);
  EXPECT_EQ(spec.streams, 0);
  const SequenceSpec beams = Prepared(R"({"prompt":"two","num_beams":4,"n":2,"length_penalty":0.5,)"
                                      R"("early_stopping":"never"})")
                                 .prompts[0]
                                 .sequence;
  EXPECT_EQ(beams.beams.num_beams, 4);
  EXPECT_EQ(beams.beams.num_outputs, 2);
  EXPECT_EQ(beams.beams.length_penalty, 0.5f);
  EXPECT_EQ(beams.beams.early_stopping, EarlyStop::kNever);
}

TEST(PrepareRequestTest, LogprobsAndTokensOnlyWhereTheyAreNeeded) {
  const auto spec = [](absl::string_view line) { return Prepared(line).prompts[0].sequence; };
  EXPECT_EQ(spec(R"({"prompt":"two"})").num_logprobs, -1);
  EXPECT_EQ(spec(R"({"prompt":"two","n":2,"temperature":1})").num_logprobs, -1);
  // Which are best is told by their log-probabilities.
  EXPECT_EQ(spec(R"({"prompt":"two","best_of":2,"temperature":1})").num_logprobs, 0);
  EXPECT_EQ(spec(R"({"prompt":"two","stop":"x"})").streams, 1);
}

TEST(PrepareRequestTest, AnswersEndAtTheModelsLastPosition) {
  const auto spec = [](absl::string_view line) { return Prepared(line).prompts[0].sequence; };
  EXPECT_EQ(spec(R"({"prompt":"two","max_tokens":31})").max_tokens, 31);
  EXPECT_EQ(spec(R"({"prompt":"two","max_tokens":32})").max_tokens, 31);
  const SequenceSpec begun = spec(
      R"({"prompt":"two","decoder_prompt_token_ids":[2,3,4],"max_tokens":99,"min_tokens":50})");
  EXPECT_EQ(begun.max_tokens, 29);
  EXPECT_EQ(begun.min_tokens, 29);
}

std::string Ids(size_t count) {
  std::string ids = "[300";
  for (size_t i = 1; i < count; ++i) ids += ",300";
  return ids + "]";
}

TEST(PrepareRequestTest, TooLongOrEmpty) {
  PrepareOptions options = Options();
  const std::string longest = R"({"prompt_token_ids":)" + Ids(32) + "}";
  EXPECT_FALSE(Prepared(longest).truncated);
  const std::string too_long = R"({"prompt_token_ids":)" + Ids(33) + "}";
  EXPECT_EQ(Refused(too_long).message, PromptTooLongError("prompt_token_ids", 33, 32).message);
  options.truncate = true;
  const PreparedRequest cut = Prepared(too_long, options);
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(cut.prompts[0].encoder_ids.size(), 32u);
  // What the decoder is given is never cut, and needs room for a token of the answer.
  const std::string begun = R"({"prompt":"two","decoder_prompt_token_ids":)";
  EXPECT_EQ(Prepared(begun + Ids(30) + "}").prompts[0].sequence.max_tokens, 1);
  const RequestError error = Refused(begun + Ids(31) + "}", options);
  EXPECT_EQ(error.message, "decoder_prompt_token_ids has 32 tokens; the model's decoder takes 31");
  EXPECT_EQ(error.param, "decoder_prompt_token_ids");
  options = Options();
  options.add_bos = AddBos::kNever;
  EXPECT_EQ(Refused(R"({"prompt":""})", options).code, RequestErrorCode::kEmptyPrompt);
}

TEST(PrepareRequestTest, TextNeedsATokenizer) {
  PrepareOptions options = Options();
  options.tokenizer = nullptr;
  EXPECT_EQ(Refused(R"({"prompt":"two"})", options).param, "prompt");
  const std::string ids = R"({"prompt_token_ids":[300],)";
  EXPECT_EQ(Refused(ids + R"("decoder_prompt":"a"})", options).param, "decoder_prompt");
  EXPECT_EQ(Refused(ids + R"("stop":["a"]})", options).param, "stop");
  EXPECT_EQ(Refused(ids + R"("bad_words":["a"]})", options).param, "bad_words");
  EXPECT_EQ(Prepared(ids + R"("max_tokens":3})", options).prompts.size(), 1u);
}

TEST(PrepareRequestTest, SpecialTokensInTextCanBeRefused) {
  PrepareOptions options = Options();
  const std::string line = R"({"prompt":"two<eos>"})";
  EXPECT_THAT(Prepared(line, options).prompts[0].encoder_ids, ElementsAre(kBos, 318, kEos));
  options.no_special_in_prompt = true;
  EXPECT_EQ(Refused(line, options).code, RequestErrorCode::kSpecialTokenInPrompt);
  EXPECT_EQ(Refused(R"({"prompt":"two","decoder_prompt":"<bos>"})", options).param,
            "decoder_prompt");
}

TEST(PrepareRequestTest, TargetsHaveAnEosUnlessTheyShallNot) {
  const PrepareOptions options = Options(LineForm::kScore);
  const PreparedRequest text = Prepared(R"({"prompt":"six","target":"two thousand"})", options);
  EXPECT_THAT(text.prompts[0].sequence.target, ElementsAre(318, 313, kEos));
  EXPECT_EQ(text.prompts[0].sequence.num_logprobs, 0);
  EXPECT_EQ(text.prompts[0].num_samples, 1u);
  EXPECT_THAT(Prepared(R"({"prompt":"six","target":"two","add_eos":false})", options)
                  .prompts[0]
                  .sequence.target,
              ElementsAre(318));
  EXPECT_THAT(Prepared(R"({"prompt":"six","target_token_ids":[300,301]})", options)
                  .prompts[0]
                  .sequence.target,
              ElementsAre(300, 301, kEos));
  EXPECT_THAT(Prepared(R"({"prompt":"six","target":""})", options).prompts[0].sequence.target,
              ElementsAre(kEos));  // What the model gives an empty answer.
  const RequestError nothing = Refused(R"({"prompt":"six","target":"","add_eos":false})", options);
  EXPECT_EQ(nothing.code, RequestErrorCode::kEmptyPrompt);
  EXPECT_EQ(nothing.param, "target");
}

TEST(PrepareRequestTest, TargetsThatDoNotFit) {
  const PrepareOptions options = Options(LineForm::kScore);
  const std::string line = R"({"prompt":"six","target_token_ids":)";
  EXPECT_EQ(Prepared(line + Ids(30) + "}", options).prompts[0].sequence.target.size(), 31u);
  const RequestError error = Refused(line + Ids(31) + "}", options);
  EXPECT_EQ(error.code, RequestErrorCode::kPromptTooLong);
  EXPECT_EQ(error.param, "target_token_ids");
  EXPECT_EQ(error.message,
            "target_token_ids has 32 tokens; behind a decoder prompt of 1 the model's decoder "
            "takes 31");
}

TEST(PrepareRequestTest, KvMemoryCountsEveryBeam) {
  PrepareOptions options = Options();
  options.max_decoder_len = 1000;
  // A page of prompt; a start token and 63 tokens make two pages, for each beam.
  const std::string line = R"({"prompt":"two","max_tokens":63,"num_beams":)";
  options.kv_pages = 1 + 4 * 2;
  EXPECT_EQ(Prepared(line + "4}", options).prompts.size(), 1u);
  const RequestError error = Refused(line + "5}", options);
  EXPECT_EQ(error.code, RequestErrorCode::kKvMemory);
  EXPECT_EQ(error.message, KvMemoryError(11 * 32, 9 * 32).message);
  // Samples are sequences of their own, which can wait for each other.
  EXPECT_EQ(Prepared(R"({"prompt":"two","max_tokens":63,"temperature":1,"n":9})", options)
                .prompts[0]
                .num_samples,
            9u);
}

TEST(PrepareRequestTest, EmbedNeedsNoDecoder) {
  PrepareOptions options = Options(LineForm::kEmbed);
  options.kv_pages = 1;
  options.max_decoder_len = 0;
  const std::string line = R"({"prompt_token_ids":)" + Ids(32) + "}";
  EXPECT_EQ(Prepared(line, options).prompts[0].encoder_ids.size(), 32u);
}

TEST(PrepareRequestTest, OneTensorForEachId) {
  PrepareOptions options = Options(LineForm::kEmbed);
  const std::string two =
      R"({"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"m",)"
      R"("input":["two","six"]}})";
  EXPECT_EQ(Prepared(two, options).prompts.size(), 2u);
  EXPECT_EQ(Prepared(R"({"id":"__metadata__","prompt":"two"})", options).prompts.size(), 1u);
  options.one_tensor = true;
  const RequestError several = Refused(two, options);
  EXPECT_EQ(several.code, RequestErrorCode::kInvalidValue);
  EXPECT_EQ(several.param, "input");
  EXPECT_EQ(several.message,
            "input has 2 prompts; --pooling none writes one tensor for each id: give each prompt a "
            "line of its own");
  const RequestError reserved = Refused(R"({"id":"__metadata__","prompt":"two"})", options);
  EXPECT_EQ(reserved.code, RequestErrorCode::kInvalidValue);
  EXPECT_EQ(reserved.param, "id");
  EXPECT_EQ(reserved.message,
            "id is \"__metadata__\", a name that safetensors files keep for themselves; "
            "--pooling none needs another id");
}

}  // namespace
}  // namespace tandem
