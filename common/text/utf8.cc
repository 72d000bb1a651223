#include "common/text/utf8.h"

#include <algorithm>

namespace tandem {
namespace {

uint8_t At(absl::string_view text, size_t i) {
  return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
}

// The well-formed sequences of the Unicode standard, table 3-7: how many bytes the lead asks for,
// and what the second byte may be (the others: 80 to BF). 0: no lead.
struct Lead {
  size_t length;
  uint8_t second_low;
  uint8_t second_high;
};
Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xc2) return {0, 0, 0};
  if (byte < 0xe0) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};  // No surrogates.
  if (byte < 0xf0) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

// How many bytes at the front could begin a well-formed sequence; *whole where they are one.
size_t Subpart(absl::string_view text, bool* whole) {
  const Lead lead = LeadOf(At(text, 0));
  *whole = false;
  if (lead.length == 0) return 1;
  size_t good = 1;
  while (good < lead.length && good < text.size()) {
    const uint8_t byte = At(text, good);
    const uint8_t low = good == 1 ? lead.second_low : 0x80;
    const uint8_t high = good == 1 ? lead.second_high : 0xbf;
    if (byte < low || byte > high) break;
    ++good;
  }
  *whole = good == lead.length;
  return good;
}

}  // namespace

size_t Utf8Length(absl::string_view text) {
  bool whole = false;
  const size_t length = Subpart(text, &whole);
  return whole ? length : 0;
}

std::string ToValidUtf8(absl::string_view text, ReplaceIllFormed how) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    bool whole = false;
    size_t length = Subpart(text, &whole);
    if (whole) {
      out.append(text.data(), length);
    } else {
      if (how == ReplaceIllFormed::kEachByte) length = 1;
      out += kReplacement;
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace tandem
