#include "coordinator/cli/options.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/check.h"
#include "common/base/exit_code.h"
#include "common/base/json_text.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

std::optional<bool> ParseBool(absl::string_view text) {
  const std::string word = absl::AsciiStrToLower(text);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return true;
  if (word == "false" || word == "no" || word == "off" || word == "0") return false;
  return std::nullopt;
}

std::optional<int64_t> ParseInteger(absl::string_view text) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) return std::nullopt;
  return value;
}

bool IsTokenId(absl::string_view text) {
  const std::optional<int64_t> id = ParseInteger(text);
  return id.has_value() && *id >= 0 && *id <= std::numeric_limits<int32_t>::max();
}

std::string ConfigKey(absl::string_view name) { return absl::StrReplaceAll(name, {{"-", "_"}}); }

const FieldInfo& FieldOf(const OptionInfo& option) {
  Field field;
  const FieldInfo* info = FindField(LineForm::kGenerate, ConfigKey(option.name), &field);
  TANDEM_CHECK(info != nullptr);
  return *info;
}

std::optional<double> ParseNumber(absl::string_view text) {
  double value = 0.0;
  if (!absl::SimpleAtod(text, &value) || !std::isfinite(value)) return std::nullopt;
  return value;
}

// A JSON array of strings as its strings; any other text as the one it is.
std::vector<std::string> ParseTexts(absl::string_view text) {
  if (absl::StartsWith(text, "[")) {
    const nlohmann::json array =
        nlohmann::json::parse(text.begin(), text.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
    std::vector<std::string> texts;
    bool strings = array.is_array();
    for (const nlohmann::json& item : array) {
      if (!item.is_string()) {
        strings = false;
        break;
      }
      texts.push_back(item.get<std::string>());
    }
    if (strings) return texts;
  }
  if (text.empty()) return {};
  return {std::string(text)};
}

bool AreTexts(const FieldInfo& field, const std::vector<std::string>& texts) {
  if (static_cast<int64_t>(texts.size()) > field.max_elements) return false;
  for (const std::string& text : texts) {
    if (text.empty() || static_cast<int64_t>(text.size()) > field.max_bytes) return false;
    if (FirstInvalidUtf8(text) != absl::string_view::npos) return false;
  }
  return true;
}

// Sorted by id; none where it is not what it should be.
std::optional<std::vector<std::pair<int32_t, float>>> ParseTokenBiases(const FieldInfo& field,
                                                                       absl::string_view text) {
  std::vector<std::pair<int32_t, float>> biases;
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> sides =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    const std::optional<double> bias = ParseNumber(sides.second);
    if (!IsTokenId(sides.first) || !bias.has_value() || !field.Takes(*bias)) return std::nullopt;
    biases.emplace_back(static_cast<int32_t>(*ParseInteger(sides.first)),
                        static_cast<float>(*bias));
  }
  std::sort(biases.begin(), biases.end());
  const auto same_id = [](const auto& a, const auto& b) { return a.first == b.first; };
  const bool twice = std::adjacent_find(biases.begin(), biases.end(), same_id) != biases.end();
  if (twice || static_cast<int64_t>(biases.size()) > field.max_elements) return std::nullopt;
  return biases;
}

// What a value must be, as messages say it; empty where `value` is that.
std::string WantedInstead(const OptionInfo& option, absl::string_view value) {
  switch (option.type) {
    case OptionType::kFlag:
      return ParseBool(value).has_value() ? "" : "true or false";
    case OptionType::kInteger: {
      const std::optional<int64_t> integer = ParseInteger(value);
      if (integer.has_value() && *integer >= option.minimum && *integer <= option.maximum) {
        return "";
      }
      const bool word = !ParseInteger(option.default_value).has_value();
      if (word && value == option.default_value) return "";
      return absl::StrCat(word ? absl::StrCat(option.default_value, " or ") : "",
                          "an integer from ", WithCommas(option.minimum), " to ",
                          WithCommas(option.maximum));
    }
    case OptionType::kText:
      return "";
    case OptionType::kChoice: {
      const std::vector<std::string> choices = absl::StrSplit(option.choices, '|');
      if (std::find(choices.begin(), choices.end(), value) != choices.end()) return "";
      return absl::StrReplaceAll(option.choices, {{"|", ", "}});
    }
    case OptionType::kTokenIds:
      for (const absl::string_view id : absl::StrSplit(value, ',')) {
        if (!IsTokenId(absl::StripAsciiWhitespace(id))) return "token ids with commas between them";
      }
      return "";
    case OptionType::kNumber: {
      const FieldInfo& field = FieldOf(option);
      const std::optional<double> number = ParseNumber(value);
      return number.has_value() && field.Takes(*number) ? "" : std::string(field.expects);
    }
    case OptionType::kTexts:
      return AreTexts(FieldOf(option), ParseTexts(value)) ? ""
                                                          : std::string(FieldOf(option).expects);
    case OptionType::kTokenBiases:
      return ParseTokenBiases(FieldOf(option), value).has_value()
                 ? ""
                 : "token ids and numbers from -100 to 100, each id once, as 7=-100,88=1.5";
  }
  return "";
}

