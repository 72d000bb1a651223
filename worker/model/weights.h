// This rank's shard of a text stack's weights, packed for the operations. Source: docs/model.md.
#ifndef TANDEM_WORKER_MODEL_WEIGHTS_H_
#define TANDEM_WORKER_MODEL_WEIGHTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/checkpoint/checkpoint.h"
#include "common/config/model_config.h"
#include "common/kernels/linear_weight.h"
#include "common/parallel/leaves.h"
#include "common/parallel/shard.h"

namespace tandem {

struct LayerWeights {
  std::vector<float> pre_attention_norm;  // [hidden]; so are the next three
  std::vector<float> post_attention_norm;
  std::vector<float> pre_mlp_norm;
  std::vector<float> post_mlp_norm;
  std::vector<float> query_norm;  // [head_dim]; empty without q/k norm
  std::vector<float> key_norm;
  LinearWeight qkv;      // Segments q, k, v: column-parallel, by heads.
  LinearWeight output;   // o: row-parallel, in leaves.
  LinearWeight gate_up;  // Segments gate, up: column-parallel, along the leaves of down's inputs.
  LinearWeight down;     // Row-parallel, in leaves.
  std::vector<float> qkv_bias;     // [qkv.columns], 0 in padding; empty without attention_bias
  std::vector<float> output_bias;  // [hidden]; added once, after the sum over ranks
};

struct StackWeights {
  AttentionShard heads;
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  // [hidden]

  size_t bytes() const;
};

// The token table's rows of one vocabulary shard: embedding, and (tied) the head.
struct TokenTable {
  LeafShard vocabulary;
  LinearWeight rows;                 // One segment: [vocabulary.size()] outputs of [hidden].
  std::vector<float> eoi_embedding;  // [hidden]; empty: no override.
};

// Packs stack `name` ("encoder" or "decoder") of a checkpoint. Errors: the checkpoint's; DATA_LOSS
// for a NaN or an infinity, with the tensor's name.
absl::StatusOr<StackWeights> LoadStackWeights(const std::string& name, const TextStackConfig& stack,
                                              ComputeType type, TpRank rank,
                                              Checkpoint& checkpoint);

// The table under `tensor` ("encoder.embed_tokens.weight", "lm_head.out_proj.weight"); `eoi_tensor`
// is the EOI vector's name, empty for a head.
absl::StatusOr<TokenTable> LoadTokenTable(const std::string& tensor, const std::string& eoi_tensor,
                                          const TextStackConfig& stack, ComputeType type,
                                          TpRank rank, Checkpoint& checkpoint);

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_WEIGHTS_H_
