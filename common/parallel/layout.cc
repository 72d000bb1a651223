#include "common/parallel/layout.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/parallel/layout_rules.h"
#include "common/parallel/leaves.h"

namespace tandem {
namespace {

bool IsPowerOfTwo(int64_t n) { return n > 0 && (n & (n - 1)) == 0; }

int LargestPowerOfTwo(int64_t heads, int leaves) {
  int tp = 1;
  while (tp < leaves && heads % (2 * tp) == 0) tp *= 2;
  return tp;
}

}  // namespace

absl::Status LayoutError(absl::string_view message) {
  return WithExitCode(absl::InvalidArgumentError(message), ExitCode::kUsage);
}

std::string Count(int64_t count, absl::string_view thing) {
  return absl::StrCat(count, " ", thing, count == 1 ? "" : "s");
}

absl::Status RankOutsideJob(absl::string_view who, int64_t rank, int world_size) {
  return LayoutError(absl::StrCat(who, " names rank ", rank, ", but the job has ",
                                  Count(world_size, "rank"), ", numbered from 0",
                                  rank < 0 ? "" : absl::StrCat("; start ", rank + 1, " or more")));
}

absl::string_view NameOf(StageKind stage) {
  switch (stage) {
    case StageKind::kVision:
      return "vision";
    case StageKind::kEncoder:
      return "encoder";
    case StageKind::kDecoder:
      return "decoder";
  }
  return "?";
}

int MaxTextTp(const TextStackConfig& stack) {
  return LargestPowerOfTwo(stack.num_heads, kTextLeaves);
}

int MaxTp(StageKind stage, const ModelConfig& config) {
  switch (stage) {
    case StageKind::kVision:
      return config.vision.has_value() ? LargestPowerOfTwo(config.vision->num_heads, kVisionLeaves)
                                       : kVisionLeaves;
    case StageKind::kEncoder:
      return MaxTextTp(config.encoder);
    case StageKind::kDecoder:
      return MaxTextTp(config.decoder);
  }
  return 1;
}

absl::Status ValidateTp(StageKind stage, int64_t tp, const ModelConfig& config) {
  const int max_tp = MaxTp(stage, config);
  if (IsPowerOfTwo(tp) && tp <= max_tp) return absl::OkStatus();

  std::vector<std::string> fitting;
  for (int n = 1; n < max_tp; n *= 2) fitting.push_back(absl::StrCat(n));
  const std::string fits = fitting.empty()
                               ? "1 fits"
                               : absl::StrCat(absl::StrJoin(fitting, ", "), " or ", max_tp, " fit");
  const bool vision = stage == StageKind::kVision;
  const int64_t heads = vision ? (config.vision.has_value() ? config.vision->num_heads : 0)
                        : stage == StageKind::kEncoder ? config.encoder.num_heads
                                                       : config.decoder.num_heads;
  const std::string whose =
      heads == 0 ? std::string("the vision stage")
                 : absl::StrCat("this model's ", heads, vision ? " vision heads" : " query heads");
  const std::string name = absl::StrCat(NameOf(stage), " TP ", tp);
  if (!IsPowerOfTwo(tp)) {
    return LayoutError(absl::StrCat(name, " is no power of two; ", fits, " ", whose));
  }
  const int leaves = vision ? kVisionLeaves : kTextLeaves;
  if (tp > leaves) {
    return LayoutError(absl::StrCat(name, " is more than the ", leaves,
                                    " parts that sums are cut into; ", fits, " ", whose));
  }
  return LayoutError(absl::StrCat(name, " does not divide ", whose, "; ", fits));
}

absl::Status ValidateGroups(const Layout& layout) {
  for (StageKind stage : kStages) {
    std::vector<int> owner(static_cast<size_t>(std::max(layout.world_size, 0)), 0);
    int number = 0;  // Groups count from 1 in messages.
    for (const StageGroup& group : layout.groups(stage)) {
      ++number;
      const std::string name = absl::StrCat(NameOf(stage), " group ", number);
      if (group.ranks.empty()) return LayoutError(absl::StrCat(name, " has no ranks"));
      if (!IsPowerOfTwo(static_cast<int64_t>(group.ranks.size()))) {
        return LayoutError(absl::StrCat(name, " has ", group.ranks.size(),
                                        " ranks; its TP degree, "
                                        "their number, must be a power of two"));
      }
      for (size_t i = 0; i < group.ranks.size(); ++i) {
        const int rank = group.ranks[i];
        if (rank < 0 || rank >= layout.world_size) {
          return RankOutsideJob(name, rank, layout.world_size);
        }
        if (rank == 0 && layout.own_coordinator) {
          return LayoutError(absl::StrCat(
              name,
              " names rank 0, which coordinates alone; use 'coordinator: shared' for a rank 0 "
              "that also computes"));
        }
        int& first_owner = owner[static_cast<size_t>(rank)];
        if (first_owner == number)
          return LayoutError(absl::StrCat(name, " names rank ", rank, " twice"));
        if (first_owner != 0) {
          return LayoutError(absl::StrCat("rank ", rank, " is in ", NameOf(stage), " groups ",
                                          first_owner, " and ", number,
                                          "; a rank serves one group of a stage"));
        }
        first_owner = number;
        if (i > 0 && group.ranks[i - 1] > rank) {
          return LayoutError(absl::StrCat(name, ": ranks must ascend"));
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateLayout(const Layout& layout, const ModelConfig& config, bool decodes) {
  if (layout.world_size < 1) return LayoutError("a layout has at least one rank");
  for (StageKind stage : {StageKind::kEncoder, StageKind::kDecoder}) {
    if (stage == StageKind::kDecoder && !decodes) continue;
    if (layout.groups(stage).empty()) {
      return LayoutError(absl::StrCat("the layout has no ", NameOf(stage), " group"));
    }
  }
  TANDEM_RETURN_IF_ERROR(ValidateGroups(layout));
  for (StageKind stage : kStages) {
    for (const StageGroup& group : layout.groups(stage)) {
      TANDEM_RETURN_IF_ERROR(ValidateTp(stage, static_cast<int64_t>(group.ranks.size()), config));
    }
  }
  return absl::OkStatus();
}

std::vector<int> IslandSchedulers(const Layout& layout) {
  // Union-find in which the root of a set is its lowest rank.
  std::vector<int> parent(static_cast<size_t>(layout.world_size));
  std::iota(parent.begin(), parent.end(), 0);
  const auto root_of = [&](int rank) {
    while (parent[static_cast<size_t>(rank)] != rank) rank = parent[static_cast<size_t>(rank)];
    return rank;
  };
  std::vector<bool> works(parent.size(), false);
  for (StageKind stage : kStages) {
    for (const StageGroup& group : layout.groups(stage)) {
      for (int rank : group.ranks) {
        works[static_cast<size_t>(rank)] = true;
        const auto [low, high] = std::minmax({root_of(group.ranks.front()), root_of(rank)});
        parent[static_cast<size_t>(high)] = low;
      }
    }
  }
  std::vector<int> schedulers;
  for (int rank = 0; rank < layout.world_size; ++rank) {
    schedulers.push_back(works[static_cast<size_t>(rank)] ? root_of(rank) : -1);
  }
  return schedulers;
}

}  // namespace tandem
