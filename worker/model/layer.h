// One transformer layer on this rank's shard; encoder and decoder layers share this recipe:
//   x += post_norm(attention(pre_norm(x)));   x += post_norm(mlp(pre_norm(x)))
// Both collectives of a layer are in layer.cc, after o and after down. Source: docs/model.md.
#ifndef TANDEM_WORKER_MODEL_LAYER_H_
#define TANDEM_WORKER_MODEL_LAYER_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/config/model_config.h"
#include "common/kernels/ops.h"
#include "worker/model/runtime.h"
#include "worker/model/weights.h"
#include "worker/model/workspace.h"

namespace tandem {

class Layer {
 public:
  // Borrows all of its arguments.
  Layer(const TextStackConfig& stack, const LayerWeights& weights, const AttentionShard& heads,
        AttentionParams attention, const Runtime& runtime)
      : stack_(stack),
        weights_(weights),
        heads_(heads),
        attention_(std::move(attention)),
        runtime_(runtime) {}

  // K and V of these rows' inputs x (before the layer's norm) go to their slots. `rope`: the rows'.
  void StoreSelfKv(ConstMatrix x, const RopeRows& rope, absl::Span<const KvSlot> slots,
                   const KvView& cache, LayerWorkspace& ws) const;
  // K and V of encoder memory: the same projections, no layer norm and no rotation.
  void StoreMemoryKv(ConstMatrix memory, absl::Span<const KvSlot> slots, const KvView& cache,
                     LayerWorkspace& ws) const;
  // The whole layer on rows whose K and V are stored. x [rows, hidden], in place; the same bits on
  // every rank of the group. Errors: only the communicator's.
  absl::Status Forward(const RopeRows& rope, const KvView& self, const KvView& cross,
                       absl::Span<const AttentionSequence> sequences, Matrix x,
                       LayerWorkspace& ws) const;

 private:
  // Segments q, k, v of the fused projection.
  enum Segment { kQuery, kKey, kValue };

  // Projections of `states` onto segments [first, last], bias added: [rows, their columns].
  Matrix Project(ConstMatrix states, Segment first, Segment last, LayerWorkspace& ws) const;
  void StoreKv(ConstMatrix states, const RopeRows* rope, absl::Span<const KvSlot> slots,
               const KvView& cache, LayerWorkspace& ws) const;
  // branch = sum over ranks of input W^T, plus bias: [rows, hidden].
  absl::Status RowParallel(ConstMatrix input, const LinearWeight& weight,
                           absl::Span<const float> bias, LayerWorkspace& ws, Matrix* branch) const;

  const TextStackConfig& stack_;
  const LayerWeights& weights_;
  const AttentionShard& heads_;
  const AttentionParams attention_;
  const Runtime& runtime_;
};

// The attention of one layer type of a stack: scale, soft cap, window and head map.
// Encoder windows are two-sided: (W + 1) / 2 - 1 back, W / 2 ahead; decoder windows W - 1 back.
AttentionParams EncoderAttention(const ModelConfig& config, const AttentionShard& heads,
                                 LayerType type);
AttentionParams DecoderAttention(const ModelConfig& config, const AttentionShard& heads,
                                 LayerType type);

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_LAYER_H_
