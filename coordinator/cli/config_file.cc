#include "coordinator/cli/config_file.h"

#include <yaml-cpp/yaml.h>

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/base/exit_code.h"
#include "common/base/json_text.h"
#include "common/base/nearest_name.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;

absl::Status ConfigError(absl::string_view message) {
  return WithExitCode(absl::InvalidArgumentError(message), ExitCode::kUsage);
}

bool BelongsToAnyVerb(absl::string_view name) {
  for (int verb = 0; verb < kNumVerbs; ++verb) {
    if (FindOption(static_cast<Verb>(verb), name) >= 0) return true;
  }
  return false;
}

std::string NearestKey(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const OptionInfo& option : OptionTable()) names.push_back(option.name);
  return absl::StrReplaceAll(NearestName(name, names), {{"-", "_"}});
}

// The value as a flag's text.
absl::StatusOr<std::string> TextOf(const YAML::Node& node, OptionType type,
                                   absl::string_view where) {
  if (node.IsScalar()) return node.Scalar();
  std::vector<std::string> parts;
  if (node.IsMap()) {
    if (type != OptionType::kTokenBiases) {
      return ConfigError(absl::StrCat(where, " must be a value, not a map"));
    }
    for (const auto& part : node) {
      if (!part.first.IsScalar() || !part.second.IsScalar()) {
        return ConfigError(absl::StrCat(where, " must be a map of token ids and numbers"));
      }
      parts.push_back(absl::StrCat(part.first.Scalar(), "=", part.second.Scalar()));
    }
    return absl::StrJoin(parts, ",");
  }
  if (type != OptionType::kTokenIds && type != OptionType::kTexts) {
    return ConfigError(absl::StrCat(where, " must be one value, not a list"));
  }
  for (const YAML::Node& part : node) {
    if (!part.IsScalar()) {
      return ConfigError(absl::StrCat(where, " must be a value or a list of values"));
    }
    parts.push_back(part.Scalar());
  }
  return type == OptionType::kTexts ? TextsValue(parts) : absl::StrJoin(parts, ",");
}

absl::Status ApplySetting(const YAML::Node& key, const YAML::Node& value, const std::string& path,
                          Options* options) {
  const std::string name = key.IsScalar() ? key.Scalar() : "";
  const std::string line = absl::StrCat(path, ":", key.Mark().line + 1, ": ");
  const std::string shown = Shorten(name, 64);
  if (name == "config") {
    return ConfigError(
        absl::StrCat(line, "\"config\" does not stand in a settings file: one names no other"));
  }
  if (!BelongsToAnyVerb(name)) {
    return ConfigError(absl::StrCat(line, "unknown setting ", JsonString(shown),
                                    "; the nearest known one is ", JsonString(NearestKey(name))));
  }
  const int option = FindOption(options->verb(), name);
  if (option < 0 || value.IsNull()) return absl::OkStatus();
  const OptionInfo& info = OptionTable()[static_cast<size_t>(option)];
  const std::string where = absl::StrCat(line, shown);
  TANDEM_ASSIGN_OR_RETURN(std::string text, TextOf(value, info.type, where));
  return options->Set(option, std::move(text), Origin::kConfigFile, where);
}

}  // namespace

absl::Status ApplyConfigFile(absl::string_view yaml, const std::string& path, Options* options) {
  if (yaml.size() > kMaxBytes) {
    return ConfigError(absl::StrCat(path, " has ", WithCommas(static_cast<int64_t>(yaml.size())),
                                    " bytes; a settings file has at most ",
                                    WithCommas(static_cast<int64_t>(kMaxBytes))));
  }
  try {
    const YAML::Node root = YAML::Load(std::string(yaml));
    if (root.IsNull()) return absl::OkStatus();
    if (!root.IsMap()) {
      return ConfigError(absl::StrCat(path, " must be a map of settings (max_tokens: 64)"));
    }
    std::set<std::string> seen;
    for (const auto& setting : root) {
      TANDEM_RETURN_IF_ERROR(ApplySetting(setting.first, setting.second, path, options));
      const std::string name = absl::StrReplaceAll(setting.first.Scalar(), {{"-", "_"}});
      if (!seen.insert(name).second) {
        return ConfigError(
            absl::StrCat(path, ":", setting.first.Mark().line + 1, ": ", name, " is there twice"));
      }
    }
    return absl::OkStatus();
  } catch (const YAML::Exception& error) {
    return ConfigError(
        absl::StrCat(path, ":", error.mark.line + 1, ": not valid YAML: ", error.msg));
  }
}

}  // namespace tandem
