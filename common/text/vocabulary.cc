#include "common/text/vocabulary.h"

#include <cstring>

#include "common/base/check.h"

namespace tandem {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 18;
static_assert(kMaxPieceBytes < kBlockBytes);

}  // namespace

void Vocabulary::Reserve(size_t num_pieces) {
  texts_.reserve(num_pieces);
  ids_.reserve(num_pieces);
}

Vocabulary::AddResult Vocabulary::Add(absl::string_view text, int32_t id) {
  TANDEM_CHECK(id >= 0 && id < kMaxVocabularySize && text.size() <= kMaxPieceBytes);
  if (Contains(id)) return AddResult::kIdTaken;
  if (ids_.contains(text)) return AddResult::kTextTaken;
  if (id >= size()) texts_.resize(static_cast<size_t>(id) + 1);
  const absl::string_view copy = Copy(text);
  texts_[static_cast<size_t>(id)] = copy;
  ids_.emplace(copy, id);
  return AddResult::kAdded;
}

absl::string_view Vocabulary::Copy(absl::string_view text) {
  if (blocks_.empty() || block_used_ + text.size() > kBlockBytes) {
    blocks_.push_back(std::make_unique<char[]>(kBlockBytes));
    block_used_ = 0;
  }
  char* const begin = blocks_.back().get() + block_used_;
  std::memcpy(begin, text.data(), text.size());
  block_used_ += text.size();
  return {begin, text.size()};
}

}  // namespace tandem
