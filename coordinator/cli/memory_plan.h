// How much memory a job would take on each rank, from the configuration alone: what --dry-run
// checks and prints.
#ifndef TANDEM_COORDINATOR_CLI_MEMORY_PLAN_H_
#define TANDEM_COORDINATOR_CLI_MEMORY_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/config/model_config.h"
#include "common/kernels/kv_layout.h"
#include "common/parallel/layout_groups.h"

namespace tandem {

struct HostMemory {
  std::string host;
  int64_t available_bytes = 0;  // 0: the host does not tell.
};

struct MemoryPlanOptions {
  ComputeType type = ComputeType::kFloat32;
  int64_t kv_cache_bytes = 0;  // Of a decoder rank; 0: automatic.
  int64_t max_num_seqs = 32;
  int64_t max_model_len = 0;
};

struct RankPlan {
  int64_t weight_bytes = 0;          // A table that two stages share counts once.
  int64_t kv_bytes = 0;              // Most that K/V memory takes; it grows into it.
  std::vector<int64_t> shard_bytes;  // Of each group's weights, by group id.
};

struct MemoryPlan {
  std::vector<RankPlan> ranks;
  std::vector<int64_t> kv_tokens;  // That fit each decoder group's K/V memory, by group id.
};

// `hosts` by rank. Weights are packed copies, so that each rank has its own.
MemoryPlan PlanMemory(const ModelConfig& model, absl::Span<const LayoutGroup> groups,
                      absl::Span<const HostMemory> hosts, const MemoryPlanOptions& options);

// FAILED_PRECONDITION (kUsage): the ranks of a host need more than it has, or a decoder group has
// no room for one sequence.
absl::Status CheckMemory(const MemoryPlan& plan, absl::Span<const LayoutGroup> groups,
                         absl::Span<const HostMemory> hosts, const MemoryPlanOptions& options);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_MEMORY_PLAN_H_
