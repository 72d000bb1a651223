// Text as JSON and UTF-8 want it; shared by logs, results and messages.
#ifndef TANDEM_COMMON_BASE_JSON_TEXT_H_
#define TANDEM_COMMON_BASE_JSON_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace tandem {

// Appends `text` as a JSON string, quotes included. Escapes only what JSON demands (quote,
// backslash, control characters); each byte that is not part of valid UTF-8 becomes U+FFFD, so that
// the output is always valid.
void AppendJsonString(absl::string_view text, std::string* out);
std::string JsonString(absl::string_view text);

// The offset of the first byte that does not belong to valid UTF-8 (overlong forms, surrogates and
// code points above U+10FFFF are not valid); npos where all is.
size_t FirstInvalidUtf8(absl::string_view text);

// `text` cut to at most max_bytes, at the end of a character, with "..." behind it where it was
// cut.
std::string Shorten(absl::string_view text, size_t max_bytes);

// 131072 as "131,072".
std::string WithCommas(int64_t value);

}  // namespace tandem

#endif  // TANDEM_COMMON_BASE_JSON_TEXT_H_
