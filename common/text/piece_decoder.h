// Ids back to text.
#ifndef TANDEM_COMMON_TEXT_PIECE_DECODER_H_
#define TANDEM_COMMON_TEXT_PIECE_DECODER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/text/tokenizer.h"

namespace tandem {

// What one piece is when text is made of it. At most one of the three.
struct DecodedPiece {
  std::string text;
  int32_t byte = -1;    // 0 to 255 for a byte piece.
  bool absent = false;  // No such id.
};

class PieceDecoder {
 public:
  enum class ByteRun : uint8_t {
    kEachCharacter,  // Valid characters stay, every other byte is U+FFFD (SentencePiece).
    kWholeRun,       // One invalid byte makes every byte of the run U+FFFD (tokenizer.json).
  };

  PieceDecoder() = default;
  explicit PieceDecoder(ByteRun byte_run) : byte_run_(byte_run) {}

  // In the order of the ids.
  void Append(const DecodedPiece& piece);
  // Takes up to `count` characters `content` off the front of the whole text.
  void StripFront(char32_t content, int32_t count);

  void Next(int32_t id, DecodeState* state, std::string* out) const;
  void End(DecodeState* state, std::string* out) const;
  // The byte of a byte piece, -1 for any other id.
  int32_t ByteOf(int32_t id) const { return IsAbsent(id) ? -1 : kinds_[static_cast<size_t>(id)]; }

 private:
  static constexpr int16_t kText = -1;
  static constexpr int16_t kAbsent = -2;

  absl::string_view TextOf(int32_t id) const;
  bool IsAbsent(int32_t id) const {
    return id < 0 || static_cast<size_t>(id) >= kinds_.size() ||
           kinds_[static_cast<size_t>(id)] == kAbsent;
  }
  void NextByte(char byte, DecodeState* state, std::string* out) const;
  void EndRun(DecodeState* state, std::string* out) const;
  void Emit(absl::string_view text, DecodeState* state, std::string* out) const;

  ByteRun byte_run_ = ByteRun::kEachCharacter;
  std::string texts_;  // Of all pieces, one after the other.
  std::vector<size_t> begins_ = {0};
  std::vector<int16_t> kinds_;  // The byte, kText or kAbsent.
  std::string strip_content_;
  int32_t strip_count_ = 0;
};

// The byte of "<0xNN>", -1 for other texts.
int32_t ByteOfPiece(absl::string_view piece);
std::string PieceOfByte(uint8_t byte);

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_PIECE_DECODER_H_
