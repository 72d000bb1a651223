// Finds duplicate ids among hundreds of millions in about 16 bytes each.
#ifndef TANDEM_COORDINATOR_IO_ID_SET_H_
#define TANDEM_COORDINATOR_IO_ID_SET_H_

#include <array>
#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "common/base/aligned_buffer.h"

namespace tandem {

// A set of XXH3-128 hashes. 256 shards, each an open-addressing table of 12-byte slots: the shard's
// number is 8 bits of the hash and a slot has 96 more, so that two ids of a billion are mistaken
// for each other with a chance of 2 in 10^14. Shards grow by a quarter, one at a time and at
// different fillings: memory follows the number of ids without jumps (measured: docs in
// id_set_test.cc).
class IdSet {
 public:
  // False where the id is there already.
  bool Insert(absl::string_view key);

  int64_t size() const { return size_; }
  int64_t memory_bytes() const;  // Of the tables.

 private:
  static constexpr int kShards = 256;

  struct Slot {
    uint32_t word[3];  // All zero: free.
  };
  struct Shard {
    AlignedBuffer<Slot> slots;
    int64_t used = 0;
  };

  static Slot& Find(Shard& shard, const Slot& wanted);
  static void Grow(Shard& shard, int index);

  std::array<Shard, kShards> shards_;
  int64_t size_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_ID_SET_H_
