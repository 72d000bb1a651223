#include "coordinator/cli/memory_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/checkpoint/inspect.h"
#include "common/parallel/shard.h"
#include "worker/model/kv_pool.h"

namespace tandem {
namespace {

DType StoredAs(ComputeType type) {
  return type == ComputeType::kBFloat16 ? DType::kBF16 : DType::kF32;
}

int64_t PageBytes(const ModelConfig& model, TpRank rank, ComputeType type) {
  const TextStackConfig& stack = model.decoder;
  const AttentionShard heads =
      ShardAttention({.num_heads = stack.num_heads, .num_kv_heads = stack.num_kv_heads}, rank);
  return KvPool::PageBytes(
      {.type = type, .num_kv_heads = heads.num_kv_heads, .head_dim = stack.head_dim},
      stack.num_layers);
}

// Bytes of the groups' weights on a rank, each by itself in `plan.shard_bytes`, and together.
void PlanWeights(const ModelConfig& model, absl::Span<const LayoutGroup> groups, int rank,
                 DType dtype, RankPlan& plan) {
  plan.shard_bytes.assign(groups.size(), 0);
  std::set<std::pair<int, int>> tables;  // TP places whose rows of the tied table are counted.
  for (const LayoutGroup& group : groups) {
    const int tp_rank = group.TpRankOf(rank);
    if (tp_rank < 0 || group.stage == StageKind::kVision) continue;
    const TpRank place{.tp_size = group.tp_size(), .tp_rank = tp_rank};
    const bool encoder = group.stage == StageKind::kEncoder;
    const TextStackConfig& stack = encoder ? model.encoder : model.decoder;
    const int64_t layers = LayerWeightBytes(stack, place, dtype);
    const bool tied = encoder || model.tie_word_embeddings;
    const int64_t table = TableWeightBytes(stack, tied ? 1 : 2, place, dtype);
    plan.shard_bytes[static_cast<size_t>(group.id)] = layers + table;
    const bool shared = tied && !tables.insert({place.tp_size, place.tp_rank}).second;
    plan.weight_bytes += layers + (shared ? 0 : table);
  }
}

struct HostUse {
  int64_t ranks = 0;
  int64_t weight_bytes = 0;
  int64_t kv_bytes = 0;
  int64_t available_bytes = 0;
};

// By name. A rank's view of what its host has left: the smallest counts.
std::map<std::string, HostUse> UseOfHosts(const MemoryPlan& plan,
                                          absl::Span<const HostMemory> hosts) {
  std::map<std::string, HostUse> uses;
  for (size_t rank = 0; rank < hosts.size(); ++rank) {
    HostUse& use = uses[hosts[rank].host];
    const int64_t available = hosts[rank].available_bytes;
    use.available_bytes = use.ranks == 0 ? available : std::min(use.available_bytes, available);
    ++use.ranks;
    use.weight_bytes += plan.ranks[rank].weight_bytes;
    use.kv_bytes += plan.ranks[rank].kv_bytes;
  }
  return uses;
}

}  // namespace

MemoryPlan PlanMemory(const ModelConfig& model, absl::Span<const LayoutGroup> groups,
                      absl::Span<const HostMemory> hosts, const MemoryPlanOptions& options) {
  MemoryPlan plan;
  plan.ranks.resize(hosts.size());
  for (size_t rank = 0; rank < hosts.size(); ++rank) {
    PlanWeights(model, groups, static_cast<int>(rank), StoredAs(options.type), plan.ranks[rank]);
  }
  const std::map<std::string, HostUse> uses = UseOfHosts(plan, hosts);
  plan.kv_tokens.assign(groups.size(), 0);
  for (const LayoutGroup& group : groups) {
    if (group.stage != StageKind::kDecoder) continue;
    int64_t pages = -1;  // The smallest of the group's ranks.
    for (int tp_rank = 0; tp_rank < group.tp_size(); ++tp_rank) {
      const auto rank = static_cast<size_t>(group.ranks[static_cast<size_t>(tp_rank)]);
      const int64_t page_bytes =
          PageBytes(model, {.tp_size = group.tp_size(), .tp_rank = tp_rank}, options.type);
      int64_t bytes = options.kv_cache_bytes;
      if (bytes == 0) {
        // As Engine::AffordablePages chooses when the weights are there.
        const HostUse& use = uses.at(hosts[rank].host);
        const int64_t pools = std::count_if(groups.begin(), groups.end(), [&](const auto& other) {
          return other.stage == StageKind::kDecoder && other.Has(static_cast<int>(rank));
        });
        const int64_t left = std::max<int64_t>(use.available_bytes - use.weight_bytes, 0);
        bytes = std::min(
            left / 2 / use.ranks / pools,
            int64_t{2} * options.max_num_seqs * PagesFor(options.max_model_len) * page_bytes);
      }
      plan.ranks[rank].kv_bytes += bytes / page_bytes * page_bytes;
      pages = pages < 0 ? bytes / page_bytes : std::min(pages, bytes / page_bytes);
    }
    plan.kv_tokens[static_cast<size_t>(group.id)] = pages * kPageTokens;
  }
  return plan;
}

absl::Status CheckMemory(const MemoryPlan& plan, absl::Span<const LayoutGroup> groups,
                         absl::Span<const HostMemory> hosts, const MemoryPlanOptions& options) {
  for (const auto& [host, use] : UseOfHosts(plan, hosts)) {
    const int64_t kv_bytes = options.kv_cache_bytes > 0 ? use.kv_bytes : 0;
    if (use.available_bytes == 0 || use.weight_bytes + kv_bytes <= use.available_bytes) continue;
    const bool kv = kv_bytes > 0;
    return WithExitCode(
        absl::FailedPreconditionError(absl::StrCat(
            "host ", host, " has ", BytesText(use.available_bytes), " of memory left, but ",
            use.ranks == 1 ? "its rank needs " : absl::StrCat("its ", use.ranks, " ranks need "),
            BytesText(use.weight_bytes), " of weights",
            kv ? absl::StrCat(" and ", BytesText(kv_bytes), " of K/V memory") : "",
            kv ? ": give less --kv-cache-mb, " : ": ", "use more hosts, or have fewer groups")),
        ExitCode::kUsage);
  }
  for (const LayoutGroup& group : groups) {
    const int64_t tokens = plan.kv_tokens[static_cast<size_t>(group.id)];
    if (group.stage != StageKind::kDecoder || tokens >= 2 * kPageTokens) continue;
    const bool told = std::all_of(group.ranks.begin(), group.ranks.end(), [&](int rank) {
      return options.kv_cache_bytes > 0 || hosts[static_cast<size_t>(rank)].available_bytes > 0;
    });
    if (!told) continue;
    return WithExitCode(absl::FailedPreconditionError(
                            absl::StrCat("the K/V memory of decoder group ", group.index,
                                         " is too small for one sequence: raise --kv-cache-mb")),
                        ExitCode::kUsage);
  }
  return absl::OkStatus();
}

}  // namespace tandem
