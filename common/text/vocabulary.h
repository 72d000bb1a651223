// The pieces of a tokenizer by id and by text.
#ifndef TANDEM_COMMON_TEXT_VOCABULARY_H_
#define TANDEM_COMMON_TEXT_VOCABULARY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace tandem {

// Far above any vocabulary of the Gemma family (262,144), far below what would exhaust memory.
inline constexpr int64_t kMaxVocabularySize = int64_t{1} << 22;
inline constexpr size_t kMaxPieceBytes = 4096;

class Vocabulary {
 public:
  enum class AddResult : uint8_t { kAdded, kTextTaken, kIdTaken };

  void Reserve(size_t num_pieces);
  // 0 <= id < kMaxVocabularySize; `text` is copied. Ids may come in any order and leave holes.
  AddResult Add(absl::string_view text, int32_t id);

  // -1 where there is none.
  int32_t Find(absl::string_view text) const {
    const auto it = ids_.find(text);
    return it == ids_.end() ? -1 : it->second;
  }
  bool Contains(int32_t id) const {
    return id >= 0 && id < size() && texts_[static_cast<size_t>(id)].data() != nullptr;
  }
  // Empty for an id that no piece has.
  absl::string_view Text(int32_t id) const {
    return Contains(id) ? texts_[static_cast<size_t>(id)] : absl::string_view();
  }
  int32_t size() const { return static_cast<int32_t>(texts_.size()); }  // Largest id + 1.
  size_t num_pieces() const { return ids_.size(); }

 private:
  absl::string_view Copy(absl::string_view text);

  // Blocks never move, so that the views into them stay good.
  std::vector<std::unique_ptr<char[]>> blocks_;
  size_t block_used_ = 0;
  std::vector<absl::string_view> texts_;
  absl::flat_hash_map<absl::string_view, int32_t> ids_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_VOCABULARY_H_
