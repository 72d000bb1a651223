#include "coordinator/io/id_set.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <utility>

namespace tandem {
namespace {

bool Equal(const uint32_t* a, const uint32_t* b) {
  return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

bool IsFree(const uint32_t* a) { return (a[0] | a[1] | a[2]) == 0; }

// A shard takes no more than this before it grows: probes stay short (at 0.9, five on average).
bool IsFull(int64_t used, int64_t slots) { return used * 10 >= slots * 9; }

}  // namespace

// The slot that holds `wanted`, or the free one where it belongs.
IdSet::Slot& IdSet::Find(Shard& shard, const Slot& wanted) {
  const auto slots = static_cast<uint64_t>(shard.slots.size());
  // Scales the first word to [0, slots) without a division.
  uint64_t at = (uint64_t{wanted.word[0]} * slots) >> 32;
  while (true) {
    Slot& slot = shard.slots[static_cast<int64_t>(at)];
    if (IsFree(slot.word) || Equal(slot.word, wanted.word)) return slot;
    at = at + 1 == slots ? 0 : at + 1;
  }
}

void IdSet::Grow(Shard& shard, int index) {
  // The first size differs from shard to shard over one step of growth, so that they do not all
  // grow at the same number of ids.
  const int64_t old_slots = shard.slots.size();
  const int64_t slots = old_slots == 0 ? 300 + 75 * index / kShards : old_slots + old_slots / 4;
  Shard grown;
  grown.slots = AlignedBuffer<Slot>(slots);
  grown.used = shard.used;
  for (int64_t i = 0; i < old_slots; ++i) {
    const Slot& slot = shard.slots[i];
    if (!IsFree(slot.word)) Find(grown, slot) = slot;
  }
  shard = std::move(grown);
}

bool IdSet::Insert(absl::string_view key) {
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  Slot wanted = {{static_cast<uint32_t>(hash.low64), static_cast<uint32_t>(hash.low64 >> 32),
                  static_cast<uint32_t>(hash.high64)}};
  if (IsFree(wanted.word)) wanted.word[2] = 1;
  const int index = static_cast<int>(hash.high64 >> 56);
  Shard& shard = shards_[static_cast<size_t>(index)];
  if (IsFull(shard.used, shard.slots.size())) Grow(shard, index);
  Slot& slot = Find(shard, wanted);
  if (!IsFree(slot.word)) return false;
  slot = wanted;
  ++shard.used;
  ++size_;
  return true;
}

int64_t IdSet::memory_bytes() const {
  int64_t slots = 0;
  for (const Shard& shard : shards_) slots += shard.slots.size();
  return slots * static_cast<int64_t>(sizeof(Slot));
}

}  // namespace tandem
