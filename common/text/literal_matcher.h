// Finds any of many fixed strings in a text: leftmost first, longest of those.
#ifndef TANDEM_COMMON_TEXT_LITERAL_MATCHER_H_
#define TANDEM_COMMON_TEXT_LITERAL_MATCHER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"

namespace tandem {

// A byte trie, walked from each place where a match may begin. Immutable, thus thread-safe.
class LiteralMatcher {
 public:
  struct Match {
    int32_t literal = -1;  // Index into the constructor's list; -1: no match.
    size_t begin = 0;
    size_t end = 0;
  };

  LiteralMatcher() = default;
  // Literals are not empty; of equal ones the first is reported.
  explicit LiteralMatcher(const std::vector<absl::string_view>& literals);

  bool empty() const { return nodes_.empty(); }
  // The longest literal that stands at `position`.
  Match LongestAt(absl::string_view text, size_t position) const;
  // The first place at or after `from` where a literal stands, and the longest there.
  Match Next(absl::string_view text, size_t from) const;

 private:
  struct Node {
    uint32_t first_edge = 0;
    uint32_t num_edges = 0;
    int32_t literal = -1;  // The literal that ends here.
  };
  struct Edge {
    uint8_t byte;
    uint32_t node;
  };

  std::array<bool, 256> may_begin_ = {};
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_LITERAL_MATCHER_H_
