// The published models' configurations, which are part of the program, and what a --model argument
// stands for.
#ifndef TANDEM_COMMON_CONFIG_PRESETS_H_
#define TANDEM_COMMON_CONFIG_PRESETS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/model_config.h"

namespace tandem {

// "t5gemma2_270m_270m", ...: the files of configs/models. Smallest model first.
std::vector<std::string> PresetNames();
// config.json's text. NOT_FOUND lists the names.
absl::StatusOr<std::string> PresetConfigJson(absl::string_view name);

struct ModelSource {
  std::string label;      // For messages: config.json's path, or "preset NAME".
  std::string directory;  // Where weights and tokenizer may lie; empty for a preset.
  std::string config_json;
  std::string generation_json;  // Empty where there is none.
};

// A folder with a config.json, the path of a config.json, or (where no such file is) a preset's
// name. NOT_FOUND.
absl::StatusOr<ModelSource> ResolveModel(const std::string& argument);

// Parsed and validated; errors begin with the label.
absl::StatusOr<ModelConfig> ParseModelSource(const ModelSource& source);

}  // namespace tandem

#endif  // TANDEM_COMMON_CONFIG_PRESETS_H_
