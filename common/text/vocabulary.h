// What both tokenizer files come down to: pieces, merges, and tokens that are matched as whole
// strings.
#ifndef TANDEM_COMMON_TEXT_VOCABULARY_H_
#define TANDEM_COMMON_TEXT_VOCABULARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/text/bpe.h"

namespace tandem {

inline constexpr char kWordMark[] = "\xe2\x96\x81";  // U+2581, which stands for a space.

enum class PieceKind : uint8_t {
  kNormal,
  kByte,  // <0xNN>
  kUnknown,
  kControl,  // tokenizer.model: never made of text, and no text itself.
};

// A token matched as a whole string before BPE.
struct WholeToken {
  std::string text;
  int32_t id = 0;
  bool special = false;
  bool normalized = false;  // Matched after spaces became marks (its text has marks then).
};

struct Vocabulary {
  std::vector<std::string> pieces;  // By id.
  std::vector<PieceKind> kinds;
  std::vector<bool> special;  // Left out where special tokens are skipped.
  BpeModel bpe;
  std::vector<WholeToken> whole_tokens;
  // Text gets these in front and behind where special tokens are added.
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
  bool spaces_to_marks = true;
  bool sentencepiece =
      false;  // Its ways of decoding and of ill-formed UTF-8, else those of tokenizer.json.
};

// "<0x0A>": the byte; -1 for any other text.
int ByteOfPiece(absl::string_view piece);

// Readers of the two formats. `bytes` may be anything; `path` is for messages. DATA_LOSS for a
// damaged file, INVALID_ARGUMENT for something in it that is not supported, by its name.
absl::StatusOr<Vocabulary> ReadTokenizerJson(absl::string_view bytes, const std::string& path);
absl::StatusOr<Vocabulary> ReadSentencePiece(absl::string_view bytes, const std::string& path);

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_VOCABULARY_H_
