// Encoded prompts that a decoder rank holds: first as hidden states that arrived, then as K/V
// pages.
#ifndef TANDEM_WORKER_STAGE_MEMORY_STORE_H_
#define TANDEM_WORKER_STAGE_MEMORY_STORE_H_

#include <cstdint>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/status/status.h"
#include "common/protocol/messages.h"
#include "worker/model/decoder.h"
#include "worker/model/kv_pool.h"

namespace tandem {

class MemoryStore {
 public:
  struct Memory {
    int64_t rows = 0;                // Tokens.
    int64_t length = 0;              // Last position + 1: what its pages cover.
    std::vector<int32_t> positions;  // Empty: 0, 1, 2...
    std::vector<uint8_t> valid;      // Empty: no holes.
    std::vector<int32_t> pages;      // Once stored.
    bool stored = false;
    int64_t num_live = 0;  // Live sequences that read it.
    EncoderOutput states;  // Until stored.
  };

  // Borrows both.
  MemoryStore(Decoder& decoder, KvPool& pool, int64_t hidden_dim)
      : decoder_(decoder), pool_(pool), hidden_dim_(hidden_dim) {}

  // Takes what an encoder rank sent. DATA_LOSS where sizes contradict each other.
  absl::Status Arrive(EncoderOutput output);
  bool Has(MemoryKey key) const { return memories_.contains(key); }
  Memory& At(MemoryKey key) { return memories_.at(key); }
  const Memory& At(MemoryKey key) const { return memories_.at(key); }

  // Pages it takes from the pool to use this memory: 0 where it is stored.
  int64_t PagesNeeded(MemoryKey key) const;
  // Computes its K/V in all layers, and lets go of the hidden states. The pool must have the pages.
  absl::Status Store(MemoryKey key);
  // Forgets it and frees its pages; no live sequence may read it.
  void Drop(MemoryKey key);
  // Stored memories that no live sequence reads, except `keep`; sorted.
  std::vector<MemoryKey> Idle(MemoryKey keep) const;

 private:
  Decoder& decoder_;
  KvPool& pool_;
  const int64_t hidden_dim_;
  // Elements stay where they are: states may arrive while a reference to another memory is held.
  absl::node_hash_map<MemoryKey, Memory> memories_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_MEMORY_STORE_H_
