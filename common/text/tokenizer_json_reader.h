// tokenizer.json as it is parsed: the two large tables apart, the rest as a JSON value.
#ifndef TANDEM_COMMON_TEXT_TOKENIZER_JSON_READER_H_
#define TANDEM_COMMON_TEXT_TOKENIZER_JSON_READER_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/text/tokenizer_file.h"
#include "common/text/vocabulary.h"

namespace tandem {

// model.merges as written: the left and right text of each, in one buffer.
class MergeTexts {
 public:
  void Add(absl::string_view left, absl::string_view right) {
    for (const absl::string_view part : {left, right}) {
      text_.append(part.data(), part.size());
      ends_.push_back(text_.size());
    }
  }
  size_t size() const { return ends_.size() / 2; }
  absl::string_view Left(size_t i) const { return Part(2 * i); }
  absl::string_view Right(size_t i) const { return Part(2 * i + 1); }

 private:
  absl::string_view Part(size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return absl::string_view(text_).substr(begin, ends_[i] - begin);
  }

  std::string text_;
  std::vector<size_t> ends_;
};

struct TokenizerJson {
  nlohmann::json root;  // Without model.vocab and model.merges.
  Vocabulary vocabulary;
  MergeTexts merges;
  bool has_vocabulary = false;
  bool has_merges = false;
};

absl::StatusOr<TokenizerJson> ReadTokenizerJson(absl::string_view bytes, const FileErrors& errors);

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_TOKENIZER_JSON_READER_H_
