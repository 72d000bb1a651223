#include "coordinator/cli/command_line.h"

// Without it cxxopts matches arguments with std::regex, which overflows the stack on a long one.
#define CXXOPTS_NO_REGEX
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cxxopts.hpp>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/exit_code.h"
#include "common/base/json_text.h"
#include "common/base/nearest_name.h"
#include "common/base/status_macros.h"
#include "coordinator/cli/config_file.h"
#include "coordinator/cli/generation_config.h"
#include "coordinator/cli/help.h"
#include "coordinator/cli/version.h"

namespace tandem {
namespace {

constexpr absl::string_view kEnvironmentPrefix = "TANDEM_";
constexpr size_t kShownBytes = 64;

absl::Status UsageError(absl::string_view message) {
  return WithExitCode(absl::InvalidArgumentError(message), ExitCode::kUsage);
}

std::string VerbSentence() {
  return absl::StrCat("this version has ", absl::StrJoin(VerbNames(), ", "));
}

// "--max_tokens=3" as "--max-tokens=3": the names of flags alone, never their values.
std::vector<std::string> WithHyphens(Verb verb, const std::vector<std::string>& args) {
  std::vector<std::string> words;
  bool is_value = false;  // The word belongs to the flag before it.
  for (const std::string& arg : args) {
    const bool is_flag = !is_value && arg.size() > 2 && absl::StartsWith(arg, "--");
    is_value = false;
    if (!is_flag) {
      words.push_back(arg);
      continue;
    }
    const size_t equals = std::min(arg.find('='), arg.size());
    const std::string name = absl::StrReplaceAll(arg.substr(0, equals), {{"_", "-"}});
    const int option = FindOption(verb, absl::string_view(name).substr(2));
    is_value = equals == arg.size() && option >= 0 &&
               OptionTable()[static_cast<size_t>(option)].type != OptionType::kFlag;
    if (name.size() == 3 && option >= 0) {
      // --n: of one letter, cxxopts knows -n alone, with its value in a word of its own.
      words.push_back(name.substr(1));
      if (equals < arg.size()) words.push_back(arg.substr(equals + 1));
      continue;
    }
    words.push_back(name + arg.substr(equals));
  }
  return words;
}

absl::Status UnknownFlag(Verb verb, absl::string_view arg) {
  const absl::string_view flag = arg.substr(0, arg.find('='));
  const absl::string_view name = absl::StripPrefix(absl::StripPrefix(flag, "-"), "-");
  std::vector<std::string> others;
  std::vector<absl::string_view> names;
  for (const OptionInfo& option : OptionTable()) {
    if (option.BelongsTo(verb)) names.push_back(option.name);
  }
  for (const VerbInfo& other : VerbTable()) {
    if (FindOption(*FindVerb(other.name), name) >= 0) others.push_back(std::string(other.name));
  }
  const std::string start =
      absl::StrCat("unknown flag ", Shorten(flag, kShownBytes), " of ", NameOf(verb));
  if (!others.empty()) {
    return UsageError(absl::StrCat(start, "; it is one of ", absl::StrJoin(others, ", ")));
  }
  return UsageError(absl::StrCat(start, "; the nearest known one is --", NearestName(name, names)));
}

// What cxxopts makes of argv: values by row of the table, and what is no flag.
struct RawFlags {
  std::map<int, std::string> values;
  std::vector<std::string> positional;
  bool help = false;
  bool version = false;
};

absl::StatusOr<RawFlags> ParseFlags(Verb verb, const std::vector<std::string>& args) {
  std::vector<std::string> words = {"tandem"};
  for (std::string& word : WithHyphens(verb, args)) words.push_back(std::move(word));
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  RawFlags raw;
  try {
    cxxopts::Options parser("tandem");
    parser.allow_unrecognised_options();
    auto add = parser.add_options();
    add("h,help", "");
    add("version", "");
    for (const OptionInfo& option : OptionTable()) {
      if (!option.BelongsTo(verb)) continue;
      // All are text here: one place checks values, wherever they come from.
      std::shared_ptr<cxxopts::Value> value = cxxopts::value<std::string>();
      if (option.type == OptionType::kFlag) value->implicit_value("true");
      add(std::string(option.name), "", value);
    }
    const cxxopts::ParseResult parsed = parser.parse(static_cast<int>(argv.size()), argv.data());
    // Of texts that were given several times, all count.
    std::map<std::string, std::vector<std::string>> texts;
    for (const auto& argument : parsed.arguments())
      texts[argument.key()].push_back(argument.value());
    for (const std::string& rest : parsed.unmatched()) {
      if (rest.size() > 1 && rest[0] == '-' && rest != "--") return UnknownFlag(verb, rest);
      raw.positional.push_back(rest);
    }
    raw.help = parsed.count("help") > 0;
    raw.version = parsed.count("version") > 0;
    for (size_t i = 0; i < OptionTable().size(); ++i) {
      const OptionInfo& option = OptionTable()[i];
      const std::string name(option.name);
      if (!option.BelongsTo(verb) || parsed.count(name) == 0) continue;
      const bool several = option.type == OptionType::kTexts && texts[name].size() > 1;
      raw.values[static_cast<int>(i)] =
          several ? TextsValue(texts[name]) : parsed[name].as<std::string>();
    }
  } catch (const cxxopts::exceptions::exception& error) {
    return UsageError(absl::StrCat(error.what(), " (tandem ", NameOf(verb), " --help)"));
  }
  return raw;
}

absl::Status ApplyEnvironment(const CommandLineSources& sources, Options* options,
                              std::vector<std::string>* warnings) {
  std::vector<absl::string_view> names;
  for (const OptionInfo& option : OptionTable()) names.push_back(option.name);
  const auto variable = [](absl::string_view name) {
    return absl::StrCat(kEnvironmentPrefix,
                        absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}})));
  };
  for (const std::string& entry : sources.environment) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || !absl::StartsWith(entry, kEnvironmentPrefix)) continue;
    const std::string name = entry.substr(0, equals);
    const std::string value = entry.substr(equals + 1);
    bool known = false;
    for (const OptionInfo& option : OptionTable()) known = known || variable(option.name) == name;
    if (!known) {
      warnings->push_back(absl::StrCat(
          "the environment variable ", name, " is no setting; the nearest known one is ",
          variable(NearestName(name.substr(kEnvironmentPrefix.size()), names))));
      continue;
    }
    const int option =
        FindOption(options->verb(), absl::AsciiStrToLower(name.substr(kEnvironmentPrefix.size())));
    if (option < 0 || value.empty()) continue;
    TANDEM_RETURN_IF_ERROR(options->Set(option, value, Origin::kEnvironment, name));
  }
  return absl::OkStatus();
}

