#include "coordinator/cli/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/exit_code.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

TEST(ConfigFileTest, ValuesOfEveryTypeAreRead) {
  Options options(Verb::kGenerate);
  ASSERT_TRUE(ApplyConfigFile(R"(
# A comment.
model: /models/a b
max_tokens: 64
min-tokens: 2
load: read
ignore_eos: yes
load_weights: off
stop_token_ids: [3, 5]
prompt_token_ids: 7, 8
kv_cache_mb: auto
logprobs:
prompt: "null"
taps: true     # of another verb
)",
                              "job.yaml", &options)
                  .ok());
  EXPECT_EQ(options.Text("model"), "/models/a b");
  EXPECT_EQ(options.Integer("max-tokens"), 64);
  EXPECT_EQ(options.Integer("min-tokens"), 2);
  EXPECT_EQ(options.Text("load"), "read");
  EXPECT_TRUE(options.Flag("ignore-eos"));
  EXPECT_FALSE(options.Flag("load-weights"));
  EXPECT_THAT(options.TokenIds("stop-token-ids"), ElementsAre(3, 5));
  EXPECT_THAT(options.TokenIds("prompt-token-ids"), ElementsAre(7, 8));
  EXPECT_FALSE(options.Integer("kv-cache-mb").has_value());
  EXPECT_FALSE(options.Integer("logprobs").has_value());
  EXPECT_EQ(options.Text("prompt"), "null");
  EXPECT_EQ(options.OriginOf("max-tokens"), Origin::kConfigFile);
  EXPECT_EQ(options.OriginOf("logprobs"), Origin::kBuiltIn);
}

TEST(ConfigFileTest, EmptyFilesSayNothing) {
  Options options(Verb::kEnv);
  EXPECT_TRUE(ApplyConfigFile("", "job.yaml", &options).ok());
  EXPECT_TRUE(ApplyConfigFile("# nothing\n", "job.yaml", &options).ok());
}

TEST(ConfigFileTest, ExactMessages) {
  struct Case {
    std::string yaml, message;
  };
  const Case kCases[] = {
      {"\nmax_token: 3\n",
       "job.yaml:2: unknown setting \"max_token\"; the nearest known one is \"max_tokens\""},
      {"config: other.yaml",
       "job.yaml:1: \"config\" does not stand in a settings file: one names no other"},
      {"max_tokens: many",
       "job.yaml:1: max_tokens must be an integer from 1 to 2,147,483,647, not \"many\""},
      {"kv_cache_mb: 0",
       "job.yaml:1: kv_cache_mb must be auto or an integer from 1 to 16,777,216, not \"0\""},
      {"load: fast", "job.yaml:1: load must be auto, map, copy, read, not \"fast\""},
      {"ignore_eos: 2", "job.yaml:1: ignore_eos must be true or false, not \"2\""},
      {"stop_token_ids: [1, -2]",
       "job.yaml:1: stop_token_ids must be token ids with commas between them, not \"1,-2\""},
      {"stop_token_ids: [1, [2]]",
       "job.yaml:1: stop_token_ids must be a value or a list of values"},
      {"model: [a]", "job.yaml:1: model must be one value, not a list"},
      {"model: {a: b}", "job.yaml:1: model must be a value, not a map"},
      {"model: a\nmax_tokens: 3\nmax-tokens: 4", "job.yaml:3: max_tokens is there twice"},
      {"- a", "job.yaml must be a map of settings (max_tokens: 64)"},
      {"[a]: b", "job.yaml:1: unknown setting \"\"; the nearest known one is \"n\""},
  };
  for (const Case& c : kCases) {
    Options options(Verb::kGenerate);
    const absl::Status status = ApplyConfigFile(c.yaml, "job.yaml", &options);
    EXPECT_EQ(status.message(), c.message) << c.yaml;
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  }
}

TEST(ConfigFileTest, DamagedAndHugeFilesAreRefused) {
  for (const std::string yaml : {"a: [1", "a: b: c", "\"", "a: &x *x", "\t- x: [", "{{{{"}) {
    Options options(Verb::kGenerate);
    const absl::Status status = ApplyConfigFile(yaml, "job.yaml", &options);
    EXPECT_FALSE(status.ok()) << yaml;
    EXPECT_THAT(std::string(status.message()), StartsWith("job.yaml"));
  }
  Options options(Verb::kGenerate);
  EXPECT_FALSE(ApplyConfigFile(std::string(100'000, '['), "job.yaml", &options).ok());
  EXPECT_EQ(ApplyConfigFile(std::string(2 << 20, '#'), "job.yaml", &options).message(),
            "job.yaml has 2,097,152 bytes; a settings file has at most 1,048,576");
}

}  // namespace
}  // namespace tandem
