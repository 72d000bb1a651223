// What happens to text between the added tokens, before it is encoded: the normalizer, and the
// pre-tokenizer that cuts it, each as a list of simple steps.
#ifndef TANDEM_COMMON_TEXT_TEXT_STEPS_H_
#define TANDEM_COMMON_TEXT_TEXT_STEPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tandem {

// U+2581, which stands for a space inside of pieces.
inline constexpr absl::string_view kSpaceSymbol = "\xE2\x96\x81";

struct NormalizeStep {
  enum class Kind : uint8_t { kReplace, kPrepend };
  Kind kind = Kind::kReplace;
  std::string pattern;  // kReplace: a literal, not empty.
  std::string content;  // Put in its place, or in front of text that is not empty.
};

std::string Normalize(const std::vector<NormalizeStep>& steps, absl::string_view text);

// `text` with every `pattern` replaced by `content`, from the left, without overlaps.
std::string ReplaceLiteral(absl::string_view text, absl::string_view pattern,
                           absl::string_view content);

struct SplitStep {
  enum class Behavior : uint8_t {
    kRemoved,
    kIsolated,
    kMergedWithPrevious,
    kMergedWithNext,
    kContiguous,
  };
  std::string pattern;  // A literal, not empty.
  Behavior behavior = Behavior::kIsolated;
};

// The parts of `text` after all steps, none of them empty.
std::vector<absl::string_view> Split(const std::vector<SplitStep>& steps, absl::string_view text);

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_TEXT_STEPS_H_
