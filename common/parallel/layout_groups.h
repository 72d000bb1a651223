// All groups of a layout in one list, so that a group has one number everywhere.
#ifndef TANDEM_COMMON_PARALLEL_LAYOUT_GROUPS_H_
#define TANDEM_COMMON_PARALLEL_LAYOUT_GROUPS_H_

#include <algorithm>
#include <vector>

#include "common/parallel/layout.h"

namespace tandem {

struct LayoutGroup {
  int id = 0;  // Its index in AllGroups.
  StageKind stage = StageKind::kEncoder;
  int index = 0;           // Among the groups of its stage.
  std::vector<int> ranks;  // Sorted; the first leads.

  int leader() const { return ranks.front(); }
  int tp_size() const { return static_cast<int>(ranks.size()); }
  // This rank's place in the group; -1 where it is no member.
  int TpRankOf(int rank) const {
    const auto found = std::find(ranks.begin(), ranks.end(), rank);
    return found == ranks.end() ? -1 : static_cast<int>(found - ranks.begin());
  }
  bool Has(int rank) const { return TpRankOf(rank) >= 0; }
};

inline std::vector<LayoutGroup> AllGroups(const Layout& layout) {
  std::vector<LayoutGroup> groups;
  for (const StageKind stage : {StageKind::kVision, StageKind::kEncoder, StageKind::kDecoder}) {
    int index = 0;
    for (const StageGroup& group : layout.groups(stage)) {
      LayoutGroup out{.id = static_cast<int>(groups.size()),
                      .stage = stage,
                      .index = index++,
                      .ranks = group.ranks};
      std::sort(out.ranks.begin(), out.ranks.end());
      groups.push_back(std::move(out));
    }
  }
  return groups;
}

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_LAYOUT_GROUPS_H_
