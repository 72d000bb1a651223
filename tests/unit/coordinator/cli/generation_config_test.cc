#include "coordinator/cli/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Options Given(const std::vector<std::pair<std::string, std::string>>& flags = {}) {
  Options options(Verb::kGenerate);
  for (const auto& [name, value] : flags) {
    EXPECT_TRUE(options.Set(FindOption(Verb::kGenerate, name), value, Origin::kFlag, name).ok());
  }
  return options;
}

GenerationConfigReport Apply(absl::string_view text, Options* options) {
  GenerationConfigReport report;
  const absl::Status status =
      ApplyGenerationConfig(text, "D/generation_config.json", options, &report);
  EXPECT_TRUE(status.ok()) << status;
  return report;
}

TEST(GenerationConfigTest, ItsKeysAreDefaults) {
  Options options = Given();
  const GenerationConfigReport report = Apply(
      R"({"do_sample": true, "temperature": 0.75, "top_k": 64, "top_p": 0.95, "min_p": 0.5,
          "num_return_sequences": 2, "length_penalty": 0.5, "early_stopping": "never",
          "repetition_penalty": 1.25, "no_repeat_ngram_size": 3, "max_new_tokens": 40,
          "min_new_tokens": 4, "max_length": 20, "stop_strings": ["a", "b"],
          "eos_token_id": [1, 106], "use_cache": true, "transformers_version": "5.23.0"})",
      &options);
  const DecodingOptions decoding = MakeRequestDefaults(options).decoding;
  EXPECT_EQ(decoding.temperature, 0.75f);
  EXPECT_EQ(decoding.top_k, 64);
  EXPECT_EQ(decoding.top_p, 0.95f);
  EXPECT_EQ(decoding.min_p, 0.5f);
  EXPECT_EQ(decoding.n, 2);
  EXPECT_EQ(decoding.length_penalty, 0.5f);
  EXPECT_EQ(decoding.early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(decoding.repetition_penalty, 1.25f);
  EXPECT_EQ(decoding.no_repeat_ngram_size, 3);
  EXPECT_EQ(decoding.max_tokens, 40);
  EXPECT_EQ(decoding.min_tokens, 4);
  EXPECT_THAT(decoding.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(MakeRequestDefaults(options).max_tokens_given);
  EXPECT_EQ(report.set,
            "temperature 0.75, top_k 64, top_p 0.95, min_p 0.5, n 2, length_penalty 0.5, "
            "early_stopping never, repetition_penalty 1.25, no_repeat_ngram_size 3, stop [\"a\", "
            "\"b\"], max_tokens 40, min_tokens 4");
  EXPECT_THAT(report.warnings, IsEmpty());
  EXPECT_THAT(options.PrintConfig(),
              HasSubstr("top_k: 64                               # generation_config.json\n"));
}

TEST(GenerationConfigTest, SamplingIsAsTransformersHasIt) {
  const auto temperature = [](absl::string_view text) {
    Options options = Given();
    Apply(text, &options);
    return MakeRequestDefaults(options).decoding.temperature;
  };
  EXPECT_EQ(temperature("{}"), 0.0f);
  EXPECT_EQ(temperature(R"({"do_sample":true})"), 1.0f);
  EXPECT_EQ(temperature(R"({"do_sample":true,"temperature":null})"), 1.0f);
  EXPECT_EQ(temperature(R"({"do_sample":true,"temperature":0.5})"), 0.5f);
  EXPECT_EQ(temperature(R"({"do_sample":false,"temperature":0.5})"), 0.0f);
  EXPECT_EQ(temperature(R"({"temperature":0.5})"), 0.0f) << "greedy without do_sample";
  Options options = Given();
  Apply(R"({"do_sample":false})", &options);
  EXPECT_TRUE(MakeRequestDefaults(options).temperature_given) << "OpenAI's 1 does not apply";
}

TEST(GenerationConfigTest, LengthsCountTheStartToken) {
  Options options = Given();
  Apply(R"({"max_length": 20, "min_length": 5})", &options);
  EXPECT_EQ(MakeRequestDefaults(options).decoding.max_tokens, 19);
  EXPECT_EQ(MakeRequestDefaults(options).decoding.min_tokens, 4);
  Options none = Given();
  Apply(R"({"min_length": 0})", &none);
  EXPECT_EQ(MakeRequestDefaults(none).decoding.min_tokens, 0);
}

TEST(GenerationConfigTest, WhatAUserSaidIsStronger) {
  Options options = Given({{"top-k", "5"}, {"num-beams", "4"}});
  const GenerationConfigReport report =
      Apply(R"({"do_sample":true,"top_k":64,"top_p":0.9,"stop_strings":"x"})", &options);
  const DecodingOptions decoding = MakeRequestDefaults(options).decoding;
  EXPECT_EQ(decoding.top_k, 5);
  EXPECT_EQ(decoding.num_beams, 4);
  EXPECT_EQ(decoding.temperature, 0.0f) << "inherited sampling gives way to beams";
  EXPECT_THAT(decoding.stop, IsEmpty());
  EXPECT_EQ(report.set, "top_p 0.9");
  Options sampling = Given({{"temperature", "0.5"}});
  Apply(R"({"num_beams":4})", &sampling);
  EXPECT_EQ(MakeRequestDefaults(sampling).decoding.num_beams, 1);
}

TEST(GenerationConfigTest, WhatIsNotOfferedIsWarnedOf) {
  Options options = Given();
  EXPECT_THAT(
      Apply(R"({"typical_p":0.9,"suppress_tokens":[3],"encoder_repetition_penalty":1.0,
                "num_beam_groups":1,"forced_eos_token_id":null,"bad_words_ids":[],
                "epsilon_cutoff":0.0,"guidance_scale":2})",
            &options)
          .warnings,
      ElementsAre("D/generation_config.json: guidance_scale is 2, which is not offered and has no "
                  "effect",
                  "D/generation_config.json: suppress_tokens is [3], which is not offered and has "
                  "no effect",
                  "D/generation_config.json: typical_p is 0.9, which is not offered and has no "
                  "effect"));
  const GenerationConfigReport both = Apply(R"({"do_sample":true,"num_beams":4})", &options);
  EXPECT_THAT(both.warnings,
              ElementsAre("D/generation_config.json asks for beams that are sampled, which are not "
                          "offered: the beams are searched without sampling"));
  EXPECT_EQ(both.set, "num_beams 4");
}

