// The layout file.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/parallel/layout.h"
#include "common/parallel/layout_rules.h"

namespace tandem {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;  // Thousands of ranks fit many times over.

absl::Status ErrorAt(const YAML::Mark& mark, absl::string_view message) {
  if (mark.is_null()) return LayoutError(absl::StrCat("layout: ", message));
  return LayoutError(absl::StrCat("layout, line ", mark.line + 1, ": ", message));
}

// Insertions, deletions and replacements that make one word the other.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

absl::Status UnknownKey(const YAML::Node& key, const std::vector<std::string>& known) {
  const std::string name = key.IsScalar() ? key.Scalar().substr(0, 60) : "(not a word)";
  const auto nearest = std::min_element(
      known.begin(), known.end(),
      [&](const auto& a, const auto& b) { return EditDistance(name, a) < EditDistance(name, b); });
  const bool near = EditDistance(name, *nearest) <= std::max<size_t>(2, nearest->size() / 3);
  return ErrorAt(key.Mark(),
                 absl::StrCat("unknown key '", name, "'; ",
                              near ? absl::StrCat("did you mean '", *nearest, "'?")
                                   : absl::StrCat("known are ", absl::StrJoin(known, ", "))));
}

// A map in which each key is one of `known` and comes once.
absl::Status CheckKeys(const YAML::Node& map, const std::vector<std::string>& known) {
  std::set<std::string> seen;
  for (const auto& entry : map) {
    const YAML::Node& key = entry.first;
    if (!key.IsScalar() || std::find(known.begin(), known.end(), key.Scalar()) == known.end()) {
      return UnknownKey(key, known);
    }
    if (!seen.insert(key.Scalar()).second) {
      return ErrorAt(key.Mark(), absl::StrCat("key '", key.Scalar(), "' comes twice"));
    }
  }
  return absl::OkStatus();
}

// One number or a range: "4", "3-6". Appends the ranks.
absl::Status ParseRankRange(const YAML::Node& node, const std::string& group_name, int world_size,
                            std::vector<int>* ranks) {
  const std::string text = node.IsScalar() ? node.Scalar() : "";
  const std::vector<absl::string_view> ends = absl::StrSplit(text, absl::MaxSplits('-', 1));
  int64_t first = 0;
  int64_t last = 0;
  if (!absl::SimpleAtoi(ends.front(), &first) || !absl::SimpleAtoi(ends.back(), &last) ||
      first > last) {
    return ErrorAt(
        node.Mark(),
        absl::StrCat(group_name, ": ranks are numbers or ranges, as [1, 2] or 3-6",
                     text.empty() ? "" : absl::StrCat(", not '", text.substr(0, 60), "'")));
  }
  // Before a range is written out: its length is the file's to choose.
  if (first < 0 || last >= world_size) {
    const absl::Status error = RankOutsideJob(group_name, first < 0 ? first : last, world_size);
    return ErrorAt(node.Mark(), error.message());
  }
  if (ranks->size() + static_cast<size_t>(last - first) >= kMaxFileBytes) {
    return ErrorAt(node.Mark(), absl::StrCat(group_name, ": too many ranks"));
  }
  for (int64_t rank = first; rank <= last; ++rank) ranks->push_back(static_cast<int>(rank));
  return absl::OkStatus();
}

absl::StatusOr<StageGroup> ParseGroup(const YAML::Node& node, const std::string& group_name,
                                      int world_size) {
  if (!node.IsMap()) {
    return ErrorAt(
        node.Mark(),
        absl::StrCat(group_name, ": a group is written {ranks: [1, 2]} or {ranks: 3-6}"));
  }
  TANDEM_RETURN_IF_ERROR(CheckKeys(node, {"ranks"}));
  const YAML::Node ranks = node["ranks"];
  if (!ranks.IsDefined() || ranks.IsNull()) {
    return ErrorAt(node.Mark(), absl::StrCat(group_name, " has no ranks"));
  }
  StageGroup group;
  if (ranks.IsSequence()) {
    for (const YAML::Node& item : ranks) {
      TANDEM_RETURN_IF_ERROR(ParseRankRange(item, group_name, world_size, &group.ranks));
    }
  } else {
    TANDEM_RETURN_IF_ERROR(ParseRankRange(ranks, group_name, world_size, &group.ranks));
  }
  std::sort(group.ranks.begin(), group.ranks.end());  // The order of ranks has no meaning here.
  return group;
}

absl::Status ParseStage(const YAML::Node& node, StageKind stage, Layout* layout) {
  if (!node.IsSequence() || node.size() == 0) {
    return ErrorAt(node.Mark(),
                   absl::StrCat(NameOf(stage), " takes a list of groups: [{ranks: [1, 2]}]"));
  }
  std::vector<StageGroup>& groups = layout->stages[static_cast<int>(stage)];
  for (const YAML::Node& item : node) {
    const std::string name = absl::StrCat(NameOf(stage), " group ", groups.size() + 1);
    TANDEM_ASSIGN_OR_RETURN(StageGroup group, ParseGroup(item, name, layout->world_size));
    groups.push_back(std::move(group));
    // Groups so far are right, so an error is this one's, and so is the line.
    if (const absl::Status status = ValidateGroups(*layout); !status.ok()) {
      return ErrorAt(item.Mark(), status.message());
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Layout> ParseRoot(const YAML::Node& root, int world_size, bool decodes) {
  if (!root.IsMap()) {
    return ErrorAt(root.Mark(), "expected the keys coordinator, vision, encoder and decoder");
  }
  TANDEM_RETURN_IF_ERROR(CheckKeys(root, {"coordinator", "vision", "encoder", "decoder"}));
  Layout layout;
  layout.world_size = world_size;
  if (const YAML::Node coordinator = root["coordinator"]; coordinator.IsDefined()) {
    const std::string value = coordinator.IsScalar() ? coordinator.Scalar() : "";
    if (value != "own" && value != "shared") {
      return ErrorAt(coordinator.Mark(), "coordinator is 'own' or 'shared'");
    }
    layout.own_coordinator = value == "own";
  }
  for (StageKind stage : kStages) {
    const YAML::Node node = root[std::string(NameOf(stage))];
    if (node.IsDefined()) TANDEM_RETURN_IF_ERROR(ParseStage(node, stage, &layout));
  }
  for (StageKind stage : {StageKind::kEncoder, StageKind::kDecoder}) {
    if (stage == StageKind::kDecoder && !decodes) continue;
    if (layout.groups(stage).empty()) {
      return LayoutError(absl::StrCat("layout: the key '", NameOf(stage), "' is missing"));
    }
  }
  return layout;
}

std::string RanksToYaml(const std::vector<int>& ranks) {
  const bool is_range = ranks.size() > 2 &&
                        ranks.back() - ranks.front() == static_cast<int>(ranks.size()) - 1 &&
                        std::is_sorted(ranks.begin(), ranks.end());
  return is_range ? absl::StrCat(ranks.front(), "-", ranks.back())
                  : absl::StrCat("[", absl::StrJoin(ranks, ", "), "]");
}

}  // namespace

absl::StatusOr<Layout> ParseLayout(absl::string_view yaml, int world_size, bool decodes) {
  if (yaml.size() > kMaxFileBytes) {
    return LayoutError(absl::StrCat("layout: the file has ", yaml.size(), " bytes; ", kMaxFileBytes,
                                    " are the limit"));
  }
  try {
    return ParseRoot(YAML::Load(std::string(yaml)), world_size, decodes);
  } catch (const YAML::Exception& error) {
    return ErrorAt(error.mark, error.msg);
  }
}

std::string LayoutToYaml(const Layout& layout) {
  std::string out = absl::StrCat("# ", Count(layout.world_size, "rank"), "\n",
                                 "coordinator: ", layout.own_coordinator ? "own" : "shared", "\n");
  for (StageKind stage : kStages) {
    const std::vector<StageGroup>& groups = layout.groups(stage);
    if (groups.empty()) continue;
    absl::StrAppend(&out, NameOf(stage), ": [",
                    absl::StrJoin(groups, ", ",
                                  [](std::string* text, const StageGroup& group) {
                                    absl::StrAppend(text, "{ranks: ", RanksToYaml(group.ranks),
                                                    "}");
                                  }),
                    "]\n");
  }
  return out;
}

}  // namespace tandem
