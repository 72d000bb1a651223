// Which ranks form which group of which stage. Pure data and functions: every rank computes the
// same.
#ifndef TANDEM_COMMON_PARALLEL_LAYOUT_H_
#define TANDEM_COMMON_PARALLEL_LAYOUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/model_config.h"

namespace tandem {

enum class StageKind : uint8_t { kVision = 0, kEncoder = 1, kDecoder = 2 };
inline constexpr int kNumStages = 3;
absl::string_view NameOf(StageKind stage);  // "vision", "encoder", "decoder".

// One tensor-parallel group of a stage; its TP degree is its number of ranks. ranks[i] is TP rank
// i.
struct StageGroup {
  std::vector<int> ranks;
};

struct Layout {
  int world_size = 1;
  bool own_coordinator = false;  // Rank 0 coordinates and computes nothing.
  std::vector<StageGroup> stages[kNumStages];

  const std::vector<StageGroup>& groups(StageKind stage) const {
    return stages[static_cast<int>(stage)];
  }
};

// The short flags; unset fields are chosen.
struct LayoutFlags {
  std::optional<int> tp[kNumStages];      // --vision-tp, --encoder-tp, --decoder-tp
  std::optional<int> groups[kNumStages];  // --vision-groups, ...
  std::optional<int> replicas;            // --replicas: N times every stage's groups.
  bool colocate = false;                  // --colocate
  std::optional<bool> own_coordinator;    // --coordinator own|shared
  bool decodes = true;                    // False: no decoder; the encoder may have all ranks.
};

// The largest legal TP degree of a text stage: powers of two that divide the query heads and 8.
int MaxTextTp(const TextStackConfig& stack);

// The same for any stage of a model; of the vision heads and 16 for the vision stage.
int MaxTp(StageKind stage, const ModelConfig& config);

// Layout for world_size ranks from the short flags and the default rules. `warnings` gets what the
// user should know (idle ranks). INVALID_ARGUMENT says what does not fit and what would.
absl::StatusOr<Layout> MakeLayout(const LayoutFlags& flags, const ModelConfig& config,
                                  int world_size, std::vector<std::string>* warnings);

// From the text of a layout file (YAML; "ranks: [1, 2]" or "ranks: 3-6"). INVALID_ARGUMENT with
// line and key. The decoder may be missing where the job does not decode.
absl::StatusOr<Layout> ParseLayout(absl::string_view yaml, int world_size, bool decodes = true);

// Every rule: ranks in range, powers of two, heads divide, no rank twice in a group or in two
// groups of a stage, encoder and decoder present (the decoder only where the job `decodes`), own
// coordinator not in a group.
absl::Status ValidateLayout(const Layout& layout, const ModelConfig& config, bool decodes = true);

// The file --print-layout writes; ParseLayout reads it back.
std::string LayoutToYaml(const Layout& layout);

// Ranks that share groups, directly or through others, form an island: one of them (the lowest)
// gives all ranks of the island their work in one order, so that no two groups wait for each other.
// Returns for each rank its scheduler (itself where it is alone; -1 for idle ranks and an own
// coordinator).
std::vector<int> IslandSchedulers(const Layout& layout);

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_LAYOUT_H_
