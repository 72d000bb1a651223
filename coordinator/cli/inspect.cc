// tandem inspect
#include "common/checkpoint/inspect.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/config/presets.h"
#include "common/text/tokenizer.h"
#include "coordinator/cli/verbs.h"

namespace tandem {
namespace {

absl::StatusOr<nlohmann::ordered_json> InspectTokenizer(const std::string& directory) {
  TANDEM_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                          Tokenizer::LoadFromModelDir(directory));
  nlohmann::ordered_json facts;
  facts["file"] = tokenizer->format();
  facts["pieces"] = tokenizer->vocab_size();
  facts["adds_bos"] = tokenizer->adds_bos();
  facts["bos"] = tokenizer->bos_id();
  facts["eos"] = tokenizer->eos_id();
  facts["identity"] = absl::StrFormat("%016x", tokenizer->identity_hash());
  return facts;
}

bool HasWeights(const std::string& directory) {
  return std::filesystem::exists(directory + "/model.safetensors") ||
         std::filesystem::exists(directory + "/model.safetensors.index.json");
}

absl::StatusOr<nlohmann::ordered_json> Inspect(const std::string& model) {
  TANDEM_ASSIGN_OR_RETURN(const ModelSource source, ResolveModel(model));
  TANDEM_ASSIGN_OR_RETURN(const ModelConfig config, ParseModelSource(source));
  nlohmann::ordered_json facts = InspectConfig(config);
  if (source.directory.empty()) return facts;
  if (HasWeights(source.directory)) {
    TANDEM_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint,
                            Checkpoint::Open(source.directory, config, LoadMode::kAuto));
    facts["weights"] = InspectWeights(*checkpoint);
  }
  absl::StatusOr<nlohmann::ordered_json> tokenizer = InspectTokenizer(source.directory);
  if (tokenizer.ok()) {
    facts["tokenizer"] = *std::move(tokenizer);
  } else if (!absl::IsNotFound(tokenizer.status())) {
    return tokenizer.status();
  }
  return facts;
}

}  // namespace

ExitCode RunInspect(const Options& options) {
  const absl::StatusOr<nlohmann::ordered_json> facts = Inspect(options.Text("model"));
  if (!facts.ok()) {
    LogError(facts.status().message());
    return ExitCode::kModel;
  }
  const std::string text =
      options.Text("format") == "json" ? facts->dump(2) + "\n" : InspectText(*facts);
  std::fputs(text.c_str(), stdout);
  return ExitCode::kOk;
}

}  // namespace tandem
