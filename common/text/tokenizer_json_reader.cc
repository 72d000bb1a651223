#include "common/text/tokenizer_json_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 32;
constexpr size_t kMaxValues = size_t{1} << 22;  // A Gemma file has about 50,000 outside the tables.
constexpr size_t kMaxMerges = size_t{1} << 23;

// nlohmann's parser calls this for each value. model.vocab and model.merges, which hold a million
// strings, go straight into their tables; no JSON value is made of them.
class Handler final : public nlohmann::json_sax<json> {
 public:
  Handler(size_t file_bytes, const FileErrors& errors, TokenizerJson* out)
      // A piece takes more than a byte of the file; so a small file cannot ask for a large table.
      : max_ids_(std::min(kMaxVocabularySize, static_cast<int64_t>(file_bytes))),
        errors_(errors),
        out_(*out) {}

  const absl::Status& status() const { return status_; }

  bool null() override { return Value(nullptr); }
  bool boolean(bool value) override { return Value(value); }
  bool number_integer(number_integer_t value) override {
    if (mode_ == Mode::kVocabulary) return VocabularyId(-1);
    return Value(value);
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (mode_ == Mode::kVocabulary) {
      return VocabularyId(value < kMaxVocabularySize ? static_cast<int64_t>(value)
                                                     : kMaxVocabularySize);
    }
    return Value(value);
  }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return Value(value);
  }
  bool string(string_t& value) override {
    if (mode_ == Mode::kMerges) return MergeLine(value);
    if (mode_ == Mode::kMergePair) {
      pair_.push_back(value);
      return pair_.size() <= 2 || BadMerge();
    }
    return Value(std::move(value));
  }
  bool binary(binary_t& /*value*/) override { return false; }  // JSON has none.

  bool start_object(size_t /*size*/) override {
    if (IsTable("vocab")) {
      mode_ = Mode::kVocabulary;
      out_.has_vocabulary = true;
      return true;
    }
    return Open(json::object());
  }
  bool key(string_t& value) override {
    key_ = std::move(value);
    return true;
  }
  bool end_object() override {
    if (mode_ == Mode::kVocabulary) {
      mode_ = Mode::kTree;
      return true;
    }
    return Close();
  }
  bool start_array(size_t /*size*/) override {
    if (mode_ == Mode::kMerges) {
      mode_ = Mode::kMergePair;
      pair_.clear();
      return true;
    }
    if (IsTable("merges")) {
      mode_ = Mode::kMerges;
      out_.has_merges = true;
      return true;
    }
    return Open(json::array());
  }
  bool end_array() override {
    if (mode_ == Mode::kMergePair) {
      mode_ = Mode::kMerges;
      return pair_.size() == 2 ? AddMerge(pair_[0], pair_[1]) : BadMerge();
    }
    if (mode_ == Mode::kMerges) {
      mode_ = Mode::kTree;
      return true;
    }
    return Close();
  }

  bool parse_error(size_t position, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return Fail(errors_.Damaged(absl::StrCat("byte ", position), "not JSON from here on"));
  }

 private:
  enum class Mode : uint8_t { kTree, kVocabulary, kMerges, kMergePair };

  bool Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
    return false;
  }

  bool IsTable(const char* name) const {
    return mode_ == Mode::kTree && open_.size() == 2 && model_is_open_ && key_ == name;
  }

  // Where a value belongs that begins now; null after a failure.
  json* Place() {
    switch (mode_) {
      case Mode::kVocabulary:
        Fail(errors_.Damaged(absl::StrCat("model.vocab[", Quoted(key_), "]"), "not an integer"));
        return nullptr;
      case Mode::kMerges:
      case Mode::kMergePair:
        BadMerge();
        return nullptr;
      case Mode::kTree:
        break;
    }
    if (++num_values_ > kMaxValues) {
      Fail(errors_.Unsupported("", absl::StrCat("more than ", kMaxValues, " JSON values")));
      return nullptr;
    }
    if (open_.empty()) return &out_.root;
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(nullptr);
      return &parent.back();
    }
    if (parent.contains(key_)) {
      Fail(errors_.Damaged("", absl::StrCat("the key ", Quoted(key_), " stands twice")));
      return nullptr;
    }
    return &parent[key_];
  }

  bool Value(json value) {
    json* const place = Place();
    if (place == nullptr) return false;
    *place = std::move(value);
    return true;
  }

  bool Open(json value) {
    if (open_.size() == kMaxDepth) {
      return Fail(errors_.Unsupported("", absl::StrCat("JSON nested deeper than ", kMaxDepth)));
    }
    json* const place = Place();
    if (place == nullptr) return false;
    if (open_.size() == 1) model_is_open_ = key_ == "model" && value.is_object();
    *place = std::move(value);
    open_.push_back(place);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  bool VocabularyId(int64_t id) {
    const std::string place = absl::StrCat("model.vocab[", Quoted(key_), "]");
    if (id < 0) return Fail(errors_.Damaged(place, "a negative id"));
    if (id >= kMaxVocabularySize) {
      return Fail(
          errors_.Unsupported(place, absl::StrCat("an id of ", kMaxVocabularySize, " or more")));
    }
    if (id >= max_ids_) {
      return Fail(errors_.Damaged(place, absl::StrCat("the id ", id, " in so small a file")));
    }
    if (key_.size() > kMaxPieceBytes) {
      return Fail(errors_.Unsupported(place, absl::StrCat("a piece of ", key_.size(), " bytes")));
    }
    switch (out_.vocabulary.Add(key_, static_cast<int32_t>(id))) {
      case Vocabulary::AddResult::kAdded:
        return true;
      case Vocabulary::AddResult::kTextTaken:
        return Fail(errors_.Damaged(place, "this piece stands twice"));
      case Vocabulary::AddResult::kIdTaken:
        break;
    }
    return Fail(errors_.Damaged(
        place, absl::StrCat("the id ", id, " also belongs to ",
                            Quoted(out_.vocabulary.Text(static_cast<int32_t>(id))))));
  }

  std::string MergePlace() const { return absl::StrCat("model.merges[", out_.merges.size(), "]"); }

  bool BadMerge() {
    return Fail(errors_.Damaged(MergePlace(), "neither \"left right\" nor [\"left\", \"right\"]"));
  }

  bool MergeLine(const std::string& line) {
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      return BadMerge();
    }
    return AddMerge(absl::string_view(line).substr(0, space),
                    absl::string_view(line).substr(space + 1));
  }

  bool AddMerge(absl::string_view left, absl::string_view right) {
    if (out_.merges.size() == kMaxMerges) {
      return Fail(errors_.Unsupported(MergePlace(), "a number of merges beyond 8 million"));
    }
    out_.merges.Add(left, right);
    return true;
  }

  const int64_t max_ids_;
  const FileErrors& errors_;
  TokenizerJson& out_;
  absl::Status status_;
  Mode mode_ = Mode::kTree;
  // Containers that are open; pointers stay good, since only the innermost one grows.
  std::vector<json*> open_;
  bool model_is_open_ = false;
  std::string key_;
  std::vector<std::string> pair_;
  size_t num_values_ = 0;
};

}  // namespace

absl::StatusOr<TokenizerJson> ReadTokenizerJson(absl::string_view bytes, const FileErrors& errors) {
  TokenizerJson out;
  Handler handler(bytes.size(), errors, &out);
  try {
    if (!json::sax_parse(bytes.begin(), bytes.end(), &handler)) {
      if (!handler.status().ok()) return handler.status();
      return errors.Damaged("", "not JSON");
    }
  } catch (const std::exception& e) {
    return errors.Damaged("", e.what());
  }
  return out;
}

}  // namespace tandem
