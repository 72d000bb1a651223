// tokenizer.model: SentencePiece's ModelProto, read with a bounded reader of the protobuf wire
// format. Fields: ModelProto { pieces = 1, trainer_spec = 2, normalizer_spec = 3 }; SentencePiece {
// piece = 1, score = 2, type = 3 }; TrainerSpec { model_type = 3, byte_fallback = 35 };
// NormalizerSpec { precompiled_charsmap = 2, add_dummy_prefix = 3, remove_extra_whitespaces = 4,
// escape_whitespaces = 5 }.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/text/utf8.h"
#include "common/text/vocabulary.h"

namespace tandem {
namespace {

constexpr int kMaxPieces = 1 << 22;

// One field of a message: a number (varint, or the bits of a fixed one) or bytes.
struct WireField {
  uint32_t number = 0;
  uint32_t type = 0;  // 0 varint, 1 64-bit, 2 bytes, 5 32-bit.
  uint64_t value = 0;
  absl::string_view bytes;
};

class WireReader {
 public:
  explicit WireReader(absl::string_view bytes) : rest_(bytes) {}

  bool AtEnd() const { return rest_.empty(); }
  // None where the bytes do not hold a whole field.
  std::optional<WireField> Next() {
    WireField field;
    uint64_t tag = 0;
    if (!Varint(&tag) || tag >> 32 != 0 || tag >> 3 == 0) return std::nullopt;
    field.number = static_cast<uint32_t>(tag >> 3);
    field.type = static_cast<uint32_t>(tag & 7);
    switch (field.type) {
      case 0:
        return Varint(&field.value) ? std::optional(field) : std::nullopt;
      case 1:
        return Fixed(8, &field.value) ? std::optional(field) : std::nullopt;
      case 5:
        return Fixed(4, &field.value) ? std::optional(field) : std::nullopt;
      case 2: {
        uint64_t size = 0;
        if (!Varint(&size) || size > rest_.size()) return std::nullopt;
        field.bytes = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return field;
      }
      default:
        return std::nullopt;
    }
  }

 private:
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }
  bool Fixed(size_t size, uint64_t* value) {
    if (rest_.size() < size) return false;
    *value = 0;
    std::memcpy(value, rest_.data(), size);
    rest_.remove_prefix(size);
    return true;
  }

  absl::string_view rest_;
};

struct Piece {
  std::string text;
  float score = 0;
  uint64_t type = 1;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
};

class SentencePieceReader {
 public:
  SentencePieceReader(absl::string_view bytes, const std::string& path)
      : bytes_(bytes), path_(path) {}

  absl::StatusOr<Vocabulary> Read() {
    TANDEM_RETURN_IF_ERROR(
        EachField(bytes_, "the model", [this](const WireField& field) -> absl::Status {
          if (field.number == 1 && field.type == 2) return ReadPiece(field.bytes);
          if (field.number == 2 && field.type == 2) return ReadTrainer(field.bytes);
          if (field.number == 3 && field.type == 2) return ReadNormalizer(field.bytes);
          return absl::OkStatus();
        }));
    if (pieces_.empty()) return Damaged("it has no pieces");
    if (model_type_ != 2) {
      return Unsupported(
          absl::StrCat("model type ", model_type_, "; only BPE (type 2) is supported"));
    }
    return Build();
  }

