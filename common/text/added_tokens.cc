#include "common/text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "common/text/unicode_classes.h"
#include "common/text/utf8.h"

namespace tandem {
namespace {

// The character that ends before `position`; position > 0, valid UTF-8.
Utf8Character CharacterBefore(absl::string_view text, size_t position) {
  size_t begin = position - 1;
  while ((static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return DecodeValidUtf8(text, begin);
}

bool IsAloneAsWord(absl::string_view text, size_t begin, size_t end) {
  if (begin > 0 && IsWordCharacter(CharacterBefore(text, begin).code_point)) return false;
  return end == text.size() || !IsWordCharacter(DecodeValidUtf8(text, end).code_point);
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::vector<absl::string_view> contents;
  contents.reserve(tokens_.size());
  for (const AddedToken& token : tokens_) contents.emplace_back(token.content);
  matcher_ = LiteralMatcher(contents);
}

void AddedTokenMatcher::Split(absl::string_view text,
                              absl::FunctionRef<void(absl::string_view part)> on_text,
                              absl::FunctionRef<void(const AddedToken& token)> on_token) const {
  size_t taken = 0;      // All before is given out; beyond the last match where it had rstrip.
  size_t space_end = 0;  // Where the run of white space ends that the last rstrip looked at.
  size_t from = 0;
  while (true) {
    const LiteralMatcher::Match match = matcher_.Next(text, from);
    if (match.literal < 0) break;
    from = match.end;
    const AddedToken& token = tokens_[static_cast<size_t>(match.literal)];
    if (token.single_word && !IsAloneAsWord(text, match.begin, match.end)) continue;
    size_t begin = match.begin;
    size_t end = match.end;
    if (token.lstrip) {
      while (begin > taken) {
        const Utf8Character c = CharacterBefore(text, begin);
        if (!IsWhiteSpace(c.code_point)) break;
        begin -= c.num_bytes;
      }
    }
    if (token.rstrip) {
      // A match inside a run that was looked at has the same end: no second walk.
      if (end < space_end) end = space_end;
      while (end < text.size()) {
        const Utf8Character c = DecodeValidUtf8(text, end);
        if (!IsWhiteSpace(c.code_point)) break;
        end += c.num_bytes;
      }
      space_end = end;
    }
    // After an rstrip, a token within the white space it took still counts, as in the reference.
    if (taken < begin) on_text(text.substr(taken, begin - taken));
    on_token(token);
    taken = end;
  }
  if (taken < text.size()) on_text(text.substr(taken));
}

}  // namespace tandem
