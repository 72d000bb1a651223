#include "coordinator/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "coordinator/cli/help.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Args = std::vector<std::string>;

CommandLineSources Sources(std::vector<std::string> environment = {}, std::string yaml = "") {
  CommandLineSources sources;
  sources.environment = std::move(environment);
  sources.read_file = [yaml](const std::string& path) -> absl::StatusOr<std::string> {
    if (path == "job.yaml") return yaml;
    return absl::NotFoundError("cannot open it: No such file or directory");
  };
  return sources;
}

CommandLine Parsed(const Args& args, const CommandLineSources& sources = Sources()) {
  auto line = ParseCommandLine(args, sources);
  EXPECT_TRUE(line.ok()) << line.status();
  return line.ok() ? *std::move(line) : CommandLine();
}

Args Generate(const Args& more) {
  Args args = {"generate", "--model", "m", "--input", "i", "--output", "o"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

TEST(CommandLineTest, FlagsOfEveryType) {
  const CommandLine line = Parsed(Generate({"--max-num-seqs=3", "--max_batch_tokens", "100",
                                            "--unordered", "--load-weights=false", "--isa", "avx2",
                                            "--stop-token-ids", "4, 5", "--kv-cache-mb", "auto"}));
  const Options& options = line.options;
  EXPECT_EQ(line.action, CommandLine::Action::kRun);
  EXPECT_EQ(options.verb(), Verb::kGenerate);
  EXPECT_EQ(options.Text("model"), "m");
  EXPECT_EQ(options.Integer("max-num-seqs"), 3);
  EXPECT_EQ(options.Integer("max_batch_tokens"), 100);
  EXPECT_TRUE(options.Flag("unordered"));
  EXPECT_FALSE(options.Flag("load-weights"));
  EXPECT_EQ(options.Text("isa"), "avx2");
  EXPECT_THAT(options.TokenIds("stop-token-ids"), ElementsAre(4, 5));
  EXPECT_FALSE(options.Integer("kv-cache-mb").has_value());
  EXPECT_EQ(options.OriginOf("unordered"), Origin::kFlag);
  EXPECT_EQ(options.OriginOf("threads"), Origin::kBuiltIn);
  EXPECT_EQ(options.Integer("max-tokens"), 256);
  EXPECT_FALSE(options.Flag("truncate"));
}

TEST(CommandLineTest, TheNearerWordIsTheStronger) {
  const std::string yaml = "max_tokens: 1\nmin_tokens: 0\nlogprobs: 1\nthreads: 1\n";
  const CommandLine line = Parsed(Generate({"--max-tokens", "30", "--config", "job.yaml"}),
                                  Sources({"TANDEM_MAX_TOKENS=20", "TANDEM_LOGPROBS=2",
                                           "TANDEM_QUIET=1", "OTHER=x", "TANDEM_LOAD="},
                                          yaml));
  EXPECT_EQ(line.options.Integer("max-tokens"), 30);
  EXPECT_EQ(line.options.OriginOf("max-tokens"), Origin::kFlag);
  EXPECT_EQ(line.options.Integer("logprobs"), 2);
  EXPECT_EQ(line.options.OriginOf("logprobs"), Origin::kEnvironment);
  EXPECT_EQ(line.options.Integer("threads"), 1);
  EXPECT_EQ(line.options.OriginOf("threads"), Origin::kConfigFile);
  EXPECT_TRUE(line.options.Flag("quiet"));
  EXPECT_EQ(line.options.OriginOf("load"), Origin::kBuiltIn) << "an empty variable says nothing";
  EXPECT_THAT(line.warnings, IsEmpty());

  Options options = line.options;
  ASSERT_TRUE(options.SetModelDefault("max-tokens", "99", "f: max_new_tokens").ok());
  ASSERT_TRUE(options.SetModelDefault("ignore-eos", "true", "f: x").ok());
  EXPECT_EQ(options.Integer("max-tokens"), 30) << "what a user said is stronger";
  EXPECT_TRUE(options.Flag("ignore-eos"));
  EXPECT_EQ(options.OriginOf("ignore-eos"), Origin::kModel);
  const absl::Status refused = options.SetModelDefault("max-tokens", "-1", "f: max_new_tokens");
  EXPECT_EQ(refused.message(),
            "f: max_new_tokens must be an integer from 1 to 2,147,483,647, not \"-1\"");
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kModel);
}

TEST(CommandLineTest, TheConfigFileMayComeFromTheEnvironment) {
  const CommandLine line =
      Parsed({"generate"}, Sources({"TANDEM_CONFIG=job.yaml"}, "model: m\nprompt: hello\n"));
  EXPECT_EQ(line.options.Text("prompt"), "hello");
  EXPECT_EQ(line.options.Text("output"), "-");
}

TEST(CommandLineTest, AMistypedVariableIsAWarning) {
  const CommandLine line = Parsed({"env"}, Sources({"TANDEM_LOG_LEVL=debug"}));
  EXPECT_THAT(line.warnings,
              ElementsAre("the environment variable TANDEM_LOG_LEVL is no setting; the nearest "
                          "known one is TANDEM_LOG_LEVEL"));
}

// What --print-config prints is a file that --config takes, with the same values.
TEST(CommandLineTest, PrintConfigReadsBack) {
  const Args given = {"generate",
                      "--model",
                      "a \"b\": #c",
                      "--prompt",
                      "",
                      "--stop-token-ids",
                      "3,4",
                      "--load-weights=no",
                      "--logprobs",
                      "2",
                      "--decoder-prompt",
                      "null",
                      "--stop",
                      "a: \"#",
                      "--logit-bias",
                      "7=1",
                      "--print-config"};
  const CommandLine first = Parsed(given, Sources({"TANDEM_MAX_TOKENS=20"}));
  EXPECT_EQ(first.action, CommandLine::Action::kPrint);
  EXPECT_THAT(first.text, HasSubstr("max_tokens: 20                          # environment\n"));
  EXPECT_THAT(first.text, HasSubstr("load_weights: false                     # flag\n"));
  EXPECT_THAT(first.text, HasSubstr("kv_cache_mb: auto                       # built-in\n"));
  EXPECT_THAT(first.text, HasSubstr("stop_token_ids: [3,4]                   # flag\n"));
  EXPECT_THAT(first.text, HasSubstr("input:                                  # built-in\n"));
  EXPECT_THAT(first.text, HasSubstr("output: \"-\"                             # built-in\n"));
  const CommandLine second = Parsed({"generate", "--config", "job.yaml"}, Sources({}, first.text));
  for (const RunSetting& setting : second.options.Settings()) {
    bool found = false;
    for (const RunSetting& before : first.options.Settings()) {
      if (before.name != setting.name) continue;
      found = true;
      EXPECT_EQ(before.value, setting.value) << setting.name;
    }
    EXPECT_TRUE(found) << setting.name;
  }
  EXPECT_EQ(second.options.Text("model"), "a \"b\": #c");
  EXPECT_EQ(second.options.Text("decoder-prompt"), "null");
  EXPECT_THAT(second.options.Texts("stop"), ElementsAre("a: \"#"));
}

TEST(CommandLineTest, HelpAndVersion) {
  for (const Args& args : {Args{"--version"}, Args{"version"}, Args{"generate", "--version"}}) {
    EXPECT_EQ(Parsed(args).action, CommandLine::Action::kVersion);
  }
  EXPECT_EQ(Parsed({"--man-page"}).action, CommandLine::Action::kPrint);
  EXPECT_EQ(Parsed({"--bash-completion"}).text, BashCompletion());
  for (const Args& args : {Args{"--help"}, Args{"-h"}, Args{"help"}}) {
    EXPECT_EQ(Parsed(args).action, CommandLine::Action::kPrint);
    EXPECT_EQ(Parsed(args).text, ProgramHelp());
  }
  for (const Args& args : {Args{"init", "--help"}, Args{"init", "--seed", "x", "-h"},
                           Args{"help", "init"}, Args{"--help", "init"}}) {
    EXPECT_EQ(Parsed(args).text, VerbHelp(Verb::kInit));
  }
}

TEST(CommandLineTest, OtherVerbs) {
  EXPECT_EQ(Parsed({"inspect", "DIR"}).options.Text("model"), "DIR");
  EXPECT_EQ(Parsed({"inspect", "--model", "DIR", "--format", "json"}).options.Text("format"),
            "json");
  EXPECT_EQ(Parsed({"init", "--model", "270m-270m", "--output", "o", "--seed", "9"})
                .options.Integer("seed"),
            9);
  EXPECT_TRUE(Parsed({"tokenize", "--tokenizer", "t", "--decode"}).options.Flag("decode"));
  EXPECT_TRUE(Parsed({"forward", "--model", "m", "--input", "i", "--output", "o", "--taps"})
                  .options.Flag("taps"));
  EXPECT_EQ(Parsed({"env"}).options.verb(), Verb::kEnv);
  EXPECT_TRUE(Parsed({"generate", "--model", "m", "--print-layout"}).options.Flag("print-layout"));
  EXPECT_TRUE(
      Parsed({"generate", "--model", "m", "--input", "i", "--dry-run"}).options.Flag("dry-run"));
}

TEST(CommandLineTest, AFlagBeatsAVariableOfAnotherName) {
  const CommandLine line =
      Parsed({"generate", "--model", "m", "--prompt", "x", "--encoder-tp", "2"},
             Sources({"TANDEM_INPUT=i", "TANDEM_LAYOUT=l"}));
  EXPECT_EQ(line.options.Text("input"), "");
  EXPECT_EQ(line.options.Text("layout"), "");
  EXPECT_EQ(line.options.Text("output"), "-");
}

// What follows from other settings is shown as it will be; a lacking one is no error yet.
TEST(CommandLineTest, PrintConfigShowsWhatHolds) {
  const CommandLine line = Parsed({"generate", "--prompt", "x", "--encoder-tp=2", "--print-config"},
                                  Sources({"TANDEM_INPUT=i", "TANDEM_LAYOUT=l"}));
  EXPECT_THAT(line.text, HasSubstr("\ninput:         "));
  EXPECT_THAT(line.text, HasSubstr("\nlayout:         "));
  EXPECT_THAT(line.text, HasSubstr("\nlog_level: warn                         # built-in\n"));
  const auto conflict =
      ParseCommandLine({"generate", "--prompt", "x", "--input", "i", "--print-config"}, Sources());
  EXPECT_EQ(conflict.status().message(),
            "--input and --prompt are both given; one of them is wanted");
}

TEST(CommandLineTest, OnePromptIsAnsweredQuietly) {
  const Args question = {"generate", "--model", "m", "--prompt", "x"};
  EXPECT_EQ(MakeLogOptions(Parsed(question).options).level, LogLevel::kWarn);
  EXPECT_EQ(MakeLogOptions(Parsed(Generate({})).options).level, LogLevel::kInfo);
  const auto level = [&](const CommandLineSources& sources, const Args& more) {
    Args args = question;
    args.insert(args.end(), more.begin(), more.end());
    return MakeLogOptions(Parsed(args, sources).options).level;
  };
  EXPECT_EQ(level(Sources({"TANDEM_LOG_LEVEL=info"}), {}), LogLevel::kInfo);
  EXPECT_EQ(level(Sources({}, "log_level: debug"), {"--config", "job.yaml"}), LogLevel::kDebug);
}

TEST(CommandLineTest, SettingsAsJson) {
  const Options options = Parsed(Generate({"--max-tokens", "007", "--stop-token-ids", "3, 4",
                                           "--decoder-prompt", "", "--load", "read", "--unordered",
                                           "--temperature", "0.5", "--stop", "a", "--stop", "7"}))
                              .options;
  const auto json = [&](absl::string_view name) -> std::string {
    for (const RunSetting& setting : options.Settings()) {
      if (setting.name == name) return setting.json;
    }
    return "missing";
  };
  EXPECT_EQ(json("max_tokens"), "7");
  EXPECT_EQ(json("stop_token_ids"), "[3, 4]");
  EXPECT_EQ(json("decoder_prompt"), "\"\"");
  EXPECT_EQ(json("load"), "\"read\"");
  EXPECT_EQ(json("unordered"), "true");
  EXPECT_EQ(json("temperature"), "0.5");
  EXPECT_EQ(json("stop"), R"(["a", "7"])");
  EXPECT_EQ(json("logit_bias"), "null");
  EXPECT_EQ(json("threads"), "\"auto\"");
  EXPECT_EQ(json("layout"), "null");
}

TEST(CommandLineTest, WhatTheRestOfTheProgramGets) {
  const Options options = Parsed(Generate({"--encoder-tp",
                                           "2",
                                           "--decoder-groups",
                                           "3",
                                           "--replicas",
                                           "2",
                                           "--colocate",
                                           "--coordinator",
                                           "own",
                                           "--max-tokens",
                                           "9",
                                           "--logprobs",
                                           "0",
                                           "--stop-token-ids",
                                           "7",
                                           "--decoder-prompt",
                                           "",
                                           "--log-level",
                                           "debug",
                                           "--log-format",
                                           "json",
                                           "--quiet"}))
                              .options;
  const LayoutFlags layout = MakeLayoutFlags(options);
  EXPECT_FALSE(layout.tp[static_cast<int>(StageKind::kVision)].has_value());
  EXPECT_EQ(layout.tp[static_cast<int>(StageKind::kEncoder)], 2);
  EXPECT_FALSE(layout.tp[static_cast<int>(StageKind::kDecoder)].has_value());
  EXPECT_EQ(layout.groups[static_cast<int>(StageKind::kDecoder)], 3);
  EXPECT_EQ(layout.replicas, 2);
  EXPECT_TRUE(layout.colocate);
  EXPECT_EQ(layout.own_coordinator, true);
  const RequestDefaults defaults = MakeRequestDefaults(options);
  EXPECT_EQ(defaults.decoding.max_tokens, 9);
  EXPECT_EQ(defaults.decoding.logprobs, 0);
  EXPECT_THAT(defaults.decoding.stop_token_ids, ElementsAre(7));
  EXPECT_TRUE(defaults.max_tokens_given);
  EXPECT_FALSE(defaults.temperature_given);
  EXPECT_EQ(defaults.decoder_prompt, "");
  const LogOptions log = MakeLogOptions(options);
  EXPECT_EQ(log.level, LogLevel::kDebug);
  EXPECT_EQ(log.format, LogFormat::kJson);
  EXPECT_TRUE(log.quiet);
  EXPECT_FALSE(RequestLineOf(options).has_value());

  const Options plain = Parsed(Generate({})).options;
  EXPECT_FALSE(MakeLayoutFlags(plain).own_coordinator.has_value());
  EXPECT_FALSE(MakeRequestDefaults(plain).decoding.logprobs.has_value());
  EXPECT_FALSE(MakeRequestDefaults(plain).decoder_prompt.has_value());

  EXPECT_EQ(RequestLineOf(Parsed({"generate", "--model", "m", "--prompt", "a\"b"}).options),
            R"({"prompt":"a\"b"})");
  EXPECT_EQ(
      RequestLineOf(Parsed({"generate", "--model", "m", "--prompt-token-ids", "2,3"}).options),
      R"({"prompt_token_ids":[2,3]})");
}

