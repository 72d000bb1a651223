#include "common/text/tokenizer.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status_macros.h"
#include "common/text/bpe.h"
#include "common/text/utf8.h"
#include "common/text/vocabulary.h"
#include "common/text/whole_matcher.h"

namespace tandem {
namespace {

constexpr uintmax_t kMaxFileBytes = uintmax_t{512} << 20;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", error.message()));
  if (size > kMaxFileBytes) {
    return absl::DataLossError(
        absl::StrCat(path, " has ", size, " bytes: no tokenizer is so large"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// What tokenizer_config.json says beside the tokenizer's own file.
struct SpecialNames {
  std::string bos = "<bos>";
  std::string eos = "<eos>";
  bool add_bos = false;
};

SpecialNames ReadSpecialNames(const std::string& directory) {
  SpecialNames names;
  const absl::StatusOr<std::string> text = ReadFile(directory + "/tokenizer_config.json");
  if (!text.ok()) return names;
  const nlohmann::json config = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return names;
  // A token is its text, or an object with it.
  const auto name = [&config](const char* key, std::string* out) {
    const auto found = config.find(key);
    if (found == config.end()) return;
    if (found->is_string()) *out = found->get<std::string>();
    if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
      *out = (*found)["content"].get<std::string>();
    }
  };
  name("bos_token", &names.bos);
  name("eos_token", &names.eos);
  names.add_bos = config.contains("add_bos_token") && config["add_bos_token"] == true;
  return names;
}

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(Vocabulary vocabulary, const SpecialNames& names, uint64_t identity)
      : vocabulary_(std::move(vocabulary)),
        bpe_(std::move(vocabulary_.bpe), vocabulary_.pieces, kWordMark),
        identity_(identity) {
    for (size_t i = 0; i < vocabulary_.pieces.size(); ++i) {
      if (vocabulary_.pieces[i] == names.bos) bos_id_ = static_cast<int32_t>(i);
      if (vocabulary_.pieces[i] == names.eos) eos_id_ = static_cast<int32_t>(i);
    }
    for (const WholeToken& token : vocabulary_.whole_tokens) {
      if (token.normalized) {
        normalized_tokens_.Add(ToMarks(token.text), token.id);
      } else {
        raw_tokens_.Add(token.text, token.id);
      }
    }
    if (vocabulary_.sentencepiece && names.add_bos && bos_id_ >= 0) {
      vocabulary_.prefix = {bos_id_};
    }
  }

  std::vector<int32_t> Encode(absl::string_view text) const override {
    std::vector<int32_t> ids;
    const std::string valid =
        ToValidUtf8(text, vocabulary_.sentencepiece ? ReplaceIllFormed::kEachByte
                                                    : ReplaceIllFormed::kMaximalSubpart);
    ForEachPart(raw_tokens_, valid, &ids, [&](absl::string_view part) {
      ForEachPart(normalized_tokens_, ToMarks(part), &ids,
                  [&](absl::string_view plain) { bpe_.Encode(plain, &ids); });
    });
    return ids;
  }

  std::vector<int32_t> EncodeWithSpecial(absl::string_view text, AddBos add_bos) const override {
    std::vector<int32_t> ids = vocabulary_.prefix;
    if (add_bos == AddBos::kNever) std::erase(ids, bos_id_);
    if (add_bos == AddBos::kAlways && bos_id_ >= 0 && !adds_bos()) {
      ids.insert(ids.begin(), bos_id_);
    }
    const std::vector<int32_t> body = Encode(text);
    ids.insert(ids.end(), body.begin(), body.end());
    ids.insert(ids.end(), vocabulary_.suffix.begin(), vocabulary_.suffix.end());
    return ids;
  }

  bool HasSpecialToken(absl::string_view text, std::string* which) const override {
    for (const int32_t id : Encode(text)) {
      if (!IsSpecial(id)) continue;
      *which = vocabulary_.pieces[static_cast<size_t>(id)];
      return true;
    }
    return false;
  }

  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override;

  int32_t vocab_size() const override { return static_cast<int32_t>(vocabulary_.pieces.size()); }
  std::string TokenText(int32_t id) const override {
    if (!Known(id)) return "";
    const std::string& piece = vocabulary_.pieces[static_cast<size_t>(id)];
    if (KindOf(id) != PieceKind::kByte) return FromMarks(piece);
    const int byte = ByteOfPiece(piece);
    return byte < 0x80 ? std::string(1, static_cast<char>(byte)) : kReplacement;
  }
  bool IsSpecial(int32_t id) const override {
    return Known(id) && vocabulary_.special[static_cast<size_t>(id)];
  }
  int32_t bos_id() const override { return bos_id_; }
  int32_t eos_id() const override { return eos_id_; }
  bool adds_bos() const override {
    return std::find(vocabulary_.prefix.begin(), vocabulary_.prefix.end(), bos_id_) !=
           vocabulary_.prefix.end();
  }
  std::string format() const override {
    return vocabulary_.sentencepiece ? "tokenizer.model" : "tokenizer.json";
  }
  uint64_t identity_hash() const override { return identity_; }

 private:
  bool Known(int32_t id) const { return id >= 0 && id < vocab_size(); }
  PieceKind KindOf(int32_t id) const { return vocabulary_.kinds[static_cast<size_t>(id)]; }
  std::string ToMarks(absl::string_view text) const {
    return vocabulary_.spaces_to_marks ? absl::StrReplaceAll(text, {{" ", kWordMark}})
                                       : std::string(text);
  }
  static std::string FromMarks(absl::string_view piece) {
    return absl::StrReplaceAll(piece, {{kWordMark, " "}});
  }

  // Appends the ids of the matcher's tokens, and calls use for what lies between them.
  template <class Use>
  static void ForEachPart(const WholeMatcher& matcher, absl::string_view text,
                          std::vector<int32_t>* ids, const Use& use) {
    size_t at = 0;
    while (at < text.size()) {
      const WholeMatcher::Match match = matcher.Find(text, at);
      const size_t end = match.length == 0 ? text.size() : match.begin;
      if (end > at) use(text.substr(at, end - at));
      if (match.length == 0) return;
      ids->push_back(match.value);
      at = match.begin + match.length;
    }
  }

  Vocabulary vocabulary_;
  Bpe bpe_;
  WholeMatcher raw_tokens_;
  WholeMatcher normalized_tokens_;
  int32_t bos_id_ = -1;
  int32_t eos_id_ = -1;
  const uint64_t identity_;
};

// A run of byte pieces. SentencePiece keeps its valid parts; tokenizer.json's decoder makes U+FFFD
// of every byte of a run that is not valid as a whole.
std::string DecodeBytes(const std::string& bytes, bool sentencepiece) {
  std::string valid = ToValidUtf8(bytes, ReplaceIllFormed::kEachByte);
  if (sentencepiece || valid == bytes) return valid;
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) out += kReplacement;
  return out;
}

std::string BpeTokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  std::string out;
  std::string bytes;
  const auto flush = [&] {
    if (!bytes.empty()) out += DecodeBytes(bytes, vocabulary_.sentencepiece);
    bytes.clear();
  };
  for (const int32_t id : ids) {
    if (!Known(id)) continue;
    const PieceKind kind = KindOf(id);
    // A control piece has no text, in whatever way special tokens are treated.
    if (kind == PieceKind::kControl || (skip_special && IsSpecial(id))) {
      if (vocabulary_.sentencepiece) flush();
      continue;
    }
    const std::string& piece = vocabulary_.pieces[static_cast<size_t>(id)];
    if (kind == PieceKind::kByte) {
      bytes.push_back(static_cast<char>(ByteOfPiece(piece)));
      continue;
    }
    flush();
    out += kind == PieceKind::kUnknown && vocabulary_.sentencepiece ? " \xe2\x81\x87 "
                                                                    : FromMarks(piece);
  }
  flush();
  return out;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadWithNames(const std::string& path,
                                                         const SpecialNames& names) {
  TANDEM_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  // JSON begins with a brace; a ModelProto with the tag of its first piece, 0x0a.
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  const bool json = first != std::string::npos && bytes[first] == '{';
  absl::StatusOr<Vocabulary> vocabulary =
      json ? ReadTokenizerJson(bytes, path) : ReadSentencePiece(bytes, path);
  TANDEM_RETURN_IF_ERROR(vocabulary.status());
  return std::make_unique<BpeTokenizer>(*std::move(vocabulary), names,
                                        XXH3_64bits(bytes.data(), bytes.size()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::LoadFromModelDir(
    const std::string& directory) {
  const SpecialNames names = ReadSpecialNames(directory);
  for (const char* file : {"/tokenizer.json", "/tokenizer.model"}) {
    std::error_code error;
    if (std::filesystem::exists(directory + file, error)) {
      return LoadWithNames(directory + file, names);
    }
  }
  return absl::NotFoundError(
      absl::StrCat(directory, " has neither tokenizer.json nor tokenizer.model"));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::LoadFile(const std::string& path) {
  return LoadWithNames(path, SpecialNames());
}

}  // namespace tandem
