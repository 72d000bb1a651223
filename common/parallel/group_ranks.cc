#include "common/parallel/group_ranks.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tandem {

absl::StatusOr<int> FindInGroup(absl::Span<const int> ranks, int rank, int world_size) {
  int found = -1;
  bool ascending = true;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i] == rank) found = static_cast<int>(i);
    const int lower_bound = i == 0 ? 0 : ranks[i - 1] + 1;
    ascending = ascending && ranks[i] >= lower_bound && ranks[i] < world_size;
  }
  if (ascending && found >= 0) return found;
  return absl::InvalidArgumentError(absl::StrCat(
      "rank ", rank, " cannot form the group [", absl::StrJoin(ranks, ", "), "] in a job of ",
      world_size, " ranks: a group's ranks ascend, exist, and hold the rank that makes it"));
}

}  // namespace tandem
