#include "common/text/literal_matcher.h"

#include <algorithm>
#include <numeric>

#include "common/base/check.h"

namespace tandem {

LiteralMatcher::LiteralMatcher(const std::vector<absl::string_view>& literals) {
  if (literals.empty()) return;
  std::vector<int32_t> order(literals.size());
  std::iota(order.begin(), order.end(), 0);
  const auto text = [&](int32_t i) { return literals[static_cast<size_t>(i)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return text(a) < text(b); });

  // Each node owns the range of the sorted literals that share its prefix; breadth first, so that
  // the edges of a node lie side by side.
  struct Range {
    size_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, order.size(), 0}};
  nodes_.emplace_back();
  for (size_t n = 0; n < ranges.size(); ++n) {
    auto [begin, end, depth] = ranges[n];
    if (text(order[begin]).size() == depth) {
      TANDEM_CHECK(depth > 0);  // An empty literal stands everywhere.
      nodes_[n].literal = order[begin];
      while (begin < end && text(order[begin]).size() == depth) ++begin;
    }
    nodes_[n].first_edge = static_cast<uint32_t>(edges_.size());
    while (begin < end) {
      const char byte = text(order[begin])[depth];
      size_t next = begin + 1;
      while (next < end && text(order[next])[depth] == byte) ++next;
      edges_.push_back({static_cast<uint8_t>(byte), static_cast<uint32_t>(nodes_.size())});
      ++nodes_[n].num_edges;
      nodes_.emplace_back();
      ranges.push_back({begin, next, depth + 1});
      begin = next;
    }
  }
  for (uint32_t e = 0; e < nodes_[0].num_edges; ++e) may_begin_[edges_[e].byte] = true;
}

LiteralMatcher::Match LiteralMatcher::LongestAt(absl::string_view text, size_t position) const {
  Match match;
  if (nodes_.empty()) return match;
  const Node* node = nodes_.data();
  for (size_t i = position; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const Edge* const first = edges_.data() + node->first_edge;
    const Edge* const last = first + node->num_edges;
    const Edge* const edge = std::lower_bound(
        first, last, byte, [](const Edge& e, uint8_t value) { return e.byte < value; });
    if (edge == last || edge->byte != byte) break;
    node = &nodes_[edge->node];
    if (node->literal >= 0) match = {node->literal, position, i + 1};
  }
  return match;
}

LiteralMatcher::Match LiteralMatcher::Next(absl::string_view text, size_t from) const {
  if (nodes_.empty()) return {};
  for (size_t i = from; i < text.size(); ++i) {
    if (!may_begin_[static_cast<uint8_t>(text[i])]) continue;
    const Match match = LongestAt(text, i);
    if (match.literal >= 0) return match;
  }
  return {};
}

}  // namespace tandem
