#include "common/text/utf8.h"

#include <cstring>

namespace tandem {
namespace {

uint8_t ByteAt(absl::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// Bytes of the character that `lead` begins; 0 where it begins none.
uint32_t NumBytes(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return lead < 0xF5 ? 4 : 0;
}

// Whether `second` may follow `lead`: where overlong forms, surrogates and too large values end.
bool IsSecondByte(uint8_t lead, uint8_t second) {
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  return second >= low && second <= high;
}

// How many bytes at `position` are a character or the start of one, cut by what does not fit.
uint32_t WellFormedLength(absl::string_view text, size_t position) {
  const uint8_t lead = ByteAt(text, position);
  const uint32_t wanted = NumBytes(lead);
  if (wanted < 2) return wanted;
  uint32_t length = 1;
  while (length < wanted && position + length < text.size()) {
    const uint8_t next = ByteAt(text, position + length);
    if (length == 1 ? !IsSecondByte(lead, next) : (next & 0xC0) != 0x80) break;
    ++length;
  }
  return length;
}

}  // namespace

Utf8Character DecodeUtf8(absl::string_view text, size_t position) {
  const uint8_t lead = ByteAt(text, position);
  if (lead < 0x80) return {lead, 1, true};
  const uint32_t length = WellFormedLength(text, position);
  if (length == 0 || length < NumBytes(lead)) return {};
  char32_t value = lead & (0xFFu >> (length + 1));
  for (uint32_t i = 1; i < length; ++i) value = value << 6 | (ByteAt(text, position + i) & 0x3Fu);
  return {value, length, true};
}

bool IsValidUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    uint64_t eight;
    if (i + sizeof(eight) <= text.size()) {
      std::memcpy(&eight, text.data() + i, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        i += sizeof(eight);
        continue;
      }
    }
    const Utf8Character c = DecodeUtf8(text, i);
    if (!c.valid) return false;
    i += c.num_bytes;
  }
  return true;
}

bool IsSingleCharacter(absl::string_view text) {
  if (text.empty()) return false;
  const Utf8Character c = DecodeUtf8(text, 0);
  return c.valid && c.num_bytes == text.size();
}

void AppendUtf8(char32_t code_point, std::string* out) {
  const auto c = static_cast<uint32_t>(code_point);
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::string RepairUtf8(absl::string_view text, Utf8Repair repair) {
  std::string out;
  out.reserve(text.size());
  size_t i = 0;
  while (i < text.size()) {
    const Utf8Character c = DecodeUtf8(text, i);
    if (c.valid) {
      out.append(text.data() + i, c.num_bytes);
      i += c.num_bytes;
      continue;
    }
    out.append(kReplacementUtf8.data(), kReplacementUtf8.size());
    const uint32_t subpart = WellFormedLength(text, i);
    i += repair == Utf8Repair::kMaximalSubpart && subpart > 0 ? subpart : 1;
  }
  return out;
}

bool IsUtf8Prefix(absl::string_view bytes) {
  return bytes.empty() || (WellFormedLength(bytes, 0) == bytes.size());
}

}  // namespace tandem