// Of settings that exclude each other, those from a weaker origin give way (a flag beats a variable
// of another name); two of the same origin are an error.
absl::Status KeepStrongest(const std::vector<absl::string_view>& names, Options* options) {
  absl::string_view strongest;
  for (const absl::string_view name : names) {
    if (!options->IsGiven(name)) continue;
    if (strongest.empty() || options->OriginOf(name) < options->OriginOf(strongest)) {
      strongest = name;
    }
  }
  for (const absl::string_view name : names) {
    if (name == strongest || !options->IsGiven(name)) continue;
    if (options->OriginOf(name) == options->OriginOf(strongest)) {
      return UsageError(
          absl::StrCat("--", strongest, " and --", name, " are both given; one of them is wanted"));
    }
    options->Reset(name);
  }
  return absl::OkStatus();
}

absl::Status Need(const Options& options, absl::string_view name, absl::string_view hint) {
  if (!options.Text(name).empty()) return absl::OkStatus();
  return UsageError(absl::StrCat("--", name, " is missing: ", hint));
}

absl::Status ResolveLayoutFlags(Options* options) {
  for (const absl::string_view name :
       {"encoder-tp", "decoder-tp", "vision-tp", "encoder-groups", "decoder-groups",
        "vision-groups", "replicas", "colocate", "coordinator"}) {
    TANDEM_RETURN_IF_ERROR(KeepStrongest({"layout", name}, options));
  }
  return absl::OkStatus();
}

absl::Status CheckUtf8(const Options& options, absl::string_view name) {
  const size_t at = FirstInvalidUtf8(options.Text(name));
  if (at == absl::string_view::npos) return absl::OkStatus();
  return UsageError(absl::StrCat("--", name, ": byte ", at + 1, " is not UTF-8"));
}

bool HasOnePrompt(const Options& options) {
  return options.IsGiven("prompt") || options.IsGiven("prompt-token-ids");
}

