// UTF-8 as the tokenizers' references read it: strict, with their two ways to replace what is not.
#ifndef TANDEM_COMMON_TEXT_UTF8_H_
#define TANDEM_COMMON_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace tandem {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;
inline constexpr absl::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

struct Utf8Character {
  char32_t code_point = kReplacementCharacter;
  uint32_t num_bytes = 1;  // 1 where the bytes are no character.
  bool valid = false;
};

// The character at text[position]; position < text.size(). Overlong forms, surrogates and values
// above U+10FFFF are no characters.
Utf8Character DecodeUtf8(absl::string_view text, size_t position);

// The same for text that is known to be valid.
inline Utf8Character DecodeValidUtf8(absl::string_view text, size_t position) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[position + i]); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3Fu), 2, true};
  const uint32_t tail = (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | tail, 3, true};
  return {(lead & 0x07) << 18 | tail << 6 | (byte(3) & 0x3Fu), 4, true};
}

bool IsValidUtf8(absl::string_view text);
bool IsSingleCharacter(absl::string_view text);
void AppendUtf8(char32_t code_point, std::string* out);

enum class Utf8Repair : uint8_t {
  kEveryByte,       // One U+FFFD for each byte that begins no character (SentencePiece).
  kMaximalSubpart,  // One for the longest start of a character (Unicode, Python's "replace").
};

// `text` with U+FFFD for what is not UTF-8.
std::string RepairUtf8(absl::string_view text, Utf8Repair repair);

// Whether the bytes so far may still become one character: "\xE2\x96" may, "\xE2\x28" may not.
bool IsUtf8Prefix(absl::string_view bytes);

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_UTF8_H_