// Of these one-time orders a settings file says nothing.
bool IsOrder(absl::string_view name) { return name == "config" || name == "print-config"; }

}  // namespace

absl::string_view NameOf(Origin origin) {
  constexpr absl::string_view kNames[] = {"flag", "environment", "config file",
                                          "generation_config.json", "built-in"};
  return kNames[static_cast<size_t>(origin)];
}

Options::Options(Verb verb) : verb_(verb) {
  for (const OptionInfo& option : OptionTable()) {
    values_.push_back({.text = std::string(option.default_value), .origin = Origin::kBuiltIn});
  }
}

const Options::Value& Options::Find(absl::string_view name, OptionType type) const {
  const int option = FindOption(verb_, name);
  TANDEM_CHECK(option >= 0);
  const OptionType actual = OptionTable()[static_cast<size_t>(option)].type;
  TANDEM_CHECK(actual == type || (actual == OptionType::kChoice && type == OptionType::kText));
  return values_[static_cast<size_t>(option)];
}

bool Options::Flag(absl::string_view name) const {
  return ParseBool(Find(name, OptionType::kFlag).text).value_or(false);
}

std::optional<int64_t> Options::Integer(absl::string_view name) const {
  return ParseInteger(Find(name, OptionType::kInteger).text);
}

const std::string& Options::Text(absl::string_view name) const {
  return Find(name, OptionType::kText).text;
}

std::vector<int32_t> Options::TokenIds(absl::string_view name) const {
  std::vector<int32_t> ids;
  for (const absl::string_view id :
       absl::StrSplit(Find(name, OptionType::kTokenIds).text, ',', absl::SkipWhitespace())) {
    ids.push_back(static_cast<int32_t>(ParseInteger(id).value_or(0)));
  }
  return ids;
}

double Options::Number(absl::string_view name) const {
  return ParseNumber(Find(name, OptionType::kNumber).text).value_or(0.0);
}

std::vector<std::string> Options::Texts(absl::string_view name) const {
  return ParseTexts(Find(name, OptionType::kTexts).text);
}

std::vector<std::pair<int32_t, float>> Options::TokenBiases(absl::string_view name) const {
  const Value& value = Find(name, OptionType::kTokenBiases);
  return ParseTokenBiases(InfoOf(Field::kLogitBias), value.text)
      .value_or(std::vector<std::pair<int32_t, float>>());
}

Origin Options::OriginOf(absl::string_view name) const {
  const int option = FindOption(verb_, name);
  TANDEM_CHECK(option >= 0);
  return values_[static_cast<size_t>(option)].origin;
}

bool Options::IsGiven(absl::string_view name) const { return OriginOf(name) < Origin::kModel; }

absl::Status Options::Set(int option, std::string value, Origin origin, absl::string_view where) {
  const OptionInfo& info = OptionTable()[static_cast<size_t>(option)];
  if (const std::string wanted = WantedInstead(info, value); !wanted.empty()) {
    return WithExitCode(absl::InvalidArgumentError(absl::StrCat(
                            where, " must be ", wanted, ", not ", JsonString(Shorten(value, 80)))),
                        ExitCode::kUsage);
  }
  if (info.type == OptionType::kFlag) value = *ParseBool(value) ? "true" : "false";
  if (info.type == OptionType::kTexts) value = TextsValue(ParseTexts(value));
  Value& current = values_[static_cast<size_t>(option)];
  if (current.origin >= origin) current = {.text = std::move(value), .origin = origin};
  return absl::OkStatus();
}

absl::Status Options::SetModelDefault(absl::string_view name, std::string value,
                                      absl::string_view where) {
  const int option = FindOption(verb_, name);
  TANDEM_CHECK(option >= 0);
  const OptionInfo& info = OptionTable()[static_cast<size_t>(option)];
  if (const std::string wanted = WantedInstead(info, value); !wanted.empty()) {
    return WithExitCode(absl::InvalidArgumentError(absl::StrCat(
                            where, " must be ", wanted, ", not ", JsonString(Shorten(value, 80)))),
                        ExitCode::kModel);
  }
  return Set(option, std::move(value), Origin::kModel, where);
}