// Which of several settings hold, and what follows from others: all that --print-config shows.
absl::Status Resolve(Options* options) {
  const Verb verb = options->verb();
  if (verb == Verb::kTokenize) return KeepStrongest({"model", "tokenizer"}, options);
  if (TakesRequests(verb) || verb == Verb::kForward) {
    TANDEM_RETURN_IF_ERROR(ResolveLayoutFlags(options));
  }
  if (verb != Verb::kGenerate) return absl::OkStatus();
  TANDEM_RETURN_IF_ERROR(KeepStrongest({"input", "prompt", "prompt-token-ids"}, options));
  TANDEM_RETURN_IF_ERROR(KeepStrongest({"decoder-prompt", "decoder-prompt-token-ids"}, options));
  if (!HasOnePrompt(*options)) return absl::OkStatus();
  // One prompt is a question, not a job: its answer alone is shown. What a user says is stronger.
  TANDEM_RETURN_IF_ERROR(
      options->Set(FindOption(verb, "output"), "-", Origin::kBuiltIn, "--output"));
  return options->Set(FindOption(verb, "log-level"), "warn", Origin::kBuiltIn, "--log-level");
}

absl::Status CheckGenerate(Options* options) {
  TANDEM_RETURN_IF_ERROR(Need(*options, "model", "give the checkpoint's folder"));
  TANDEM_RETURN_IF_ERROR(CheckUtf8(*options, "prompt"));
  TANDEM_RETURN_IF_ERROR(CheckUtf8(*options, "decoder-prompt"));
  const bool needs_requests = !options->Flag("print-layout");
  if (needs_requests && !HasOnePrompt(*options)) {
    TANDEM_RETURN_IF_ERROR(
        Need(*options, "input", "give a file of requests, - for standard input, or --prompt TEXT"));
  }
  if (needs_requests && !options->Flag("dry-run")) {
    TANDEM_RETURN_IF_ERROR(
        Need(*options, "output", "give a file for the results, or - for standard output"));
  }
  const int64_t min_tokens = *options->Integer("min-tokens");
  const int64_t max_tokens = *options->Integer("max-tokens");
  if (min_tokens > max_tokens) {
    return UsageError(
        absl::StrCat("--min-tokens is ", min_tokens, ", more than --max-tokens, ", max_tokens));
  }
  return SettleRequestDefaults(options);
}

absl::Status CheckScoreOrEmbed(const Options& options) {
  TANDEM_RETURN_IF_ERROR(Need(options, "model", "give the checkpoint's folder"));
  if (options.Flag("print-layout")) return absl::OkStatus();
  TANDEM_RETURN_IF_ERROR(
      Need(options, "input", "give a file of requests, or - for standard input"));
  if (options.Flag("dry-run")) return absl::OkStatus();
  TANDEM_RETURN_IF_ERROR(
      Need(options, "output", "give a file for the results, or - for standard output"));
  if (options.verb() != Verb::kEmbed || options.Text("pooling") != "none") {
    return absl::OkStatus();
  }
  if (options.Text("output") == "-") {
    return UsageError("--pooling none writes a safetensors file: --output needs its name");
  }
  if (options.Flag("normalize")) {
    return UsageError("--normalize is for vectors: --pooling none gives whole states");
  }
  return absl::OkStatus();
}

