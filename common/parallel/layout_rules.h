// The rules of layouts, as their two makers (flags and files) apply them. Internal to this room.
#ifndef TANDEM_COMMON_PARALLEL_LAYOUT_RULES_H_
#define TANDEM_COMMON_PARALLEL_LAYOUT_RULES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/config/model_config.h"
#include "common/parallel/layout.h"

namespace tandem {

inline constexpr StageKind kStages[] = {StageKind::kVision, StageKind::kEncoder,
                                        StageKind::kDecoder};

// INVALID_ARGUMENT that ends the program with kUsage.
absl::Status LayoutError(absl::string_view message);

// "1 rank", "3 groups".
std::string Count(int64_t count, absl::string_view thing);

// Whether the model's heads allow this degree; the error names those that they allow.
absl::Status ValidateTp(StageKind stage, int64_t tp, const ModelConfig& config);

// The rules that hold for any model: ranks exist, are in one group of a stage, number a power of
// two.
absl::Status ValidateGroups(const Layout& layout);

// The error of a rank that the job does not have. `who` names it: "decoder group 2".
absl::Status RankOutsideJob(absl::string_view who, int64_t rank, int world_size);

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_LAYOUT_RULES_H_
