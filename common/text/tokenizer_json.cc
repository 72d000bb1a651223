// tokenizer.json (Hugging Face's tokenizers): what its parts say, for BPE models as Gemma's. Each
// setting that would change ids or text is either followed or refused by its name.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/base/json_text.h"
#include "common/base/status_macros.h"
#include "common/text/bpe_tokenizer.h"
#include "common/text/tokenizer_file.h"
#include "common/text/tokenizer_json_reader.h"

namespace tandem {
namespace {

using nlohmann::json;

// Together the normalizer's replacements may make a text this much longer.
constexpr size_t kMaxGrowth = 16;
constexpr size_t kMaxSteps = 16;

// Reads typed fields of a JSON object; the first thing that is wrong is kept as the status.
class Fields {
 public:
  Fields(const json& object, std::string place, const FileErrors& errors)
      : object_(object), place_(std::move(place)), errors_(errors) {
    if (!object_.is_object()) Fail(errors_.Damaged(place_, "not an object"));
  }

  const absl::Status& status() const { return status_; }
  std::string PlaceOf(absl::string_view key) const {
    return place_.empty() ? std::string(key) : absl::StrCat(place_, ".", key);
  }

  // Null where the field is absent or null.
  const json* Find(const std::string& key) const {
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  const json* Need(const std::string& key) {
    const json* const value = Find(key);
    if (value == nullptr) Fail(errors_.Damaged(PlaceOf(key), "missing"));
    return value;
  }
  std::string Text(const std::string& key) {
    const json* const value = Need(key);
    if (value == nullptr) return "";
    if (value->is_string()) return value->get<std::string>();
    Fail(errors_.Damaged(PlaceOf(key), "not a string"));
    return "";
  }
  bool Flag(const std::string& key, bool absent) {
    const json* const value = Find(key);
    if (value == nullptr) return absent;
    if (value->is_boolean()) return value->get<bool>();
    Fail(errors_.Damaged(PlaceOf(key), "not true or false"));
    return absent;
  }
  int64_t Integer(const std::string& key) {
    const json* const value = Need(key);
    if (value == nullptr) return -1;
    if (value->is_number_unsigned() &&
        value->get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()}) {
      return value->get<int64_t>();
    }
    Fail(errors_.Damaged(PlaceOf(key), "not a natural number"));
    return -1;
  }
  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

 private:
  const json& object_;
  std::string place_;
  const FileErrors& errors_;
  absl::Status status_;
};

// A value of the file for a message.
std::string Shown(const json& value) {
  return Shorten(value.dump(-1, ' ', /*ensure_ascii=*/true), 60);
}

std::string ItemPlace(absl::string_view list, size_t i) { return absl::StrCat(list, "[", i, "]"); }

class Interpreter {
 public:
  Interpreter(TokenizerJson json, const TokenizerConfig* config, const FileErrors& errors)
      : json_(std::move(json)), config_(config), errors_(errors) {}

  absl::StatusOr<TokenizerParts> Run(absl::string_view bytes);

 private:
  absl::Status ReadModel();
  absl::Status ReadMerges(BpeSpec* spec);
  absl::Status CheckMerge(const BpeSpec& spec, const BpeMerge& merge, size_t index) const;
  absl::Status ReadByteFallback(BpeSpec* spec);
  absl::Status ReadNormalizer(const json& value, const std::string& place);
  absl::Status ReadPreTokenizer(const json& value, const std::string& place);
  absl::Status ReadAddedTokens();
  absl::StatusOr<AddedToken> ReadAddedToken(const json& value, const std::string& place);
  absl::Status PlaceAddedToken(const AddedToken& token, const std::string& place);
  absl::Status ReadPostProcessor(const json& value, const std::string& place);
  absl::Status ReadTemplate(const json& value, const std::string& place);
  absl::Status ReadDecoder();
  absl::Status ReadDecodeStep(const json& value, const std::string& place);
  // The literal of {"String": "..."}.
  absl::StatusOr<std::string> ReadPattern(Fields* fields);
  absl::Status FindBosAndEos();

  const json* Root(const char* key) const {
    const auto it = json_.root.find(key);
    return it == json_.root.end() || it->is_null() ? nullptr : &*it;
  }

