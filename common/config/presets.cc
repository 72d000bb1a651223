#include "common/config/presets.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/config/preset_texts.h"
#include "common/config/text_file.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;

absl::StatusOr<ModelSource> ReadSource(const std::string& argument) {
  std::error_code ignored;
  if (!fs::exists(argument, ignored)) {
    absl::StatusOr<std::string> preset = PresetConfigJson(argument);
    if (!preset.ok()) {
      return absl::NotFoundError(absl::StrCat(argument,
                                              ": there is no such folder or file, and no preset of "
                                              "this name (presets: ",
                                              absl::StrJoin(PresetNames(), ", "), ")"));
    }
    return ModelSource{absl::StrCat("preset ", argument), "", *std::move(preset), ""};
  }
  const fs::path config_path =
      fs::is_directory(argument, ignored) ? fs::path(argument) / "config.json" : fs::path(argument);
  ModelSource source;
  source.label = config_path.string();
  source.directory = config_path.has_parent_path() ? config_path.parent_path().string() : ".";
  TANDEM_ASSIGN_OR_RETURN(source.config_json, ReadTextFile(source.label, kMaxConfigBytes));
  const fs::path generation_path = fs::path(source.directory) / "generation_config.json";
  if (fs::exists(generation_path, ignored)) {
    TANDEM_ASSIGN_OR_RETURN(source.generation_json,
                            ReadTextFile(generation_path.string(), kMaxConfigBytes));
  }
  return source;
}

}  // namespace

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const PresetText& preset : kPresetTexts) names.emplace_back(preset.name);
  return names;
}

absl::StatusOr<std::string> PresetConfigJson(absl::string_view name) {
  for (const PresetText& preset : kPresetTexts) {
    if (name == preset.name) return std::string(preset.config_json);
  }
  return absl::NotFoundError(absl::StrCat("there is no preset ", name, "; presets are ",
                                          absl::StrJoin(PresetNames(), ", ")));
}

absl::StatusOr<ModelSource> ResolveModel(const std::string& argument) {
  absl::StatusOr<ModelSource> source = ReadSource(argument);
  if (!source.ok()) return WithExitCode(source.status(), ExitCode::kModel);
  return source;
}

absl::StatusOr<ModelConfig> ParseModelSource(const ModelSource& source) {
  absl::StatusOr<ModelConfig> config = ParseModelConfig(source.config_json, source.generation_json);
  if (config.ok()) return config;
  return WithExitCode(Annotate(config.status(), source.label), ExitCode::kModel);
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return WithExitCode(absl::NotFoundError(absl::StrCat(path, ": No such file or directory")),
                        ExitCode::kModel);
  }
  TANDEM_ASSIGN_OR_RETURN(const ModelSource source, ResolveModel(path));
  return ParseModelSource(source);
}

}  // namespace tandem
