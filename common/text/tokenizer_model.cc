// tokenizer.model (SentencePiece's ModelProto): BPE models with identity normalisation, as Gemma's.
// Field numbers are those of sentencepiece_model.proto.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/text/bpe_tokenizer.h"
#include "common/text/tokenizer_file.h"
#include "common/text/wire_reader.h"

namespace tandem {
namespace {

enum PieceType : uint64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct Piece {
  std::string text;
  float score = 0;
  uint64_t type = kNormal;
};

// With the defaults of the format.
struct ModelProto {
  std::vector<Piece> pieces;
  uint64_t model_type = 1;  // 1 unigram, 2 bpe, 3 word, 4 char.
  bool byte_fallback = false;
  std::string unk_surface = " \xE2\x81\x87 ";
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  std::string normalizer_name;
  bool has_charsmap = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool has_denormalizer = false;
};

class Reader {
 public:
  Reader(const FileErrors& errors, ModelProto* out) : errors_(errors), out_(*out) {}

  absl::Status Read(absl::string_view bytes) {
    WireReader reader(bytes);
    while (reader.Next()) {
      switch (reader.field()) {
        case 1:
          TANDEM_RETURN_IF_ERROR(NeedBytes(reader));
          TANDEM_RETURN_IF_ERROR(ReadPiece(reader.bytes(), reader.bytes_offset()));
          break;
        case 2:
          TANDEM_RETURN_IF_ERROR(NeedBytes(reader));
          TANDEM_RETURN_IF_ERROR(ReadTrainerSpec(reader.bytes(), reader.bytes_offset()));
          break;
        case 3:
          TANDEM_RETURN_IF_ERROR(NeedBytes(reader));
          TANDEM_RETURN_IF_ERROR(ReadNormalizerSpec(reader.bytes(), reader.bytes_offset()));
          break;
        case 5:
          TANDEM_RETURN_IF_ERROR(NeedBytes(reader));
          TANDEM_RETURN_IF_ERROR(ReadDenormalizerSpec(reader.bytes(), reader.bytes_offset()));
          break;
        default:  // Self test data and extensions.
          break;
      }
    }
    return End(reader);
  }

 private:
  absl::Status Broken(const WireReader& reader) const {
    return errors_.Damaged(absl::StrCat("byte ", reader.field_offset()),
                           "no field of a SentencePiece model");
  }
  absl::Status End(const WireReader& reader) const {
    return reader.ok() ? absl::OkStatus() : Broken(reader);
  }
  absl::Status NeedBytes(const WireReader& reader) const {
    return reader.type() == WireReader::Type::kBytes ? absl::OkStatus() : Broken(reader);
  }
  absl::Status NeedVarint(const WireReader& reader) const {
    return reader.type() == WireReader::Type::kVarint ? absl::OkStatus() : Broken(reader);
  }
  absl::Status ReadText(const WireReader& reader, std::string* out) const {
    TANDEM_RETURN_IF_ERROR(NeedBytes(reader));
    if (!IsValidUtf8(reader.bytes())) {
      return errors_.Damaged(absl::StrCat("byte ", reader.bytes_offset()),
                             "text that is not UTF-8");
    }
    *out = std::string(reader.bytes());
    return absl::OkStatus();
  }
  absl::Status ReadFlag(const WireReader& reader, bool* out) const {
    TANDEM_RETURN_IF_ERROR(NeedVarint(reader));
    *out = reader.varint() != 0;
    return absl::OkStatus();
  }

  absl::Status ReadPiece(absl::string_view message, size_t offset) {
    if (out_.pieces.size() == static_cast<size_t>(kMaxVocabularySize)) {
      return errors_.Unsupported("", absl::StrCat("more than ", kMaxVocabularySize, " pieces"));
    }
    Piece piece;
    WireReader reader(message, offset);
    while (reader.Next()) {
      if (reader.field() == 1) {
        TANDEM_RETURN_IF_ERROR(ReadText(reader, &piece.text));
      } else if (reader.field() == 2) {
        if (reader.type() != WireReader::Type::kFixed32) return Broken(reader);
        piece.score = reader.fixed32_as_float();
      } else if (reader.field() == 3) {
        TANDEM_RETURN_IF_ERROR(NeedVarint(reader));
        piece.type = reader.varint();
      }
    }
    TANDEM_RETURN_IF_ERROR(End(reader));
    out_.pieces.push_back(std::move(piece));
    return absl::OkStatus();
  }