  TokenizerJson json_;
  const TokenizerConfig* config_;
  const FileErrors& errors_;
  TokenizerParts parts_;
  BpeSpec spec_;
  size_t growth_ = 1;
  size_t model_pieces_ = 0;        // Of model.vocab alone.
  int32_t largest_added_id_ = -1;  // As the reference numbers added tokens that are new.
  bool has_template_ = false;
  // The decoder's steps come in a fixed order.
  std::vector<NormalizeStep> decode_replacements_;
  bool decodes_bytes_ = false;
  bool fuses_ = false;
  bool strips_ = false;
  char32_t strip_content_ = 0;
  int32_t strip_count_ = 0;
};

absl::StatusOr<TokenizerParts> Interpreter::Run(absl::string_view bytes) {
  if (!json_.root.is_object()) return errors_.Damaged("", "not a JSON object");
  // truncation and padding are left alone: they are what a training run had last set, and
  // transformers, too, sets them aside.
  for (const auto& item : json_.root.items()) {
    static constexpr absl::string_view kKnown[] = {"version",        "truncation", "padding",
                                                   "added_tokens",   "normalizer", "pre_tokenizer",
                                                   "post_processor", "decoder",    "model"};
    if (std::find(std::begin(kKnown), std::end(kKnown), item.key()) == std::end(kKnown)) {
      return errors_.Unsupported(Quoted(item.key()), "this setting");
    }
  }
  if (const json* version = Root("version"); version != nullptr && *version != "1.0") {
    return errors_.Unsupported("version", Shown(*version));
  }
  TANDEM_RETURN_IF_ERROR(ReadModel());
  if (const json* normalizer = Root("normalizer")) {
    TANDEM_RETURN_IF_ERROR(ReadNormalizer(*normalizer, "normalizer"));
  }
  if (const json* pre_tokenizer = Root("pre_tokenizer")) {
    TANDEM_RETURN_IF_ERROR(ReadPreTokenizer(*pre_tokenizer, "pre_tokenizer"));
  }
  TANDEM_RETURN_IF_ERROR(ReadAddedTokens());
  if (const json* post_processor = Root("post_processor")) {
    TANDEM_RETURN_IF_ERROR(ReadPostProcessor(*post_processor, "post_processor"));
  }
  TANDEM_RETURN_IF_ERROR(ReadDecoder());
  TANDEM_RETURN_IF_ERROR(FindBosAndEos());
  parts_.format = "tokenizer.json";
  parts_.identity_hash = IdentityHash(bytes, config_);
  parts_.repair = Utf8Repair::kMaximalSubpart;
  parts_.drops_special = true;
  return std::move(parts_);
}

absl::Status Interpreter::ReadModel() {
  const json* const model = Root("model");
  if (model == nullptr) return errors_.Damaged("model", "missing");
  Fields fields(*model, "model", errors_);
  const std::string type = fields.Text("type");
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (type != "BPE") return errors_.Unsupported("model.type", Quoted(type));
  if (!json_.has_vocabulary) {
    const bool other = fields.Find("vocab") != nullptr;
    return errors_.Damaged("model.vocab", other ? "not an object" : "missing");
  }
  if (!json_.has_merges) {
    const bool other = fields.Find("merges") != nullptr;
    return errors_.Damaged("model.merges", other ? "not an array" : "missing");
  }
  for (const auto& item : model->items()) {
    static constexpr absl::string_view kKnown[] = {"type",
                                                   "dropout",
                                                   "unk_token",
                                                   "continuing_subword_prefix",
                                                   "end_of_word_suffix",
                                                   "fuse_unk",
                                                   "byte_fallback",
                                                   "ignore_merges"};
    if (std::find(std::begin(kKnown), std::end(kKnown), item.key()) == std::end(kKnown)) {
      return errors_.Unsupported(absl::StrCat("model[", Quoted(item.key()), "]"), "this setting");
    }
  }
  if (const json* dropout = fields.Find("dropout"); dropout != nullptr && *dropout != 0.0) {
    return errors_.Unsupported("model.dropout", Shown(*dropout));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json* const affix = fields.Find(key);
    if (affix != nullptr && *affix != "") {
      return errors_.Unsupported(fields.PlaceOf(key), Shown(*affix));
    }
  }
  parts_.whole_pieces_first = fields.Flag("ignore_merges", false);
  spec_.byte_fallback = fields.Flag("byte_fallback", false);
  spec_.fuse_unk = fields.Flag("fuse_unk", false);
  if (fields.Find("unk_token") != nullptr) {
    const std::string unk = fields.Text("unk_token");
    spec_.unk_id = json_.vocabulary.Find(unk);
    if (spec_.unk_id < 0) {
      fields.Fail(errors_.Damaged("model.unk_token", absl::StrCat(Quoted(unk), " is no piece")));
    } else if (!spec_.byte_fallback && IsSingleCharacter(unk)) {
      fields.Fail(errors_.Unsupported("model.unk_token", "a single character"));
    }
  }
  TANDEM_RETURN_IF_ERROR(fields.status());
  model_pieces_ = json_.vocabulary.num_pieces();

  spec_.num_pieces = json_.vocabulary.size();
  for (int32_t id = 0; id < json_.vocabulary.size(); ++id) {
    const absl::string_view piece = json_.vocabulary.Text(id);
    if (IsSingleCharacter(piece)) {
      spec_.characters.emplace_back(DecodeValidUtf8(piece, 0).code_point, id);
    }
  }
  TANDEM_RETURN_IF_ERROR(ReadByteFallback(&spec_));
  TANDEM_RETURN_IF_ERROR(ReadMerges(&spec_));
  parts_.model = std::make_unique<BpeModel>(std::move(spec_));
  parts_.vocabulary = std::move(json_.vocabulary);
  return absl::OkStatus();
}

// A byte below 0x80 may lack its piece where its character is one, so that it is never unknown:
// conversions of Gemma's first files have "\t" in the place of "<0x09>".
absl::Status Interpreter::ReadByteFallback(BpeSpec* spec) {
  if (!spec->byte_fallback) {
    if (spec->unk_id >= 0) return absl::OkStatus();
    return errors_.Unsupported("model", "neither byte_fallback nor unk_token");
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string piece = PieceOfByte(static_cast<uint8_t>(byte));
    const int32_t id = json_.vocabulary.Find(piece);
    spec->byte_pieces[static_cast<size_t>(byte)] = id;
    const char character = static_cast<char>(byte);
    if (id >= 0 || (byte < 0x80 && json_.vocabulary.Find({&character, 1}) >= 0)) continue;
    return errors_.Damaged("model.vocab",
                           absl::StrCat("byte_fallback is set and ", Quoted(piece), " is missing"));
  }
  return absl::OkStatus();
}

absl::Status Interpreter::ReadMerges(BpeSpec* spec) {
  const Vocabulary& vocabulary = json_.vocabulary;
  const MergeTexts& texts = json_.merges;
  absl::flat_hash_map<uint64_t, size_t> places;  // Of each pair in spec->merges.
  places.reserve(texts.size());
  spec->merges.reserve(texts.size());
  std::string joined;
  for (size_t i = 0; i < texts.size(); ++i) {
    const absl::string_view left = texts.Left(i);
    const absl::string_view right = texts.Right(i);
    joined.assign(left.data(), left.size());
    joined.append(right.data(), right.size());
    const std::pair<absl::string_view, int32_t> parts[] = {{left, vocabulary.Find(left)},
                                                           {right, vocabulary.Find(right)},
                                                           {joined, vocabulary.Find(joined)}};
    for (const auto& [text, id] : parts) {
      if (id >= 0 && !text.empty()) continue;
      return errors_.Damaged(ItemPlace("model.merges", i),
                             absl::StrCat(Quoted(text), " is not in model.vocab"));
    }
    BpeMerge merge = {
        parts[0].second, parts[1].second, parts[2].second, static_cast<uint32_t>(i), 0, 0};
    TANDEM_RETURN_IF_ERROR(CheckMerge(*spec, merge, i));
    size_t last = left.size() - 1;
    while ((static_cast<uint8_t>(left[last]) & 0xC0) == 0x80) --last;
    merge.left_last = DecodeValidUtf8(left, last).code_point;
    merge.right_first = DecodeValidUtf8(right, 0).code_point;
    const uint64_t key =
        uint64_t{static_cast<uint32_t>(merge.left)} << 32 | static_cast<uint32_t>(merge.right);
    const auto [place, is_new] = places.emplace(key, spec->merges.size());
    if (is_new) {
      spec->merges.push_back(merge);
    } else {
      spec->merges[place->second] = merge;  // The reference, too, keeps the last of two.
    }
  }
  return absl::OkStatus();
}

// These pieces stand for characters other than those of their own text, and the engine cuts texts
// between characters.
absl::Status Interpreter::CheckMerge(const BpeSpec& spec, const BpeMerge& merge,
                                     size_t index) const {
  const Vocabulary& vocabulary = json_.vocabulary;
  const auto refuse = [&](int32_t id) {
    return errors_.Unsupported(ItemPlace("model.merges", index),
                               absl::StrCat("a merge with ", Quoted(vocabulary.Text(id))));
  };
  for (const int32_t id : {merge.left, merge.right}) {
    if (spec.byte_fallback && ByteOfPiece(vocabulary.Text(id)) >= 0) return refuse(id);
  }
  for (const int32_t id : {merge.left, merge.right, merge.result}) {
    if (id == spec.unk_id) return refuse(id);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Interpreter::ReadPattern(Fields* fields) {
  const json* const pattern = fields->Need("pattern");
  TANDEM_RETURN_IF_ERROR(fields->status());
  const std::string place = fields->PlaceOf("pattern");
  if (!pattern->is_object() || pattern->size() != 1) {
    return errors_.Damaged(place, "not {\"String\": ...}");
  }
  if (pattern->begin().key() != "String") {
    return errors_.Unsupported(place, pattern->begin().key());
  }
  Fields inner(*pattern, place, errors_);
  const std::string text = inner.Text("String");
  TANDEM_RETURN_IF_ERROR(inner.status());
  if (text.empty()) return errors_.Unsupported(place, "an empty pattern");
  if (text.size() > kMaxPieceBytes) return errors_.Unsupported(place, "so long a pattern");
  return text;
}

absl::Status Interpreter::ReadNormalizer(const json& value, const std::string& place) {
  Fields fields(value, place, errors_);
  const std::string type = fields.Text("type");
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (type == "Sequence") {
    const json* const list = fields.Need("normalizers");
    TANDEM_RETURN_IF_ERROR(fields.status());
    if (!list->is_array()) return errors_.Damaged(fields.PlaceOf("normalizers"), "not an array");
    for (size_t i = 0; i < list->size(); ++i) {
      TANDEM_RETURN_IF_ERROR(
          ReadNormalizer((*list)[i], ItemPlace(fields.PlaceOf("normalizers"), i)));
    }
    return absl::OkStatus();
  }
  NormalizeStep step;
  if (type == "Replace") {
    TANDEM_ASSIGN_OR_RETURN(step.pattern, ReadPattern(&fields));
    step.content = fields.Text("content");
    growth_ *=
        std::max<size_t>(1, (step.content.size() + step.pattern.size() - 1) / step.pattern.size());
  } else if (type == "Prepend") {
    step.kind = NormalizeStep::Kind::kPrepend;
    step.content = fields.Text("prepend");
  } else {
    return errors_.Unsupported(fields.PlaceOf("type"), Quoted(type));
  }
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (growth_ > kMaxGrowth || step.content.size() > kMaxPieceBytes ||
      parts_.normalizer.size() == kMaxSteps) {
    return errors_.Unsupported(place, "a normalizer that makes texts so much longer");
  }
  parts_.normalizer.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status Interpreter::ReadPreTokenizer(const json& value, const std::string& place) {
  Fields fields(value, place, errors_);
  const std::string type = fields.Text("type");
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (type == "Sequence") {
    const json* const list = fields.Need("pretokenizers");
    TANDEM_RETURN_IF_ERROR(fields.status());
    if (!list->is_array()) return errors_.Damaged(fields.PlaceOf("pretokenizers"), "not an array");
    for (size_t i = 0; i < list->size(); ++i) {
      TANDEM_RETURN_IF_ERROR(
          ReadPreTokenizer((*list)[i], ItemPlace(fields.PlaceOf("pretokenizers"), i)));
    }
    return absl::OkStatus();
  }
  if (type != "Split") return errors_.Unsupported(fields.PlaceOf("type"), Quoted(type));
  SplitStep step;
  TANDEM_ASSIGN_OR_RETURN(step.pattern, ReadPattern(&fields));
  if (fields.Flag("invert", false)) return errors_.Unsupported(fields.PlaceOf("invert"), "true");
  const std::string behavior = fields.Text("behavior");
  TANDEM_RETURN_IF_ERROR(fields.status());
  using Behavior = SplitStep::Behavior;
  static constexpr std::pair<absl::string_view, Behavior> kBehaviors[] = {
      {"Removed", Behavior::kRemoved},
      {"Isolated", Behavior::kIsolated},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  const auto* const found =
      std::find_if(std::begin(kBehaviors), std::end(kBehaviors),
                   [&](const auto& known) { return known.first == behavior; });
  if (found == std::end(kBehaviors)) {
    return errors_.Unsupported(fields.PlaceOf("behavior"), Quoted(behavior));
  }
  step.behavior = found->second;
  if (parts_.splits.size() == kMaxSteps) return errors_.Unsupported(place, "so many steps");
  parts_.splits.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status Interpreter::ReadAddedTokens() {
  const json* const list = Root("added_tokens");
  if (list == nullptr) return absl::OkStatus();
  if (!list->is_array()) return errors_.Damaged("added_tokens", "not an array");
  absl::flat_hash_map<std::string, size_t> seen;
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string place = ItemPlace("added_tokens", i);
    TANDEM_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken((*list)[i], place));
    if (!seen.emplace(token.content, i).second) {
      return errors_.Damaged(place, absl::StrCat(Quoted(token.content), " stands twice"));
    }
    TANDEM_RETURN_IF_ERROR(PlaceAddedToken(token, place));
    const auto id = static_cast<size_t>(token.id);
    if (parts_.is_special.size() <= id) parts_.is_special.resize(id + 1);
    parts_.is_special[id] = token.special;
    if (!token.normalized) {
      parts_.raw_tokens.push_back(std::move(token));
      continue;
    }
    token.content = Normalize(parts_.normalizer, token.content);
    if (token.content.empty()) return errors_.Unsupported(place, "content that normalizes to none");
    parts_.normalized_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> Interpreter::ReadAddedToken(const json& value,
                                                       const std::string& place) {
  Fields fields(value, place, errors_);
  AddedToken token;
  token.content = fields.Text("content");
  const int64_t id = fields.Integer("id");
  token.special = fields.Flag("special", false);
  token.normalized = fields.Flag("normalized", !token.special);
  token.lstrip = fields.Flag("lstrip", false);
  token.rstrip = fields.Flag("rstrip", false);
  token.single_word = fields.Flag("single_word", false);
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (token.content.empty()) return errors_.Damaged(fields.PlaceOf("content"), "empty");
  if (token.content.size() > kMaxPieceBytes) {
    return errors_.Unsupported(fields.PlaceOf("content"), "so long a token");
  }
  if (id >= kMaxVocabularySize) {
    return errors_.Unsupported(fields.PlaceOf("id"),
                               absl::StrCat("an id of ", kMaxVocabularySize, " or more"));
  }
  token.id = static_cast<int32_t>(id);
  return token;
}

// A token that is a piece has the piece's id; the reference numbers the others itself, and a file
// that says something else is read differently by different programs.
absl::Status Interpreter::PlaceAddedToken(const AddedToken& token, const std::string& place) {
  const auto num_model_pieces = static_cast<int32_t>(model_pieces_);
  const int32_t known = parts_.vocabulary.Find(token.content);
  const int32_t expected = known >= 0                              ? known
                           : largest_added_id_ >= num_model_pieces ? largest_added_id_ + 1
                                                                   : num_model_pieces;
  if (token.id != expected) {
    return errors_.Damaged(place, absl::StrCat(Quoted(token.content), " has the id ", token.id,
                                               " where ", expected, " is due"));
  }
  largest_added_id_ = std::max(largest_added_id_, token.id);
  if (known >= 0) return absl::OkStatus();
  if (parts_.vocabulary.Add(token.content, token.id) != Vocabulary::AddResult::kAdded) {
    return errors_.Damaged(place, absl::StrCat("the id ", token.id, " also belongs to ",
                                               Quoted(parts_.vocabulary.Text(token.id))));
  }
  return absl::OkStatus();
}

absl::Status Interpreter::ReadPostProcessor(const json& value, const std::string& place) {
  Fields fields(value, place, errors_);
  const std::string type = fields.Text("type");
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (type == "TemplateProcessing") return ReadTemplate(value, place);
  if (type != "Sequence") return errors_.Unsupported(fields.PlaceOf("type"), Quoted(type));
  const json* const list = fields.Need("processors");
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (!list->is_array()) return errors_.Damaged(fields.PlaceOf("processors"), "not an array");
  for (size_t i = 0; i < list->size(); ++i) {
    TANDEM_RETURN_IF_ERROR(
        ReadPostProcessor((*list)[i], ItemPlace(fields.PlaceOf("processors"), i)));
  }
  return absl::OkStatus();
}

// "single" alone matters: texts come one by one. Its special tokens before the sequence A go in
// front, those after it behind.
absl::Status Interpreter::ReadTemplate(const json& value, const std::string& place) {
  if (has_template_) return errors_.Unsupported(place, "a second template");
  has_template_ = true;
  Fields fields(value, place, errors_);
  const json* const single = fields.Need("single");
  const json* const tokens = fields.Need("special_tokens");
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (!single->is_array()) return errors_.Damaged(fields.PlaceOf("single"), "not an array");
  bool after = false;
  for (size_t i = 0; i < single->size(); ++i) {
    const std::string item_place = ItemPlace(fields.PlaceOf("single"), i);
    Fields item((*single)[i], item_place, errors_);
    const bool is_sequence = item.Find("Sequence") != nullptr;
    const json* const inner = is_sequence ? item.Find("Sequence") : item.Need("SpecialToken");
    TANDEM_RETURN_IF_ERROR(item.status());
    Fields inner_fields(*inner, item_place, errors_);
    const std::string name = inner_fields.Text("id");
    TANDEM_RETURN_IF_ERROR(inner_fields.status());
    if (is_sequence) {
      if (name != "A" || after) return errors_.Unsupported(item_place, "this sequence");
      after = true;
      continue;
    }
    Fields table(*tokens, fields.PlaceOf("special_tokens"), errors_);
    const json* const entry = table.Need(name);
    TANDEM_RETURN_IF_ERROR(table.status());
    Fields entry_fields(*entry, table.PlaceOf(name), errors_);
    const json* const ids = entry_fields.Need("ids");
    TANDEM_RETURN_IF_ERROR(entry_fields.status());
    const std::string ids_place = entry_fields.PlaceOf("ids");
    if (!ids->is_array()) return errors_.Damaged(ids_place, "not an array");
    for (const json& id : *ids) {
      const bool known = id.is_number_unsigned() && id.get<uint64_t>() < kMaxVocabularySize &&
                         parts_.vocabulary.Contains(id.get<int32_t>());
      if (!known) return errors_.Damaged(ids_place, absl::StrCat(Shown(id), " is no id"));
      (after ? parts_.suffix : parts_.prefix).push_back(id.get<int32_t>());
    }
  }
  if (!after) return errors_.Unsupported(fields.PlaceOf("single"), "a template without sequence A");
  return absl::OkStatus();
}

absl::Status Interpreter::ReadDecoder() {
  const json* const decoder = Root("decoder");
  if (decoder == nullptr) return errors_.Unsupported("decoder", "none");
  TANDEM_RETURN_IF_ERROR(ReadDecodeStep(*decoder, "decoder"));
  parts_.decoder = PieceDecoder(PieceDecoder::ByteRun::kWholeRun);
  for (int32_t id = 0; id < parts_.vocabulary.size(); ++id) {
    DecodedPiece piece;
    piece.absent = !parts_.vocabulary.Contains(id);
    piece.text = Normalize(decode_replacements_, parts_.vocabulary.Text(id));
    if (decodes_bytes_) piece.byte = ByteOfPiece(piece.text);
    parts_.decoder.Append(piece);
  }
  if (strips_) parts_.decoder.StripFront(strip_content_, strip_count_);
  return absl::OkStatus();
}

// Replace (of each piece), ByteFallback, Fuse, Strip (of the whole): all optional, in this order.
absl::Status Interpreter::ReadDecodeStep(const json& value, const std::string& place) {
  Fields fields(value, place, errors_);
  const std::string type = fields.Text("type");
  TANDEM_RETURN_IF_ERROR(fields.status());
  if (type == "Sequence") {
    const json* const list = fields.Need("decoders");
    TANDEM_RETURN_IF_ERROR(fields.status());
    if (!list->is_array()) return errors_.Damaged(fields.PlaceOf("decoders"), "not an array");
    for (size_t i = 0; i < list->size(); ++i) {
      TANDEM_RETURN_IF_ERROR(ReadDecodeStep((*list)[i], ItemPlace(fields.PlaceOf("decoders"), i)));
    }
    return absl::OkStatus();
  }
  if (type == "Replace" && !decodes_bytes_ && !fuses_) {
    NormalizeStep step;
    TANDEM_ASSIGN_OR_RETURN(step.pattern, ReadPattern(&fields));
    step.content = fields.Text("content");
    TANDEM_RETURN_IF_ERROR(fields.status());
    if (step.content.size() > step.pattern.size() || decode_replacements_.size() == kMaxSteps) {
      return errors_.Unsupported(place, "a decoder that makes texts longer");
    }
    decode_replacements_.push_back(std::move(step));
    return absl::OkStatus();
  }
  if (type == "ByteFallback" && !decodes_bytes_ && !fuses_) {
    decodes_bytes_ = true;
    return absl::OkStatus();
  }
  if (type == "Fuse" && !fuses_) {
    fuses_ = true;
    return absl::OkStatus();
  }
  if (type == "Strip" && fuses_ && !strips_) {
    const std::string content = fields.Text("content");
    const int64_t start = fields.Integer("start");
    const int64_t stop = fields.Integer("stop");
    TANDEM_RETURN_IF_ERROR(fields.status());
    if (!IsSingleCharacter(content)) {
      return errors_.Damaged(fields.PlaceOf("content"), "not one character");
    }
    if (stop != 0) return errors_.Unsupported(fields.PlaceOf("stop"), absl::StrCat(stop));
    strips_ = true;
    strip_content_ = DecodeValidUtf8(content, 0).code_point;
    strip_count_ = static_cast<int32_t>(std::min<int64_t>(start, INT32_MAX));
    return absl::OkStatus();
  }
  return errors_.Unsupported(fields.PlaceOf("type"), absl::StrCat(Quoted(type), " at this place"));
}

// tokenizer.json does not say which token is which: tokenizer_config.json does, else the name.
absl::Status Interpreter::FindBosAndEos() {
  const auto find = [&](const std::optional<std::string>* configured,
                        std::initializer_list<const char*> names) {
    if (configured != nullptr && configured->has_value()) {
      return parts_.vocabulary.Find(**configured);
    }
    for (const char* name : names) {
      const int32_t id = parts_.vocabulary.Find(name);
      if (id >= 0) return id;
    }
    return -1;
  };
  parts_.bos_id = find(config_ == nullptr ? nullptr : &config_->bos_token, {"<bos>", "<s>"});
  parts_.eos_id = find(config_ == nullptr ? nullptr : &config_->eos_token, {"<eos>", "</s>"});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerJson(absl::string_view bytes,
                                                              const TokenizerConfig* config,
                                                              const FileErrors& errors) {
  TANDEM_ASSIGN_OR_RETURN(TokenizerJson json, ReadTokenizerJson(bytes, errors));
  Interpreter interpreter(std::move(json), config, errors);
  TANDEM_ASSIGN_OR_RETURN(TokenizerParts parts, interpreter.Run(bytes));
  return std::make_unique<BpeTokenizer>(std::move(parts));
}

}  // namespace tandem