absl::Status CheckCombinations(Options* options) {
  switch (options->verb()) {
    case Verb::kScore:
    case Verb::kEmbed:
      return CheckScoreOrEmbed(*options);
    case Verb::kGenerate:
      return CheckGenerate(options);
    case Verb::kForward:
      TANDEM_RETURN_IF_ERROR(Need(*options, "model", "give the checkpoint's folder"));
      if (options->Flag("print-layout")) return absl::OkStatus();
      TANDEM_RETURN_IF_ERROR(Need(*options, "input", "give a safetensors file"));
      return Need(*options, "output", "give the safetensors file to write");
    case Verb::kTokenize:
      if (!options->Text("tokenizer").empty()) return absl::OkStatus();
      return Need(*options, "model", "give the checkpoint's folder, or --tokenizer FILE");
    case Verb::kInspect:
      return Need(*options, "model", "give the checkpoint's folder: tandem inspect DIR");
    case Verb::kInit:
      TANDEM_RETURN_IF_ERROR(Need(*options, "model", "give a preset's name or a config.json"));
      return Need(*options, "output", "give the folder to write");
    case Verb::kEnv:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

// Only inspect has an argument that is no flag.
absl::Status TakePositional(const std::vector<std::string>& words, RawFlags* raw, Verb verb) {
  if (words.empty()) return absl::OkStatus();
  const int model = verb == Verb::kInspect ? FindOption(verb, "model") : -1;
  if (model < 0 || words.size() > 1 || raw->values.count(model) > 0) {
    const absl::string_view hint =
        verb == Verb::kGenerate ? "; flags say what it is: --model DIR, --prompt TEXT, --input FILE"
                                : "";
    return UsageError(absl::StrCat("unexpected argument ",
                                   JsonString(Shorten(words.back(), kShownBytes)), hint,
                                   " (tandem ", NameOf(verb), " --help)"));
  }
  raw->values[model] = words.front();
  return absl::OkStatus();
}

absl::StatusOr<CommandLine> Printed(std::string text) {
  CommandLine line;
  line.action = CommandLine::Action::kPrint;
  line.text = std::move(text);
  return line;
}

CommandLine Version() {
  CommandLine line;
  line.action = CommandLine::Action::kVersion;
  return line;
}

absl::Status ApplyConfig(const CommandLineSources& sources, Options* options) {
  const std::string& path = options->Text("config");
  if (path.empty()) return absl::OkStatus();
  const absl::StatusOr<std::string> text = sources.read_file(path);
  if (!text.ok()) {
    return UsageError(absl::StrCat("--config ", path, ": ", text.status().message()));
  }
  return ApplyConfigFile(*text, path, options);
}

absl::StatusOr<CommandLine> ParseVerb(Verb verb, const std::vector<std::string>& args,
                                      const CommandLineSources& sources) {
  TANDEM_ASSIGN_OR_RETURN(RawFlags raw, ParseFlags(verb, args));
  if (raw.help) return Printed(VerbHelp(verb));
  if (raw.version) return Version();
  TANDEM_RETURN_IF_ERROR(TakePositional(raw.positional, &raw, verb));
  CommandLine line;
  line.options = Options(verb);
  for (auto& [option, value] : raw.values) {
    const OptionInfo& info = OptionTable()[static_cast<size_t>(option)];
    TANDEM_RETURN_IF_ERROR(
        line.options.Set(option, std::move(value), Origin::kFlag, absl::StrCat("--", info.name)));
  }
  TANDEM_RETURN_IF_ERROR(ApplyEnvironment(sources, &line.options, &line.warnings));
  TANDEM_RETURN_IF_ERROR(ApplyConfig(sources, &line.options));
  TANDEM_RETURN_IF_ERROR(Resolve(&line.options));
  if (line.options.Flag("print-config")) {
    line.action = CommandLine::Action::kPrint;
    if (verb == Verb::kGenerate && !line.options.Text("model").empty()) {
      GenerationConfigReport report;
      TANDEM_RETURN_IF_ERROR(ApplyModelsGenerationConfig(sources, &line.options, &report));
    }
    line.text = line.options.PrintConfig();
    return line;
  }
  TANDEM_RETURN_IF_ERROR(CheckCombinations(&line.options));
  return line;
}

}  // namespace

CommandLineSources SystemSources() {
  CommandLineSources sources;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    sources.environment.emplace_back(*entry);
  }
  sources.read_file = [](const std::string& path) -> absl::StatusOr<std::string> {
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) return absl::ErrnoToStatus(errno, "cannot open it");
    std::string text;
    char buffer[4096];
    size_t got = 0;
    // A little more than ApplyConfigFile takes: it says what is wrong with more.
    while (text.size() < (size_t{2} << 20) &&
           (got = std::fread(buffer, 1, sizeof(buffer), file)) > 0) {
      text.append(buffer, got);
    }
    const bool failed = std::ferror(file) != 0;
    const int error = errno;
    std::fclose(file);
    if (failed) return absl::ErrnoToStatus(error, "cannot read it");
    return text;
  };
  return sources;
}

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& args,
                                             const CommandLineSources& sources) {
  if (args.empty()) {
    return UsageError(absl::StrCat("a verb is missing; ", VerbSentence(), " (tandem --help)"));
  }
  const std::string& first = args.front();
  if (first == "--version" || first == "version") return Version();
  if (first == "--man-page") return Printed(ManPage(kVersion));
  if (first == "--bash-completion") return Printed(BashCompletion());
  const bool help = first == "--help" || first == "-h" || first == "help";
  if (help && args.size() == 1) return Printed(ProgramHelp());
  const std::string& name = help ? args[1] : first;
  const Verb* verb = FindVerb(name);
  if (verb == nullptr) {
    return UsageError(
        absl::StrCat(absl::StartsWith(name, "-") ? "a verb must come before " : "unknown verb ",
                     JsonString(Shorten(name, kShownBytes)), "; ", VerbSentence()));
  }
  if (help) return Printed(VerbHelp(*verb));
  return ParseVerb(*verb, {args.begin() + 1, args.end()}, sources);
}

}  // namespace tandem
