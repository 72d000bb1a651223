// The two classes of characters that added tokens ask for.
#ifndef TANDEM_COMMON_TEXT_UNICODE_CLASSES_H_
#define TANDEM_COMMON_TEXT_UNICODE_CLASSES_H_

namespace tandem {

bool IsWhiteSpace(char32_t c);     // Unicode's White_Space; \s of regular expressions.
bool IsWordCharacter(char32_t c);  // Letters, marks, digits, connectors, joiners; \w.

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_UNICODE_CLASSES_H_
