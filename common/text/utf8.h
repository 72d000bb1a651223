// UTF-8, for bytes that may be anything.
#ifndef TANDEM_COMMON_TEXT_UTF8_H_
#define TANDEM_COMMON_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace tandem {

inline constexpr char kReplacement[] = "\xef\xbf\xbd";  // U+FFFD

// Bytes of the character at the front of a non-empty text; 0 where no valid one begins there.
size_t Utf8Length(absl::string_view text);

// How ill-formed bytes are replaced by U+FFFD.
enum class ReplaceIllFormed : uint8_t {
  kEachByte,        // As SentencePiece: one a byte.
  kMaximalSubpart,  // As Unicode recommends and Python does: one for each cut-off character.
};

// The text with ill-formed parts replaced.
std::string ToValidUtf8(absl::string_view text, ReplaceIllFormed how);

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_UTF8_H_
