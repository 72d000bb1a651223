// tokenizer.json: Hugging Face's format, as far as Gemma's tokenizers use it. What else a file asks
// for is refused by its name.
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/text/utf8.h"
#include "common/text/vocabulary.h"

namespace tandem {
namespace {

using nlohmann::json;

constexpr int64_t kMaxIds = int64_t{1} << 22;
constexpr int kMaxDepth = 64;

class TokenizerJsonReader {
 public:
  TokenizerJsonReader(absl::string_view bytes, const std::string& path)
      : bytes_(bytes), path_(path) {}

  absl::StatusOr<Vocabulary> Read() {
    TANDEM_RETURN_IF_ERROR(Parse());
    TANDEM_RETURN_IF_ERROR(ReadModel());
    TANDEM_RETURN_IF_ERROR(ReadAddedTokens());
    TANDEM_RETURN_IF_ERROR(ReadNormalizer(Get(root_, "normalizer")));
    TANDEM_RETURN_IF_ERROR(ReadPreTokenizer(Get(root_, "pre_tokenizer")));
    TANDEM_RETURN_IF_ERROR(ReadPostProcessor(Get(root_, "post_processor")));
    TANDEM_RETURN_IF_ERROR(ReadDecoder(Get(root_, "decoder")));
    TANDEM_RETURN_IF_ERROR(BuildCharacters());
    return std::move(out_);
  }

