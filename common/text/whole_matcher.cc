#include "common/text/whole_matcher.h"

namespace tandem {
namespace {

uint64_t Edge(int32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
}

}  // namespace

void WholeMatcher::Add(absl::string_view text, int32_t value) {
  if (text.empty()) return;
  first_bytes_[static_cast<uint8_t>(text.front())] = true;
  int32_t node = 0;
  for (const char byte : text) {
    const auto [edge, added] =
        edges_.try_emplace(Edge(node, byte), static_cast<int32_t>(values_.size()));
    if (added) values_.push_back(-1);
    node = edge->second;
  }
  values_[static_cast<size_t>(node)] = value;
}

WholeMatcher::Match WholeMatcher::Find(absl::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!first_bytes_[static_cast<uint8_t>(text[begin])]) continue;
    Match match;
    int32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto edge = edges_.find(Edge(node, text[at]));
      if (edge == edges_.end()) break;
      node = edge->second;
      const int32_t value = values_[static_cast<size_t>(node)];
      if (value >= 0) match = {begin, at + 1 - begin, value};
    }
    if (match.length > 0) return match;
  }
  return {};
}

}  // namespace tandem
