// Which heads of an attention a rank of a tensor-parallel group computes. Pure functions.
// (Shards of features and of the vocabulary are runs of leaves: leaves.h.)
#ifndef TANDEM_COMMON_PARALLEL_SHARD_H_
#define TANDEM_COMMON_PARALLEL_SHARD_H_

#include <cstdint>
#include <vector>

#include "common/parallel/leaves.h"

namespace tandem {

struct AttentionHeads {
  int64_t num_heads = 1;  // Query heads.
  int64_t num_kv_heads =
      1;  // Divides num_heads; head h reads KV head h / (num_heads / num_kv_heads).
};

// A run of query heads, and every KV head that they read. Runs of KV heads of two ranks overlap
// where one KV head serves query heads of both: it is replicated then.
struct AttentionShard {
  int64_t first_head = 0;
  int64_t num_heads = 0;
  int64_t first_kv_head = 0;
  int64_t num_kv_heads = 0;
  // For each of this rank's query heads, which of its own KV heads it reads. [num_heads]
  std::vector<int> kv_head_of_head;
};

// tp_size divides heads.num_heads (ValidateLayout has checked it).
AttentionShard ShardAttention(const AttentionHeads& heads, TpRank rank);

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_SHARD_H_