 private:
  absl::Status Damaged(absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat(path_, ": ", what, "; the file is damaged: fetch it again"));
  }
  absl::Status Unsupported(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": unsupported ", what));
  }
  static const json& Get(const json& object, const char* key) {
    static const json kNull;
    const auto found = object.find(key);
    return found == object.end() ? kNull : *found;
  }
  static std::string TypeOf(const json& object) {
    const json& type = Get(object, "type");
    return type.is_string() ? type.get<std::string>() : "without a type";
  }

  // The vocabulary and the merges are taken as they pass by: a tree of half a million of them would
  // take hundreds of megabytes.
  absl::Status Parse() {
    std::vector<std::string> keys;  // The path of open objects' current keys, by depth.
    bool too_deep = false;
    const json::parser_callback_t filter = [&](int depth, json::parse_event_t event, json& parsed) {
      if (depth > kMaxDepth) too_deep = true;
      if (too_deep) return false;
      if (event == json::parse_event_t::key) {
        keys.resize(static_cast<size_t>(depth));
        keys.back() = parsed.get<std::string>();
        return true;
      }
      if (depth == 3 && event == json::parse_event_t::value && InModel(keys, "vocab", 3)) {
        vocab_.emplace_back(keys[2], parsed.is_number_integer() ? parsed.get<int64_t>() : -1);
        return false;
      }
      const bool merge_text = event == json::parse_event_t::value && parsed.is_string();
      const bool merge_pair = event == json::parse_event_t::array_end;
      if (depth == 3 && (merge_text || merge_pair) && InModel(keys, "merges", 2)) {
        merges_.push_back(std::move(parsed));
        return false;
      }
      return true;
    };
    try {
      root_ = json::parse(bytes_.begin(), bytes_.end(), filter);
    } catch (const json::exception& error) {
      const auto* parse_error = dynamic_cast<const json::parse_error*>(&error);
      return Damaged(
          absl::StrCat("it is not JSON at byte ", parse_error != nullptr ? parse_error->byte : 0));
    }
    if (too_deep) return Damaged("it nests too deeply");
    if (!root_.is_object()) return Damaged("it is no JSON object");
    return absl::OkStatus();
  }

  static bool InModel(const std::vector<std::string>& keys, absl::string_view key, size_t size) {
    return keys.size() >= size && keys[0] == "model" && keys[1] == key;
  }

  absl::Status ReadModel() {
    const json& model = Get(root_, "model");
    if (!model.is_object()) return Damaged("it has no model");
    const json& type = Get(model, "type");
    if (type.is_string() && type != "BPE") return Unsupported("model " + TypeOf(model));
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const json& value = Get(model, affix);
      if (value.is_string() && !value.get<std::string>().empty()) {
        return Unsupported(absl::StrCat("model.", affix));
      }
    }
    if (Get(model, "dropout").is_number() && Get(model, "dropout") != 0.0) {
      return Unsupported("model.dropout");
    }
    if (Get(model, "ignore_merges") == true) return Unsupported("model.ignore_merges");
    if (vocab_.empty()) return Damaged("model.vocab is missing or empty");
    for (const auto& [piece, id] : vocab_) TANDEM_RETURN_IF_ERROR(SetPiece(piece, id));
    out_.bpe.fuse_unk = Get(model, "fuse_unk") == true;
    byte_fallback_ = Get(model, "byte_fallback") == true;
    const json& unk = Get(model, "unk_token");
    if (unk.is_string()) {
      const auto found = ids_.find(unk.get<std::string>());
      if (found == ids_.end()) return Damaged("model.unk_token is not in the vocabulary");
      out_.bpe.unk_id = found->second;
    }
    return ReadMerges();
  }

  absl::Status SetPiece(const std::string& piece, int64_t id) {
    if (id < 0 || id >= kMaxIds) {
      return Damaged(absl::StrCat("token \"", piece, "\" has no valid id"));
    }
    const auto index = static_cast<size_t>(id);
    if (index >= out_.pieces.size()) {
      out_.pieces.resize(index + 1);
      taken_.resize(index + 1);
    }
    if (taken_[index] && out_.pieces[index] != piece) {
      return Damaged(absl::StrCat("tokens \"", out_.pieces[index], "\" and \"", piece,
                                  "\" both have id ", id));
    }
    taken_[index] = true;
    out_.pieces[index] = piece;
    ids_[piece] = static_cast<int32_t>(id);
    return absl::OkStatus();
  }

  absl::Status ReadMerges() {
    for (size_t i = 0; i < merges_.size(); ++i) {
      std::string left;
      std::string right;
      if (merges_[i].is_string()) {
        const std::string text = merges_[i].get<std::string>();
        const size_t space = text.find(' ');
        if (space == std::string::npos) {
          return Damaged(absl::StrCat("merge ", i, " has no space"));
        }
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else {
        const json& pair = merges_[i];
        if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
          return Damaged(absl::StrCat("merge ", i, " is no pair of strings"));
        }
        left = pair[0].get<std::string>();
        right = pair[1].get<std::string>();
      }
      const auto left_id = ids_.find(left);
      const auto right_id = ids_.find(right);
      const auto merged_id = ids_.find(left + right);
      if (left_id == ids_.end() || right_id == ids_.end() || merged_id == ids_.end()) {
        return Damaged(absl::StrCat("merge ", i, " (\"", left, "\" with \"", right,
                                    "\") names a token that the vocabulary does not have"));
      }
      out_.bpe.merges.push_back(
          {left_id->second, right_id->second, merged_id->second, static_cast<int32_t>(i)});
    }
    merges_ = {};
    return absl::OkStatus();
  }

  absl::Status ReadAddedTokens() {
    const json& tokens = Get(root_, "added_tokens");
    if (tokens.is_null()) return absl::OkStatus();
    if (!tokens.is_array()) return Damaged("added_tokens is no array");
    for (const json& token : tokens) {
      const json& content = Get(token, "content");
      const json& id = Get(token, "id");
      if (!content.is_string() || content.get<std::string>().empty() || !id.is_number_integer()) {
        return Damaged("an added token lacks its content or id");
      }
      const std::string text = content.get<std::string>();
      TANDEM_RETURN_IF_ERROR(SetPiece(text, id.get<int64_t>()));
      for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
        if (Get(token, flag) == true) {
          return Unsupported(absl::StrCat(flag, " of added token \"", text, "\""));
        }
      }
      out_.whole_tokens.push_back({.text = text,
                                   .id = id.get<int32_t>(),
                                   .special = Get(token, "special") == true,
                                   .normalized = Get(token, "normalized") == true});
    }
    return absl::OkStatus();
  }

  absl::Status ReadNormalizer(const json& normalizer) {
    out_.spaces_to_marks = false;
    std::vector<json> steps;
    if (normalizer.is_object() && TypeOf(normalizer) == "Sequence") {
      for (const json& step : Get(normalizer, "normalizers")) steps.push_back(step);
    } else if (!normalizer.is_null()) {
      steps.push_back(normalizer);
    }
    for (const json& step : steps) {
      const bool marks = TypeOf(step) == "Replace" && Get(Get(step, "pattern"), "String") == " " &&
                         Get(step, "content") == kWordMark;
      if (!marks) return Unsupported("normalizer " + TypeOf(step));
      out_.spaces_to_marks = true;
    }
    return absl::OkStatus();
  }

  absl::Status ReadPreTokenizer(const json& pre_tokenizer) const {
    if (pre_tokenizer.is_null()) return absl::OkStatus();
    // Gemma's splits at spaces, of which the normalizer has left none.
    const bool idle = TypeOf(pre_tokenizer) == "Split" && out_.spaces_to_marks &&
                      Get(Get(pre_tokenizer, "pattern"), "String") == " ";
    return idle ? absl::OkStatus() : Unsupported("pre_tokenizer " + TypeOf(pre_tokenizer));
  }

  absl::Status ReadPostProcessor(const json& post) {
    if (post.is_null()) return absl::OkStatus();
    if (TypeOf(post) != "TemplateProcessing") return Unsupported("post_processor " + TypeOf(post));
    bool behind = false;
    for (const json& part : Get(post, "single")) {
      if (part.contains("Sequence")) {
        behind = true;
        continue;
      }
      const json& name = Get(Get(part, "SpecialToken"), "id");
      if (!name.is_string()) return Damaged("a part of the post_processor has no name");
      const json& token = Get(Get(post, "special_tokens"), name.get<std::string>().c_str());
      const json& ids = Get(token, "ids");
      if (!ids.is_array()) {
        return Damaged(
            absl::StrCat("the post_processor does not say what ", name.get<std::string>(), " is"));
      }
      for (const json& id : ids) {
        if (!id.is_number_integer() || id < 0 || id >= static_cast<int64_t>(out_.pieces.size())) {
          return Damaged("the post_processor adds a token that the vocabulary does not have");
        }
        (behind ? out_.suffix : out_.prefix).push_back(id.get<int32_t>());
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadDecoder(const json& decoder) const {
    static constexpr absl::string_view kSteps[] = {"Replace", "ByteFallback", "Fuse"};
    const json& steps = Get(decoder, "decoders");
    bool known = TypeOf(decoder) == "Sequence" && steps.is_array() && steps.size() == 3;
    for (size_t i = 0; known && i < 3; ++i) known = TypeOf(steps[i]) == kSteps[i];
    known = known && Get(Get(steps[0], "pattern"), "String") == kWordMark &&
            Get(steps[0], "content") == " ";
    return known ? absl::OkStatus()
                 : Unsupported(absl::StrCat("decoder ", TypeOf(decoder),
                                            " (Replace, ByteFallback and Fuse are wanted)"));
  }

  absl::Status BuildCharacters() {
    out_.bpe.vocab_size = static_cast<int32_t>(out_.pieces.size());
    out_.bpe.byte_ids.fill(-1);
    out_.special.assign(out_.pieces.size(), false);
    for (const WholeToken& token : out_.whole_tokens) {
      out_.special[static_cast<size_t>(token.id)] = token.special;
    }
    for (size_t i = 0; i < out_.pieces.size(); ++i) {
      const std::string& piece = out_.pieces[i];
      const auto id = static_cast<int32_t>(i);
      const int byte = ByteOfPiece(piece);
      PieceKind kind = PieceKind::kNormal;
      if (byte >= 0) kind = PieceKind::kByte;
      if (id == out_.bpe.unk_id) kind = PieceKind::kUnknown;
      out_.kinds.push_back(kind);
      if (byte >= 0 && byte_fallback_) out_.bpe.byte_ids[static_cast<size_t>(byte)] = id;
    }
    for (const auto& [piece, id] : vocab_) {
      if (!piece.empty() && Utf8Length(piece) == piece.size()) {
        out_.bpe.characters[piece] = static_cast<int32_t>(id);
      }
    }
    return absl::OkStatus();
  }

  const absl::string_view bytes_;
  const std::string& path_;
  json root_;
  std::vector<std::pair<std::string, int64_t>> vocab_;
  std::vector<json> merges_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::vector<bool> taken_;
  bool byte_fallback_ = false;
  Vocabulary out_;
};

}  // namespace

absl::StatusOr<Vocabulary> ReadTokenizerJson(absl::string_view bytes, const std::string& path) {
  return TokenizerJsonReader(bytes, path).Read();
}

}  // namespace tandem