 private:
  absl::Status Damaged(absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat(path_, ": ", what, "; the file is damaged: fetch it again"));
  }
  absl::Status Unsupported(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": unsupported ", what));
  }

  absl::Status EachField(absl::string_view bytes, absl::string_view what,
                         const std::function<absl::Status(const WireField&)>& use) const {
    WireReader reader(bytes);
    while (!reader.AtEnd()) {
      const std::optional<WireField> field = reader.Next();
      if (!field.has_value()) {
        return Damaged(absl::StrCat(what, " ends in the middle of a field"));
      }
      TANDEM_RETURN_IF_ERROR(use(*field));
    }
    return absl::OkStatus();
  }

  absl::Status ReadPiece(absl::string_view bytes) {
    Piece piece;
    TANDEM_RETURN_IF_ERROR(
        EachField(bytes, absl::StrCat("piece ", pieces_.size()), [&](const WireField& field) {
          if (field.number == 1 && field.type == 2) piece.text = std::string(field.bytes);
          if (field.number == 2 && field.type == 5) {
            const auto bits = static_cast<uint32_t>(field.value);
            std::memcpy(&piece.score, &bits, sizeof bits);
          }
          if (field.number == 3 && field.type == 0) piece.type = field.value;
          return absl::OkStatus();
        }));
    const std::string where = absl::StrCat("piece ", pieces_.size());
    if (pieces_.size() >= kMaxPieces) return Damaged("it has too many pieces");
    if (piece.text.empty()) return Damaged(absl::StrCat(where, " is empty"));
    if (!std::isfinite(piece.score)) return Damaged(absl::StrCat(where, " has no finite score"));
    if (piece.type < 1 || piece.type > 6) {
      return Damaged(absl::StrCat(where, " has type ", piece.type));
    }
    if (piece.type == 5) return Unsupported(absl::StrCat("unused piece ", pieces_.size()));
    pieces_.push_back(std::move(piece));
    return absl::OkStatus();
  }

  absl::Status ReadTrainer(absl::string_view bytes) {
    return EachField(bytes, "the trainer's specification", [this](const WireField& field) {
      if (field.number == 3 && field.type == 0) model_type_ = field.value;
      return absl::OkStatus();
    });
  }

  absl::Status ReadNormalizer(absl::string_view bytes) {
    return EachField(bytes, "the normalizer's specification",
                     [this](const WireField& field) -> absl::Status {
                       if (field.number == 2 && field.type == 2 && !field.bytes.empty()) {
                         return Unsupported("normalization rules; only identity is supported");
                       }
                       if (field.type != 0) return absl::OkStatus();
                       if (field.number == 3) dummy_prefix_ = field.value != 0;
                       if (field.number == 4) remove_whitespace_ = field.value != 0;
                       if (field.number == 5) escape_whitespace_ = field.value != 0;
                       return absl::OkStatus();
                     });
  }

  absl::StatusOr<Vocabulary> Build() {
    if (dummy_prefix_) return Unsupported("add_dummy_prefix");
    if (remove_whitespace_) return Unsupported("remove_extra_whitespaces");
    Vocabulary out;
    out.sentencepiece = true;
    out.spaces_to_marks = escape_whitespace_;
    out.bpe.vocab_size = static_cast<int32_t>(pieces_.size());
    out.bpe.byte_ids.fill(-1);
    absl::flat_hash_map<std::string, int32_t> normal;  // Normal and user-defined pieces.
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const Piece& piece = pieces_[i];
      const auto id = static_cast<int32_t>(i);
      PieceKind kind = PieceKind::kNormal;
      if (piece.type == 2) {
        kind = PieceKind::kUnknown;
        out.bpe.unk_id = id;
      } else if (piece.type == 3) {
        kind = PieceKind::kControl;
      } else if (piece.type == 6) {
        kind = PieceKind::kByte;
        const int byte = ByteOfPiece(piece.text);
        if (byte < 0) return Damaged(absl::StrCat("byte piece ", i, " names no byte"));
        out.bpe.byte_ids[static_cast<size_t>(byte)] = id;
      } else if (!normal.try_emplace(piece.text, id).second) {
        return Damaged(absl::StrCat("pieces ", normal.at(piece.text), " and ", i, " are equal"));
      }
      if (piece.type == 4) {
        out.whole_tokens.push_back(
            {.text = piece.text, .id = id, .special = false, .normalized = true});
      }
      out.pieces.push_back(piece.text);
      out.kinds.push_back(kind);
      out.special.push_back(kind == PieceKind::kControl);
    }
    AddMerges(normal, &out.bpe);
    return out;
  }

  // SentencePiece joins neighbours whose concatenation is a piece, best score first: every way to
  // cut a piece in two symbols is a merge, ranked by the piece's score.
  void AddMerges(const absl::flat_hash_map<std::string, int32_t>& normal, BpeModel* bpe) const {
    std::vector<float> scores;
    for (const Piece& piece : pieces_) scores.push_back(piece.score);
    std::sort(scores.begin(), scores.end(), std::greater<>());
    scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
    int32_t next_character = bpe->vocab_size;
    // A character's symbol: its piece, or one that stands for it inside other pieces alone.
    const auto symbol_of = [&](absl::string_view text) -> int32_t {
      const auto found = normal.find(text);
      if (found != normal.end()) return found->second;
      if (Utf8Length(text) != text.size()) return -1;
      const auto [at, added] = bpe->characters.try_emplace(std::string(text), next_character);
      if (added) ++next_character;
      return at->second;
    };
    for (const auto& [text, id] : normal) {
      if (Utf8Length(text) == text.size()) bpe->characters[text] = id;
    }
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const Piece& piece = pieces_[i];
      if (piece.type != 1 && piece.type != 4) continue;
      const auto rank = static_cast<int32_t>(
          std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>()) -
          scores.begin());
      const absl::string_view text = piece.text;
      for (size_t cut = Utf8Length(text); cut > 0 && cut < text.size();) {
        const int32_t left = symbol_of(text.substr(0, cut));
        const int32_t right = symbol_of(text.substr(cut));
        if (left >= 0 && right >= 0) {
          bpe->merges.push_back({left, right, static_cast<int32_t>(i), rank});
        }
        const size_t length = Utf8Length(text.substr(cut));
        if (length == 0) break;  // Not UTF-8: no text can hold it.
        cut += length;
      }
    }
  }

  const absl::string_view bytes_;
  const std::string& path_;
  std::vector<Piece> pieces_;
  uint64_t model_type_ = 1;
  bool dummy_prefix_ = true;
  bool remove_whitespace_ = true;
  bool escape_whitespace_ = true;
};

}  // namespace

int ByteOfPiece(absl::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  int byte = 0;
  for (const char c : piece.substr(3, 2)) {
    const char lower = static_cast<char>(c | 0x20);
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (lower >= 'a' && lower <= 'f') digit = lower - 'a' + 10;
    if (digit < 0) return -1;
    byte = byte * 16 + digit;
  }
  return byte;
}

absl::StatusOr<Vocabulary> ReadSentencePiece(absl::string_view bytes, const std::string& path) {
  return SentencePieceReader(bytes, path).Read();
}

}  // namespace tandem
