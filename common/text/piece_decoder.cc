#include "common/text/piece_decoder.h"

#include "absl/strings/str_format.h"
#include "common/text/utf8.h"

namespace tandem {
namespace {

int32_t HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

void AppendReplacements(size_t count, std::string* out) {
  for (size_t i = 0; i < count; ++i) out->append(kReplacementUtf8.data(), kReplacementUtf8.size());
}

}  // namespace

int32_t ByteOfPiece(absl::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  // Rust's number parser, which tokenizer.json's decoder uses, takes a plus sign.
  const int32_t high = piece[3] == '+' ? 0 : HexDigit(piece[3]);
  const int32_t low = HexDigit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string PieceOfByte(uint8_t byte) { return absl::StrFormat("<0x%02X>", byte); }

void PieceDecoder::Append(const DecodedPiece& piece) {
  texts_ += piece.text;
  begins_.push_back(texts_.size());
  kinds_.push_back(piece.absent ? kAbsent
                                : static_cast<int16_t>(piece.byte >= 0 ? piece.byte : kText));
}

void PieceDecoder::StripFront(char32_t content, int32_t count) {
  strip_content_.clear();
  AppendUtf8(content, &strip_content_);
  strip_count_ = count;
}

absl::string_view PieceDecoder::TextOf(int32_t id) const {
  const auto i = static_cast<size_t>(id);
  return absl::string_view(texts_).substr(begins_[i], begins_[i + 1] - begins_[i]);
}

void PieceDecoder::Next(int32_t id, DecodeState* state, std::string* out) const {
  if (IsAbsent(id)) return;
  const int16_t kind = kinds_[static_cast<size_t>(id)];
  if (kind != kText) return NextByte(static_cast<char>(kind), state, out);
  EndRun(state, out);
  Emit(TextOf(id), state, out);
}

void PieceDecoder::End(DecodeState* state, std::string* out) const { EndRun(state, out); }

void PieceDecoder::NextByte(char byte, DecodeState* state, std::string* out) const {
  std::string& bytes = state->bytes;
  bytes.push_back(byte);
  if (byte_run_ == ByteRun::kWholeRun) return;  // A later byte may still spoil it.
  std::string text;
  while (!bytes.empty()) {
    const Utf8Character c = DecodeUtf8(bytes, 0);
    if (c.valid) {
      text.append(bytes, 0, c.num_bytes);
    } else if (IsUtf8Prefix(bytes)) {
      break;
    } else {
      AppendReplacements(1, &text);
    }
    bytes.erase(0, c.num_bytes);
  }
  Emit(text, state, out);
}

void PieceDecoder::EndRun(DecodeState* state, std::string* out) const {
  if (state->bytes.empty()) return;
  std::string text;
  if (byte_run_ == ByteRun::kWholeRun && IsValidUtf8(state->bytes)) {
    text = state->bytes;
  } else {  // With kEachCharacter only the start of a character is left.
    AppendReplacements(state->bytes.size(), &text);
  }
  state->bytes.clear();
  Emit(text, state, out);
}

void PieceDecoder::Emit(absl::string_view text, DecodeState* state, std::string* out) const {
  while (!text.empty() && state->num_stripped >= 0 && state->num_stripped < strip_count_) {
    if (text.substr(0, strip_content_.size()) != strip_content_) {
      state->num_stripped = -1;
      break;
    }
    text.remove_prefix(strip_content_.size());
    ++state->num_stripped;
  }
  out->append(text.data(), text.size());
}

}  // namespace tandem
