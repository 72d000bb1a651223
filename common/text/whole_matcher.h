// Finds tokens that are matched as whole strings: at each place the longest, from left to right.
#ifndef TANDEM_COMMON_TEXT_WHOLE_MATCHER_H_
#define TANDEM_COMMON_TEXT_WHOLE_MATCHER_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace tandem {

class WholeMatcher {
 public:
  // `value` comes back with each match; adding a text again replaces its value.
  void Add(absl::string_view text, int32_t value);

  struct Match {
    size_t begin = 0;
    size_t length = 0;  // 0: none in the text.
    int32_t value = -1;
  };
  // The first match at or behind `from`.
  Match Find(absl::string_view text, size_t from) const;

 private:
  absl::flat_hash_map<uint64_t, int32_t> edges_;  // node << 8 | byte -> node
  std::vector<int32_t> values_ = {-1};            // By node; -1: no text ends here.
  std::array<bool, 256> first_bytes_{};
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_WHOLE_MATCHER_H_