TEST(GenerationConfigTest, ExactMessages) {
  struct Case {
    std::string text, message;
  };
  const std::string d = "D/generation_config.json";
  const Case kCases[] = {
      {"[]", d + " must be a JSON object"},
      {R"({"top_k":-1})", d + ": top_k must be an integer from 0 to 2,147,483,647, not \"-1\""},
      {R"({"top_k":1.5})", d + ": top_k must be an integer from 0 to 2,147,483,647, not \"1.5\""},
      {R"({"top_k":[1]})", d + ": top_k must be an integer from 0 to 2,147,483,647, not \"[1]\""},
      {R"({"top_p":0})", d + ": top_p must be a number above 0, up to 1, not \"0\""},
      {R"({"do_sample":1})", d + ": do_sample must be true or false, not \"1\""},
      {R"({"do_sample":true,"temperature":-1})",
       d + ": temperature must be 0 or a number from 0.001 to 100, not \"-1\""},
      {R"({"temperature":"hot"})",
       d + ": temperature must be 0 or a number from 0.001 to 100, not \"hot\""},
      {R"({"early_stopping":"maybe"})",
       d + ": early_stopping must be false, true, never, not \"maybe\""},
      {R"({"max_length":1})",
       d + ": max_length must be an integer from 2 to 2,147,483,647, not \"1\""},
      {R"({"max_length":99999999999999999999})",
       d + ": max_length must be an integer from 2 to 2,147,483,647, not \"1e+20\""},
      {R"({"min_length":-3})",
       d + ": min_length must be an integer from 0 to 2,147,483,647, not \"-3\""},
      {R"({"num_return_sequences":300})",
       d + ": num_return_sequences must be an integer from 1 to 256, not \"300\""},
      {R"({"num_return_sequences":3,"num_beams":2})",
       "generation_config.json: n is 3, more than num_beams, 2"},
  };
  for (const Case& c : kCases) {
    Options options = Given();
    GenerationConfigReport report;
    const absl::Status status = ApplyGenerationConfig(c.text, d, &options, &report);
    EXPECT_EQ(status.message(), c.message) << c.text;
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kModel);
  }
  Options options = Given();
  GenerationConfigReport report;
  for (const std::string& text : {std::string("{\"a\":"), std::string(100000, '['),
                                  std::string("{\"top_p\":1e400}"), std::string(2 << 20, ' ')}) {
    const absl::Status status = ApplyGenerationConfig(text, d, &options, &report);
    EXPECT_FALSE(status.ok()) << text.substr(0, 20);
    EXPECT_THAT(std::string(status.message()), ::testing::StartsWith(d));
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kModel);
  }
}

TEST(GenerationConfigTest, NestingIsBounded) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  Options options = Given();
  EXPECT_EQ(Apply(absl::StrCat(R"({"x":)", deep, R"(,"top_k":3})"), &options).set, "top_k 3");
  GenerationConfigReport report;
  EXPECT_FALSE(
      ApplyGenerationConfig(absl::StrCat(R"({"top_k":)", deep, "}"), "f", &options, &report).ok());
}

TEST(GenerationConfigTest, TheFileBelongsToTheModel) {
  CommandLineSources sources;
  sources.read_file = [](const std::string& path) -> absl::StatusOr<std::string> {
    if (path == "D/generation_config.json") return std::string(R"({"top_k":7})");
    if (path == "E/generation_config.json") return absl::PermissionDeniedError("no");
    return absl::NotFoundError("none");
  };
  const auto top_k = [&](const std::string& model) {
    Options options = Given({{"model", model}});
    GenerationConfigReport report;
    EXPECT_TRUE(ApplyModelsGenerationConfig(sources, &options, &report).ok());
    return options.Integer("top-k");
  };
  EXPECT_EQ(top_k("D"), 7);
  EXPECT_EQ(top_k("D/"), 7);
  EXPECT_EQ(top_k("D/config.json"), 7);
  EXPECT_EQ(top_k("t5gemma2_270m_270m"), 0);
  Options options = Given({{"model", "E"}});
  GenerationConfigReport report;
  EXPECT_EQ(ApplyModelsGenerationConfig(sources, &options, &report).message(),
            "E/generation_config.json: no");
  const auto printed = ParseCommandLine({"generate", "--model", "D", "--print-config"}, sources);
  EXPECT_THAT(printed->text,
              HasSubstr("top_k: 7                                # generation_config.json\n"));
}

}  // namespace
}  // namespace tandem
