// Tokens that are matched as whole strings, before the rest of a text is encoded.
#ifndef TANDEM_COMMON_TEXT_ADDED_TOKENS_H_
#define TANDEM_COMMON_TEXT_ADDED_TOKENS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "common/text/literal_matcher.h"

namespace tandem {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false;
  bool normalized = false;   // Matched in the normalized text, in its normalized form.
  bool lstrip = false;       // Takes the white space in front along,
  bool rstrip = false;       // or behind.
  bool single_word = false;  // Not beside a letter, digit or underscore.
};

// Immutable, thus thread-safe.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  // The contents as they are to be matched.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // Calls on_text(part) and on_token(token) in the order of the text; parts are not empty.
  void Split(absl::string_view text, absl::FunctionRef<void(absl::string_view part)> on_text,
             absl::FunctionRef<void(const AddedToken& token)> on_token) const;

 private:
  std::vector<AddedToken> tokens_;
  LiteralMatcher matcher_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_ADDED_TOKENS_H_