  absl::Status ReadTrainerSpec(absl::string_view message, size_t offset) {
    WireReader reader(message, offset);
    while (reader.Next()) {
      switch (reader.field()) {
        case 3:
          TANDEM_RETURN_IF_ERROR(NeedVarint(reader));
          out_.model_type = reader.varint();
          break;
        case 35:
          TANDEM_RETURN_IF_ERROR(ReadFlag(reader, &out_.byte_fallback));
          break;
        case 44:
          TANDEM_RETURN_IF_ERROR(ReadText(reader, &out_.unk_surface));
          break;
        case 46:
          TANDEM_RETURN_IF_ERROR(ReadText(reader, &out_.bos_piece));
          break;
        case 47:
          TANDEM_RETURN_IF_ERROR(ReadText(reader, &out_.eos_piece));
          break;
        default:  // How it was trained.
          break;
      }
    }
    return End(reader);
  }

  absl::Status ReadNormalizerSpec(absl::string_view message, size_t offset) {
    WireReader reader(message, offset);
    while (reader.Next()) {
      switch (reader.field()) {
        case 1:
          TANDEM_RETURN_IF_ERROR(ReadText(reader, &out_.normalizer_name));
          break;
        case 2:
          TANDEM_RETURN_IF_ERROR(NeedBytes(reader));
          out_.has_charsmap = !reader.bytes().empty();
          break;
        case 3:
          TANDEM_RETURN_IF_ERROR(ReadFlag(reader, &out_.add_dummy_prefix));
          break;
        case 4:
          TANDEM_RETURN_IF_ERROR(ReadFlag(reader, &out_.remove_extra_whitespaces));
          break;
        case 5:
          TANDEM_RETURN_IF_ERROR(ReadFlag(reader, &out_.escape_whitespaces));
          break;
        default:
          break;
      }
    }
    return End(reader);
  }

  absl::Status ReadDenormalizerSpec(absl::string_view message, size_t offset) {
    WireReader reader(message, offset);
    while (reader.Next()) {
      if (reader.field() != 2) continue;
      TANDEM_RETURN_IF_ERROR(NeedBytes(reader));
      out_.has_denormalizer = !reader.bytes().empty();
    }
    return End(reader);
  }

  const FileErrors& errors_;
  ModelProto& out_;
};

class Builder {
 public:
  Builder(ModelProto proto, const TokenizerConfig* config, const FileErrors& errors)
      : proto_(std::move(proto)), config_(config), errors_(errors) {}

  absl::StatusOr<TokenizerParts> Run(absl::string_view bytes);

 private:
  absl::Status CheckSettings() const;
  absl::Status ReadPieces();
  absl::Status ReadPiece(const Piece& piece, int32_t id);
  void AddMerges();
  void AddMergesOf(const Piece& piece, int32_t id, uint32_t rank);
  int32_t SymbolOf(absl::string_view text);
  void BuildDecoder();
  absl::Status FindBosAndEos();

  std::string PlaceOf(int32_t id) const { return absl::StrCat("piece ", id); }