void Options::Reset(absl::string_view name) {
  const int option = FindOption(verb_, name);
  TANDEM_CHECK(option >= 0);
  values_[static_cast<size_t>(option)] = {
      .text = std::string(OptionTable()[static_cast<size_t>(option)].default_value),
      .origin = Origin::kBuiltIn};
}

std::string Options::PrintConfig() const {
  std::string out;
  for (const RunSetting& setting : Settings()) {
    const OptionInfo& info = OptionTable()[static_cast<size_t>(FindOption(verb_, setting.name))];
    // Free text is quoted as JSON does it, which is YAML, too. A setting without a value is null;
    // one that was given as an empty text is "".
    std::string value = setting.value;
    const bool is_text = info.type == OptionType::kText || info.type == OptionType::kTokenBiases;
    if (is_text && (IsGiven(info.name) || !value.empty())) value = JsonString(value);
    if (info.type == OptionType::kTokenIds && !value.empty()) value = absl::StrCat("[", value, "]");
    std::string line = absl::StrCat(setting.name, ":", value.empty() ? "" : " ", value);
    if (line.size() < 38) line.resize(38, ' ');
    absl::StrAppend(&out, line, "  # ", setting.origin, "\n");
  }
  return out;
}

namespace {

// A value as JSON: numbers, true and lists as such, words ("auto") as strings, null where there is
// none.
std::string JsonOf(const OptionInfo& option, const std::string& text, bool given) {
  if (text.empty() && !given) return "null";
  if (option.type == OptionType::kTokenIds) return absl::StrCat("[", text, "]");
  if (option.type == OptionType::kFlag || option.type == OptionType::kTexts) return text;
  if (option.type != OptionType::kText && option.type != OptionType::kChoice) {
    // "+7" and "007" are numbers here, and none in JSON.
    if (const std::optional<int64_t> value = ParseInteger(text)) return absl::StrCat(*value);
    double value = 0.0;
    if (absl::SimpleAtod(text, &value)) return text;
  }
  return JsonString(text);
}

}  // namespace

std::vector<RunSetting> Options::Settings() const {
  std::vector<RunSetting> settings;
  for (size_t i = 0; i < values_.size(); ++i) {
    const OptionInfo& info = OptionTable()[i];
    if (!info.BelongsTo(verb_) || IsOrder(info.name)) continue;
    const Value& value = values_[i];
    const bool given = value.origin < Origin::kModel;
    settings.push_back({.name = ConfigKey(info.name),
                        .value = value.text,
                        .origin = std::string(NameOf(value.origin)),
                        .json = JsonOf(info, value.text, given)});
  }
  return settings;
}

LogOptions MakeLogOptions(const Options& options) {
  LogOptions log;
  // Both are choices of the table: they parse.
  log.level = ParseLogLevel(options.Text("log-level")).value_or(LogLevel::kInfo);
  log.format = ParseLogFormat(options.Text("log-format")).value_or(LogFormat::kText);
  log.quiet = options.Flag("quiet");
  return log;
}

LayoutFlags MakeLayoutFlags(const Options& options) {
  const auto number = [&options](absl::string_view name) -> std::optional<int> {
    const std::optional<int64_t> value = options.Integer(name);
    if (!value.has_value()) return std::nullopt;
    return static_cast<int>(*value);
  };
  LayoutFlags flags;
  for (const StageKind stage : {StageKind::kVision, StageKind::kEncoder, StageKind::kDecoder}) {
    constexpr absl::string_view kStages[] = {"vision", "encoder", "decoder"};
    const auto i = static_cast<size_t>(stage);
    flags.tp[i] = number(absl::StrCat(kStages[i], "-tp"));
    flags.groups[i] = number(absl::StrCat(kStages[i], "-groups"));
  }
  flags.replicas = number("replicas");
  flags.colocate = options.Flag("colocate");
  if (const std::string& coordinator = options.Text("coordinator"); coordinator != "auto") {
    flags.own_coordinator = coordinator == "own";
  }
  return flags;
}

std::string TextsValue(const std::vector<std::string>& texts) {
  const auto quoted = [](std::string* out, const std::string& text) {
    AppendJsonString(text, out);
  };
  return absl::StrCat("[", absl::StrJoin(texts, ", ", quoted), "]");
}

std::optional<std::string> RequestLineOf(const Options& options) {
  if (options.IsGiven("prompt")) return RequestLineFor(options.Text("prompt"));
  if (options.IsGiven("prompt-token-ids")) {
    return RequestLineFor(options.TokenIds("prompt-token-ids"));
  }
  return std::nullopt;
}

}  // namespace tandem