TEST(CommandLineTest, ExactMessages) {
  struct Case {
    Args args;
    std::string message;
  };
  const std::string verbs =
      "this version has generate, score, embed, forward, tokenize, inspect, init, env";
  const Case kCases[] = {
      {{}, absl::StrCat("a verb is missing; ", verbs, " (tandem --help)")},
      {{"convert"}, absl::StrCat("unknown verb \"convert\"; ", verbs)},
      {{"help", "bench"}, absl::StrCat("unknown verb \"bench\"; ", verbs)},
      {{"--model", "m"}, absl::StrCat("a verb must come before \"--model\"; ", verbs)},
      {Generate({"--max-token", "3"}),
       "unknown flag --max-token of generate; the nearest known one is --max-tokens"},
      {Generate({"--speculate=ngram"}),
       "unknown flag --speculate of generate; the nearest known one is --overwrite"},
      {Generate({"--taps"}), "unknown flag --taps of generate; it is one of forward"},
      {{"env", "--seed=3"}, "unknown flag --seed of env; it is one of generate, init"},
      {{"env", "-x"}, "unknown flag -x of env; the nearest known one is --quiet"},
      {{"env", "extra"}, "unexpected argument \"extra\" (tandem env --help)"},
      {{"generate", "--model", "m", "roman: 9"},
       "unexpected argument \"roman: 9\"; flags say what it is: --model DIR, --prompt TEXT, "
       "--input "
       "FILE (tandem generate --help)"},
      {{"inspect", "a", "b"}, "unexpected argument \"b\" (tandem inspect --help)"},
      {{"inspect", "a", "--model", "b"}, "unexpected argument \"a\" (tandem inspect --help)"},
      {Generate({"--max-tokens", "0"}),
       "--max-tokens must be an integer from 1 to 2,147,483,647, not \"0\""},
      {Generate({"--max-tokens", "9999999999999999999999"}),
       "--max-tokens must be an integer from 1 to 2,147,483,647, not \"9999999999999999999999\""},
      {Generate({"--max-tokens", "off"}),
       "--max-tokens must be an integer from 1 to 2,147,483,647, not \"off\""},
      {Generate({"--logprobs", "-1"}),
       "--logprobs must be off or an integer from 0 to 1,024, not \"-1\""},
      {Generate({"--isa", "sse"}),
       "--isa must be auto, portable, avx2, avx512, avx512_bf16, not \"sse\""},
      {Generate({"--unordered=maybe"}), "--unordered must be true or false, not \"maybe\""},
      {Generate({"--stop-token-ids", "1,,2"}),
       "--stop-token-ids must be token ids with commas between them, not \"1,,2\""},
      {Generate({"--config", "none.yaml"}),
       "--config none.yaml: cannot open it: No such file or directory"},
      {Generate({"--min-tokens", "300"}), "--min-tokens is 300, more than --max-tokens, 256"},
      {Generate({"--temperature", "0.0001"}),
       "--temperature must be 0 or a number from 0.001 to 100, not \"0.0001\""},
      {Generate({"--temperature", "1e400"}),
       "--temperature must be 0 or a number from 0.001 to 100, not \"1e400\""},
      {Generate({"--top-p", "nan"}), "--top-p must be a number above 0, up to 1, not \"nan\""},
      {Generate({"--best-of", "m"}), "--best-of must be n or an integer from 1 to 256, not \"m\""},
      {Generate({"--stop", "a", "--stop", ""}),
       "--stop must be a string or an array of up to 64 strings of 1 to 1,024 bytes, not "
       "\"[\\\"a\\\", \\\"\\\"]\""},
      {Generate({"--logit-bias", "7"}),
       "--logit-bias must be token ids and numbers from -100 to 100, each id once, as "
       "7=-100,88=1.5, "
       "not \"7\""},
      {Generate({"--logit-bias", "7=1,7=2"}),
       "--logit-bias must be token ids and numbers from -100 to 100, each id once, as "
       "7=-100,88=1.5, "
       "not \"7=1,7=2\""},
      {Generate({"--num-beams", "4", "--temperature", "1"}),
       "defaults of the requests: num_beams is 4 and temperature 1: beams are not sampled; give "
       "one of them"},
      {Generate({"--n", "3", "--best-of", "2"}),
       "defaults of the requests: n is 3, more than best_of, 2"},
      {Generate({"--prompt", "x"}), "--input and --prompt are both given; one of them is wanted"},
      {Generate({"--decoder-prompt", "x", "--decoder-prompt-token-ids", "2"}),
       "--decoder-prompt and --decoder-prompt-token-ids are both given; one of them is wanted"},
      {Generate({"--layout", "l", "--replicas", "2"}),
       "--layout and --replicas are both given; one of them is wanted"},
      {{"generate"}, "--model is missing: give the checkpoint's folder"},
      {{"generate", "--model", "m"},
       "--input is missing: give a file of requests, - for standard input, or --prompt TEXT"},
      {{"generate", "--model", "m", "--input", "i"},
       "--output is missing: give a file for the results, or - for standard output"},
      {{"generate", "--model", "m", "--prompt", "a\xff"}, "--prompt: byte 2 is not UTF-8"},
      {{"forward", "--model", "m"}, "--input is missing: give a safetensors file"},
      {{"forward", "--model", "m", "--input", "i"},
       "--output is missing: give the safetensors file to write"},
      {{"tokenize"}, "--model is missing: give the checkpoint's folder, or --tokenizer FILE"},
      {{"tokenize", "--model", "m", "--tokenizer", "t"},
       "--model and --tokenizer are both given; one of them is wanted"},
      {{"inspect"}, "--model is missing: give the checkpoint's folder: tandem inspect DIR"},
      {{"init", "--model", "m"}, "--output is missing: give the folder to write"},
  };
  for (const Case& c : kCases) {
    const auto line = ParseCommandLine(c.args, Sources());
    ASSERT_FALSE(line.ok()) << c.message;
    EXPECT_EQ(std::string(line.status().message()), c.message);
    EXPECT_EQ(ExitCodeOf(line.status()), ExitCode::kUsage);
  }
  const auto variable = ParseCommandLine({"env"}, Sources({"TANDEM_LOG_LEVEL=loud"}));
  EXPECT_EQ(variable.status().message(),
            "TANDEM_LOG_LEVEL must be error, warn, info, debug, trace, not \"loud\"");
  EXPECT_EQ(ExitCodeOf(variable.status()), ExitCode::kUsage);
}

