#include "common/parallel/shard.h"

#include "common/base/check.h"

namespace tandem {

AttentionShard ShardAttention(const AttentionHeads& heads, TpRank rank) {
  TANDEM_CHECK(rank.tp_rank >= 0 && rank.tp_rank < rank.tp_size);
  TANDEM_CHECK(heads.num_kv_heads > 0 && heads.num_heads % heads.num_kv_heads == 0);
  TANDEM_CHECK(heads.num_heads > 0 && heads.num_heads % rank.tp_size == 0);
  const int64_t heads_per_kv_head = heads.num_heads / heads.num_kv_heads;

  AttentionShard shard;
  shard.num_heads = heads.num_heads / rank.tp_size;
  shard.first_head = rank.tp_rank * shard.num_heads;
  shard.first_kv_head = shard.first_head / heads_per_kv_head;
  const int64_t last_head = shard.first_head + shard.num_heads - 1;
  shard.num_kv_heads = last_head / heads_per_kv_head + 1 - shard.first_kv_head;
  for (int64_t head = shard.first_head; head <= last_head; ++head) {
    shard.kv_head_of_head.push_back(
        static_cast<int>(head / heads_per_kv_head - shard.first_kv_head));
  }
  return shard;
}

}  // namespace tandem
