#include "common/base/json_text.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

constexpr char kReplacement[] = "\xef\xbf\xbd";

// Bytes of the valid character that starts at text[i], 0 where there is none.
size_t CharacterBytes(absl::string_view text, size_t i) {
  const auto at = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char lead = at(i);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t bytes = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (i + bytes > text.size()) return 0;
  // The second byte's range is narrower after four leads: no overlong forms, no surrogates, nothing
  // above U+10FFFF.
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (at(i + 1) < low || at(i + 1) > high) return 0;
  for (size_t k = i + 2; k < i + bytes; ++k) {
    if (at(k) < 0x80 || at(k) > 0xbf) return 0;
  }
  return bytes;
}

// The number of bytes from text[i] on that are plain ASCII, eight at a time.
size_t AsciiRun(absl::string_view text, size_t i) {
  const size_t begin = i;
  while (i + 8 <= text.size()) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080u) != 0) break;
    i += 8;
  }
  return i - begin;
}

void AppendEscape(unsigned char c, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out->append("\\\"");
      return;
    case '\\':
      out->append("\\\\");
      return;
    case '\n':
      out->append("\\n");
      return;
    case '\r':
      out->append("\\r");
      return;
    case '\t':
      out->append("\\t");
      return;
    case '\b':
      out->append("\\b");
      return;
    case '\f':
      out->append("\\f");
      return;
    default:
      out->append("\\u00");
      out->push_back(kHex[c >> 4]);
      out->push_back(kHex[c & 15]);
  }
}

}  // namespace

void AppendJsonString(absl::string_view text, std::string* out) {
  out->push_back('"');
  size_t copied = 0;  // What lies before it is in `out`.
  size_t i = 0;
  while (i < text.size()) {
    const auto c = static_cast<unsigned char>(text[i]);
    const size_t bytes = c < 0x80 ? 1 : CharacterBytes(text, i);
    const bool plain = bytes > 0 && c >= 0x20 && c != '"' && c != '\\';
    if (!plain) {
      out->append(text.data() + copied, i - copied);
      if (bytes == 0) {
        out->append(kReplacement);
      } else {
        AppendEscape(c, out);
      }
      copied = i + 1;
    }
    i += plain ? bytes : 1;
  }
  out->append(text.data() + copied, text.size() - copied);
  out->push_back('"');
}

std::string JsonString(absl::string_view text) {
  std::string out;
  AppendJsonString(text, &out);
  return out;
}

size_t FirstInvalidUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    i += AsciiRun(text, i);
    if (i == text.size()) break;
    const size_t bytes = CharacterBytes(text, i);
    if (bytes == 0) return i;
    i += bytes;
  }
  return absl::string_view::npos;
}

std::string Shorten(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "...");
}

std::string WithCommas(int64_t value) {
  const std::string digits = absl::StrCat(value);
  const size_t first = value < 0 ? 1 : 0;
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > first && (digits.size() - i) % 3 == 0) out.push_back(',');
    out.push_back(digits[i]);
  }
  return out;
}

}  // namespace tandem
