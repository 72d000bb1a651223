// tandem init
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_writer.h"
#include "common/config/presets.h"
#include "coordinator/cli/verbs.h"

namespace tandem {
namespace {

absl::Status Init(const Options& options) {
  absl::StatusOr<ModelSource> source = ResolveModel(options.Text("model"));
  if (!source.ok()) return WithExitCode(source.status(), ExitCode::kModel);
  absl::StatusOr<ModelConfig> config = ParseModelSource(*source);
  if (!config.ok()) return WithExitCode(config.status(), ExitCode::kModel);
  const std::string& output = options.Text("output");
  const auto seed = static_cast<uint64_t>(options.Integer("seed").value_or(0));
  TANDEM_RETURN_IF_ERROR(WithExitCode(
      WriteRandomCheckpoint(*config, source->config_json, seed, output), ExitCode::kFile));
  LogInfo(
      absl::StrCat("wrote random weights (seed ", seed, ") of ", source->label, " to ", output));
  return absl::OkStatus();
}

}  // namespace

ExitCode RunInit(const Options& options) {
  const absl::Status status = Init(options);
  if (!status.ok()) LogError(status.message());
  return ExitCodeOf(status);
}

}  // namespace tandem