  ModelProto proto_;
  const TokenizerConfig* config_;
  const FileErrors& errors_;
  TokenizerParts parts_;
  BpeSpec spec_;
  // Characters inside of pieces that are no pieces themselves, by text.
  absl::flat_hash_map<std::string, int32_t> other_characters_;
};

absl::StatusOr<TokenizerParts> Builder::Run(absl::string_view bytes) {
  TANDEM_RETURN_IF_ERROR(CheckSettings());
  TANDEM_RETURN_IF_ERROR(ReadPieces());
  AddMerges();
  parts_.model = std::make_unique<BpeModel>(std::move(spec_));
  BuildDecoder();
  TANDEM_RETURN_IF_ERROR(FindBosAndEos());
  parts_.format = "tokenizer.model";
  parts_.identity_hash = IdentityHash(bytes, config_);
  parts_.repair = Utf8Repair::kEveryByte;
  NormalizeStep spaces;
  spaces.pattern = " ";
  spaces.content = std::string(kSpaceSymbol);
  parts_.normalizer = {std::move(spaces)};
  return std::move(parts_);
}

absl::Status Builder::CheckSettings() const {
  if (proto_.pieces.empty())
    return errors_.Damaged("", "no SentencePiece model, or one without pieces");
  if (proto_.model_type != 2) {
    static constexpr const char* kNames[] = {"0", "UNIGRAM", "BPE", "WORD", "CHAR"};
    return errors_.Unsupported("trainer_spec.model_type",
                               proto_.model_type < std::size(kNames)
                                   ? std::string(kNames[proto_.model_type])
                                   : absl::StrCat(proto_.model_type));
  }
  if (proto_.has_charsmap) {
    return errors_.Unsupported("normalizer_spec.name", Quoted(proto_.normalizer_name));
  }
  if (proto_.add_dummy_prefix)
    return errors_.Unsupported("normalizer_spec.add_dummy_prefix", "true");
  if (proto_.remove_extra_whitespaces) {
    return errors_.Unsupported("normalizer_spec.remove_extra_whitespaces", "true");
  }
  if (!proto_.escape_whitespaces) {
    return errors_.Unsupported("normalizer_spec.escape_whitespaces", "false");
  }
  if (proto_.has_denormalizer) return errors_.Unsupported("denormalizer_spec", "a character map");
  return absl::OkStatus();
}

absl::Status Builder::ReadPieces() {
  const auto num_pieces = static_cast<int32_t>(proto_.pieces.size());
  parts_.vocabulary.Reserve(proto_.pieces.size());
  parts_.is_special.resize(proto_.pieces.size());
  spec_.num_pieces = num_pieces;
  spec_.byte_fallback = proto_.byte_fallback;
  spec_.byte_pieces.fill(-1);
  spec_.fuse_unk = true;
  for (int32_t id = 0; id < num_pieces; ++id) {
    TANDEM_RETURN_IF_ERROR(ReadPiece(proto_.pieces[static_cast<size_t>(id)], id));
  }
  if (spec_.unk_id < 0) return errors_.Damaged("", "no piece has the type UNKNOWN");
  if (!proto_.byte_fallback) return absl::OkStatus();
  for (size_t byte = 0; byte < 256; ++byte) {
    if (spec_.byte_pieces[byte] >= 0) continue;
    return errors_.Damaged(
        "", absl::StrCat("byte_fallback is set and ",
                         Quoted(PieceOfByte(static_cast<uint8_t>(byte))), " is missing"));
  }
  return absl::OkStatus();
}

absl::Status Builder::ReadPiece(const Piece& piece, int32_t id) {
  if (piece.text.empty()) return errors_.Damaged(PlaceOf(id), "empty");
  if (piece.text.size() > kMaxPieceBytes) {
    return errors_.Unsupported(PlaceOf(id),
                               absl::StrCat("a piece of ", piece.text.size(), " bytes"));
  }
  if (!std::isfinite(piece.score)) return errors_.Damaged(PlaceOf(id), "its score is no number");
  if (parts_.vocabulary.Add(piece.text, id) != Vocabulary::AddResult::kAdded) {
    return errors_.Damaged(PlaceOf(id), absl::StrCat(Quoted(piece.text), " is also piece ",
                                                     parts_.vocabulary.Find(piece.text)));
  }
  const bool single = IsSingleCharacter(piece.text);
  switch (piece.type) {
    case kNormal:
      if (single) spec_.characters.emplace_back(DecodeValidUtf8(piece.text, 0).code_point, id);
      return absl::OkStatus();
    case kUserDefined: {
      AddedToken token;
      token.content = piece.text;
      token.id = id;
      parts_.normalized_tokens.push_back(std::move(token));
      // What Gemma's conversion to tokenizer.json marks as special.
      parts_.is_special[static_cast<size_t>(id)] =
          piece.text == "<start_of_turn>" || piece.text == "<end_of_turn>";
      return absl::OkStatus();
    }
    case kUnknown:
      if (spec_.unk_id >= 0) return errors_.Damaged(PlaceOf(id), "a second one of type UNKNOWN");
      spec_.unk_id = id;
      return absl::OkStatus();
    case kControl:
      // SentencePiece itself fails on texts with such a character.
      if (single) return errors_.Unsupported(PlaceOf(id), "a control piece of one character");
      parts_.is_special[static_cast<size_t>(id)] = true;
      return absl::OkStatus();
    case kByte: {
      const int32_t byte = ByteOfPiece(piece.text);
      if (byte < 0 || PieceOfByte(static_cast<uint8_t>(byte)) != piece.text) {
        return errors_.Damaged(PlaceOf(id),
                               absl::StrCat(Quoted(piece.text), " of type BYTE is no byte"));
      }
      if (!proto_.byte_fallback) {
        return errors_.Damaged(PlaceOf(id), "of type BYTE, and byte_fallback is not set");
      }
      spec_.byte_pieces[static_cast<size_t>(byte)] = id;
      return absl::OkStatus();
    }
    case kUnused:
      return errors_.Unsupported(PlaceOf(id), "the type UNUSED");
    default:
      return errors_.Unsupported(PlaceOf(id), absl::StrCat("the type ", piece.type));
  }
}

// SentencePiece merges any two neighbours whose joined text is a piece, the piece of the highest
// score first. So each way to cut a piece into two symbols is a merge; its rank is the place of the
// score among all scores.
void Builder::AddMerges() {
  std::vector<float> scores;
  for (const Piece& piece : proto_.pieces) {
    if (piece.type == kNormal) scores.push_back(piece.score);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  for (size_t i = 0; i < proto_.pieces.size(); ++i) {
    const Piece& piece = proto_.pieces[i];
    if (piece.type != kNormal) continue;
    const auto rank = static_cast<uint32_t>(
        std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>()) -
        scores.begin());
    AddMergesOf(piece, static_cast<int32_t>(i), rank);
  }
}

void Builder::AddMergesOf(const Piece& piece, int32_t id, uint32_t rank) {
  const absl::string_view text = piece.text;
  Utf8Character last = DecodeValidUtf8(text, 0);
  for (size_t cut = last.num_bytes; cut < text.size();) {
    const Utf8Character next = DecodeValidUtf8(text, cut);
    const int32_t left = SymbolOf(text.substr(0, cut));
    const int32_t right = left < 0 ? -1 : SymbolOf(text.substr(cut));
    if (right >= 0) {
      spec_.merges.push_back({left, right, id, rank, last.code_point, next.code_point});
    }
    last = next;
    cut += next.num_bytes;
  }
}

// The symbol that has this text while pieces merge; -1 where none can have it.
int32_t Builder::SymbolOf(absl::string_view text) {
  const int32_t id = parts_.vocabulary.Find(text);
  if (id >= 0) {
    const uint64_t type = proto_.pieces[static_cast<size_t>(id)].type;
    if (type == kNormal) return id;
    if (type == kUserDefined) return -1;  // Matched as a whole before; it never merges.
  }
  if (!IsSingleCharacter(text)) return -1;
  const auto [it, is_new] = other_characters_.emplace(
      std::string(text), spec_.num_pieces + static_cast<int32_t>(other_characters_.size()));
  if (is_new) spec_.characters.emplace_back(DecodeValidUtf8(text, 0).code_point, it->second);
  return it->second;
}

void Builder::BuildDecoder() {
  parts_.decoder = PieceDecoder(PieceDecoder::ByteRun::kEachCharacter);
  for (const Piece& piece : proto_.pieces) {
    DecodedPiece decoded;
    if (piece.type == kByte) {
      decoded.byte = ByteOfPiece(piece.text);
    } else if (piece.type == kUnknown) {
      decoded.text = proto_.unk_surface;
    } else if (piece.type != kControl) {
      decoded.text = ReplaceLiteral(piece.text, kSpaceSymbol, " ");
    }
    parts_.decoder.Append(decoded);
  }
}

// The file names its bos and eos; a model made from a tokenizer.json (Keras) may have them as
// user-defined pieces, so the type does not matter.
absl::Status Builder::FindBosAndEos() {
  const auto find = [&](const std::string& named, const char* usual) {
    const int32_t id = parts_.vocabulary.Find(named);
    return id >= 0 ? id : parts_.vocabulary.Find(usual);
  };
  parts_.bos_id = find(proto_.bos_piece, "<bos>");
  parts_.eos_id = find(proto_.eos_piece, "<eos>");
  if (config_ == nullptr) return absl::OkStatus();
  if (config_->add_bos_token.value_or(false)) {
    if (parts_.bos_id < 0) {
      return errors_.Damaged("",
                             "add_bos_token is set in tokenizer_config.json, and no piece is bos");
    }
    parts_.prefix = {parts_.bos_id};
  }
  if (config_->add_eos_token.value_or(false)) {
    if (parts_.eos_id < 0) {
      return errors_.Damaged("",
                             "add_eos_token is set in tokenizer_config.json, and no piece is eos");
    }
    parts_.suffix = {parts_.eos_id};
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerModel(absl::string_view bytes,
                                                               const TokenizerConfig* config,
                                                               const FileErrors& errors) {
  ModelProto proto;
  TANDEM_RETURN_IF_ERROR(Reader(errors, &proto).Read(bytes));
  Builder builder(std::move(proto), config, errors);
  TANDEM_ASSIGN_OR_RETURN(TokenizerParts parts, builder.Run(bytes));
  return std::make_unique<BpeTokenizer>(std::move(parts));
}

}  // namespace tandem
