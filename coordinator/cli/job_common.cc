// What the verbs that compute have in common.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "coordinator/cli/verbs.h"

namespace tandem {
namespace {

LoadMode LoadModeOf(const std::string& name) {
  if (name == "map") return LoadMode::kMap;
  if (name == "copy") return LoadMode::kCopy;
  if (name == "read") return LoadMode::kRead;
  return LoadMode::kAuto;
}

}  // namespace

SessionSettings MakeSessionSettings(const Options& options) {
  SessionSettings settings;
  settings.model = options.Text("model");
  settings.layout_file = options.Text("layout");
  settings.layout_flags = MakeLayoutFlags(options);
  settings.threads = static_cast<int>(options.Integer("threads").value_or(0));
  settings.load = LoadModeOf(options.Text("load"));
  settings.load_weights = options.Flag("load-weights");
  settings.weights_seed = static_cast<uint64_t>(options.Integer("weights-seed").value_or(0));
  settings.dtype = options.Text("dtype");
  settings.isa = options.Text("isa");
  if (options.verb() == Verb::kGenerate || options.verb() == Verb::kScore) {
    settings.max_num_seqs = static_cast<int>(*options.Integer("max-num-seqs"));
    settings.kv_cache_mb = options.Integer("kv-cache-mb").value_or(0);
  }
  if (TakesRequests(options.verb())) {
    settings.max_model_len = options.Integer("max-model-len").value_or(0);
  }
  settings.decodes = options.verb() != Verb::kEmbed;
  return settings;
}

ExitCode Conclude(World& world, const JobOutcome& outcome) {
  if (outcome.status.ok()) return ExitCode::kOk;
  const ExitCode code = ExitCodeOf(outcome.status);
  if (!outcome.agreed || world.rank() == kCoordinatorRank) LogError(outcome.status.message());
  // A rank that goes on alone would be waited for: only the end of the whole job is clean.
  if (!outcome.agreed && world.size() > 1) world.Abort(static_cast<int>(code));
  return code;
}

void LogSession(const Session& session) {
  for (const std::string& warning : session.warnings()) LogWarn(warning);
  LogInfo(absl::StrFormat("%s, %s, numerics class %08x", session.model_directory(),
                          session.compute_type() == ComputeType::kBFloat16 ? "bfloat16" : "float32",
                          static_cast<uint32_t>(session.numerics_class())));
  for (const std::string& line : session.rank_lines()) LogInfo(line);
  for (const LayoutGroup& group : session.groups()) {
    if (group.stage != StageKind::kDecoder) continue;
    LogInfo(absl::StrFormat("decoder %d: K/V memory for %d tokens", group.index,
                            session.pages()[static_cast<size_t>(group.id)] * kPageTokens));
  }
}

}  // namespace tandem