TEST(CommandLineTest, EveryDecodingFieldIsAFlag) {
  const Options options = Parsed(Generate({"--temperature",
                                           "0.5",
                                           "--top-k",
                                           "4",
                                           "--top-p=0.9",
                                           "--min-p",
                                           "0.1",
                                           "--seed",
                                           "-1",
                                           "--n",
                                           "2",
                                           "--best-of",
                                           "3",
                                           "--length-penalty",
                                           "2",
                                           "--early-stopping",
                                           "never",
                                           "--repetition-penalty",
                                           "1.5",
                                           "--presence-penalty",
                                           "-1",
                                           "--frequency-penalty",
                                           "0.25",
                                           "--no-repeat-ngram-size",
                                           "3",
                                           "--bad-words",
                                           "a, b",
                                           "--logit-bias",
                                           "9=1.5,7=-100",
                                           "--stop",
                                           "x",
                                           "--stop",
                                           "y\"",
                                           "--include-stop-str-in-output",
                                           "--skip-special-tokens=false"}))
                              .options;
  const RequestDefaults defaults = MakeRequestDefaults(options);
  const DecodingOptions& d = defaults.decoding;
  EXPECT_EQ(d.temperature, 0.5f);
  EXPECT_EQ(d.top_k, 4);
  EXPECT_EQ(d.top_p, 0.9f);
  EXPECT_EQ(d.min_p, 0.1f);
  EXPECT_EQ(defaults.job_seed, ~uint64_t{0});
  EXPECT_FALSE(d.seed.has_value());
  EXPECT_EQ(d.n, 2);
  EXPECT_EQ(d.best_of, 3);
  EXPECT_EQ(d.length_penalty, 2.0f);
  EXPECT_EQ(d.early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(d.repetition_penalty, 1.5f);
  EXPECT_EQ(d.presence_penalty, -1.0f);
  EXPECT_EQ(d.frequency_penalty, 0.25f);
  EXPECT_EQ(d.no_repeat_ngram_size, 3);
  EXPECT_THAT(d.bad_words, ElementsAre("a, b"));
  EXPECT_THAT(d.logit_bias, ElementsAre(std::pair(7, -100.0f), std::pair(9, 1.5f)));
  EXPECT_THAT(d.stop, ElementsAre("x", "y\""));
  EXPECT_TRUE(d.include_stop_str_in_output);
  EXPECT_FALSE(d.skip_special_tokens);
  EXPECT_TRUE(defaults.temperature_given);

  EXPECT_EQ(Parsed(Generate({"--n=4"})).options.Integer("n"), 4);
  EXPECT_EQ(Parsed(Generate({"-n", "4"})).options.Integer("n"), 4);
  EXPECT_FALSE(ParseCommandLine(Generate({"--n="}), Sources()).ok());

  const DecodingOptions plain = MakeRequestDefaults(Parsed(Generate({})).options).decoding;
  EXPECT_EQ(plain.temperature, 0.0f);
  EXPECT_EQ(plain.top_p, 1.0f);
  EXPECT_FALSE(plain.best_of.has_value());
  EXPECT_EQ(plain.repetition_penalty, 1.0f);
  EXPECT_THAT(plain.stop, IsEmpty());
  EXPECT_TRUE(plain.skip_special_tokens);
}

TEST(CommandLineTest, TokenIdsOfTheDefaultsLieInTheVocabulary) {
  const auto checked = [](const Args& flags) {
    return std::string(
        CheckVocabulary(MakeRequestDefaults(Parsed(Generate(flags)).options), 512).message());
  };
  EXPECT_EQ(checked({"--stop-token-ids", "511", "--logit-bias", "511=1",
                     "--decoder-prompt-token-ids", "2,511"}),
            "");
  const std::string end = " has the token id 512; the model's vocabulary has ids from 0 to 511";
  for (const Args& flags : {Args{"--stop-token-ids", "3,512"}, Args{"--logit-bias", "512=1"},
                            Args{"--decoder-prompt-token-ids", "512"}}) {
    EXPECT_EQ(checked(flags), flags[0] + end);
  }
  const RequestDefaults defaults =
      MakeRequestDefaults(Parsed(Generate({"--decoder-prompt-token-ids", "2,9"})).options);
  EXPECT_THAT(*defaults.decoder_prompt_token_ids, ElementsAre(2, 9));
}

TEST(CommandLineTest, TextsAndBiasesFromEveryPlace) {
  const auto stops = [](const Args& flags, std::vector<std::string> environment, std::string yaml) {
    Args args = Generate(flags);
    if (!yaml.empty()) args.insert(args.end(), {"--config", "job.yaml"});
    return MakeRequestDefaults(Parsed(args, Sources(std::move(environment), yaml)).options)
        .decoding;
  };
  EXPECT_THAT(stops({"--stop", R"(["a","b"])"}, {}, "").stop, ElementsAre("a", "b"));
  EXPECT_THAT(stops({"--stop", "[a"}, {}, "").stop, ElementsAre("[a"));
  EXPECT_THAT(stops({"--stop", "[1]"}, {}, "").stop, ElementsAre("[1]"));
  EXPECT_THAT(stops({}, {R"(TANDEM_STOP=["a","b"])"}, "").stop, ElementsAre("a", "b"));
  EXPECT_THAT(stops({}, {"TANDEM_STOP=a b"}, "").stop, ElementsAre("a b"));
  EXPECT_THAT(stops({}, {}, "stop: ['a, b', \"\\n\"]\n").stop, ElementsAre("a, b", "\n"));
  EXPECT_THAT(stops({}, {}, "stop: one\n").stop, ElementsAre("one"));
  EXPECT_THAT(stops({"--stop", "[]"}, {}, "stop: one\n").stop, IsEmpty());
  EXPECT_THAT(stops({}, {}, "logit_bias: {7: -1, 9: 2.5}\n").logit_bias,
              ElementsAre(std::pair(7, -1.0f), std::pair(9, 2.5f)));
  EXPECT_THAT(stops({}, {}, "logit_bias: 7=-1\n").logit_bias, ElementsAre(std::pair(7, -1.0f)));
}

TEST(CommandLineTest, TheWeakerOfTwoThatExcludeEachOtherGivesWay) {
  const CommandLine line =
      Parsed(Generate({"--num-beams", "4"}), Sources({"TANDEM_TEMPERATURE=0.5"}));
  EXPECT_EQ(MakeRequestDefaults(line.options).decoding.num_beams, 4);
  EXPECT_EQ(MakeRequestDefaults(line.options).decoding.temperature, 0.0f);
  EXPECT_EQ(line.options.OriginOf("temperature"), Origin::kBuiltIn);
}

TEST(CommandLineTest, LongAndOddValuesPassWhole) {
  const std::string prompt(1 << 20, 'x');
  EXPECT_EQ(
      Parsed({"generate", "--model=m", absl::StrCat("--prompt=", prompt)}).options.Text("prompt"),
      prompt);
  for (const std::string odd : {"--max-tokens", "-x", "a=b=c", "a,b", " ", "--", "one\ntwo", "_"}) {
    EXPECT_EQ(Parsed({"generate", "--model", "m", "--prompt", odd}).options.Text("prompt"), odd);
    EXPECT_EQ(Parsed({"generate", "--model", "m", "--prompt=" + odd}).options.Text("prompt"), odd);
  }
}

TEST(CommandLineTest, AFlagWithoutItsValue) {
  const auto line = ParseCommandLine({"env", "--log-level"}, Sources());
  ASSERT_FALSE(line.ok());
  EXPECT_THAT(std::string(line.status().message()), HasSubstr("log-level"));
  EXPECT_EQ(ExitCodeOf(line.status()), ExitCode::kUsage);
}

TEST(CommandLineTest, SystemSourcesReadTheProcess) {
  ASSERT_EQ(setenv("TANDEM_COMMAND_LINE_TEST", "1", 1), 0);
  const CommandLineSources sources = SystemSources();
  EXPECT_THAT(sources.environment, ::testing::Contains("TANDEM_COMMAND_LINE_TEST=1"));
  EXPECT_EQ(sources.read_file("/nonexistent/x").status().message(),
            "cannot open it: No such file or directory");
  EXPECT_FALSE(sources.read_file("/").ok());
  EXPECT_THAT(*sources.read_file(TANDEM_SOURCE_DIR "/CMakeLists.txt"), HasSubstr("project(tandem"));
}

}  // namespace
}  // namespace tandem
