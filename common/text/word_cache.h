// The ids of words met before: a small direct-mapped cache, for one thread at a time.
#ifndef TANDEM_COMMON_TEXT_WORD_CACHE_H_
#define TANDEM_COMMON_TEXT_WORD_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tandem {

// 16,384 slots of one cache line: 1 MiB, so that it stays in the second-level cache. Words or
// results that do not fit into a slot are not kept; a new word takes the slot of an older one.
class WordCache {
 public:
  static constexpr size_t kMaxWordBytes = 30;
  static constexpr size_t kMaxIds = 8;

  WordCache() : slots_(kNumSlots) {}

  // Appends the ids of `word` if they are here.
  bool Find(absl::string_view word, std::vector<int32_t>* ids) const {
    if (word.size() > kMaxWordBytes) return false;
    const Slot& slot = slots_[SlotOf(word)];
    if (slot.num_bytes != word.size() || std::memcmp(slot.text, word.data(), word.size()) != 0) {
      return false;
    }
    ids->insert(ids->end(), slot.ids, slot.ids + slot.num_ids);
    return true;
  }

  void Insert(absl::string_view word, absl::Span<const int32_t> ids) {
    if (word.size() > kMaxWordBytes || ids.size() > kMaxIds) return;
    Slot& slot = slots_[SlotOf(word)];
    slot.num_bytes = static_cast<uint8_t>(word.size());
    slot.num_ids = static_cast<uint8_t>(ids.size());
    std::memcpy(slot.text, word.data(), word.size());
    std::memcpy(slot.ids, ids.data(), ids.size() * sizeof(ids[0]));
  }

 private:
  static constexpr size_t kNumSlots = 16384;

  struct alignas(64) Slot {
    uint8_t num_bytes = 0;  // 0: empty; no word is.
    uint8_t num_ids = 0;
    char text[kMaxWordBytes];
    int32_t ids[kMaxIds];
  };
  static_assert(sizeof(Slot) == 64);

  static size_t SlotOf(absl::string_view word) {
    return absl::Hash<absl::string_view>()(word) % kNumSlots;
  }

  std::vector<Slot> slots_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_WORD_CACHE_H_
