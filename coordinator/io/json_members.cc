#include "coordinator/io/json_members.h"

#include <cstddef>
#include <nlohmann/json.hpp>

namespace tandem {
namespace {

class Scanner {
 public:
  explicit Scanner(absl::string_view text) : text_(text) {}

  bool AtEnd() const { return at_ >= text_.size(); }
  size_t position() const { return at_; }
  char Peek() const { return AtEnd() ? '\0' : text_[at_]; }
  void Advance() {
    if (!AtEnd()) ++at_;
  }

  void SkipTo(absl::string_view stops) {
    const size_t found = text_.find_first_of(stops, at_);
    at_ = found == absl::string_view::npos ? text_.size() : found;
  }
  void SkipSpace() {
    while (!AtEnd() && (Peek() == ' ' || Peek() == '\t' || Peek() == '\r' || Peek() == '\n')) ++at_;
  }

  // Past a string that starts here.
  void SkipString() {
    Advance();
    SkipTo("\"\\");
    while (Peek() == '\\') {
      Advance();
      Advance();
      SkipTo("\"\\");
    }
    Advance();
  }

  // Past a value that starts here.
  void SkipValue() {
    if (Peek() == '"') return SkipString();
    if (Peek() != '{' && Peek() != '[') return SkipTo(",}] \t\r\n");
    int depth = 0;
    do {
      const char c = Peek();
      if (c == '"') {
        SkipString();
      } else {
        depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
        Advance();
        if (depth > 0) SkipTo("\"{}[]");
      }
    } while (depth > 0 && !AtEnd());
  }

 private:
  absl::string_view text_;
  size_t at_ = 0;
};

}  // namespace

void VisitMembersByKey(
    absl::string_view json,
    absl::FunctionRef<void(absl::string_view key, absl::string_view value)> visit) {
  Scanner scanner(json);
  scanner.SkipTo("{");
  scanner.Advance();
  while (!scanner.AtEnd()) {
    scanner.SkipTo("\"}");
    if (scanner.Peek() != '"') return;  // An empty object.
    const size_t key = scanner.position();
    scanner.SkipString();
    const size_t key_end = scanner.position();
    scanner.SkipTo(":");
    scanner.Advance();
    scanner.SkipSpace();
    const size_t begin = scanner.position();
    scanner.SkipValue();
    visit(json.substr(key, key_end - key), json.substr(begin, scanner.position() - begin));
    scanner.SkipTo(",}");
    if (scanner.Peek() != ',') return;
    scanner.Advance();
  }
}

void VisitMembers(absl::string_view json,
                  absl::FunctionRef<void(int64_t index, absl::string_view value)> visit) {
  int64_t index = 0;
  VisitMembersByKey(json,
                    [&](absl::string_view, absl::string_view value) { visit(index++, value); });
}

void VisitElements(absl::string_view json,
                   absl::FunctionRef<bool(int64_t index, absl::string_view value)> visit) {
  Scanner scanner(json);
  scanner.SkipTo("[");
  scanner.Advance();
  for (int64_t index = 0; !scanner.AtEnd(); ++index) {
    scanner.SkipSpace();
    if (scanner.Peek() == ']') return;  // An empty array.
    const size_t begin = scanner.position();
    scanner.SkipValue();
    if (!visit(index, json.substr(begin, scanner.position() - begin))) return;
    scanner.SkipTo(",]");
    if (scanner.Peek() != ',') return;
    scanner.Advance();
  }
}

std::string DecodeJsonString(absl::string_view json) {
  const nlohmann::json value =
      nlohmann::json::parse(json.begin(), json.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
  return value.is_string() ? value.get<std::string>() : std::string();
}

}  // namespace tandem
