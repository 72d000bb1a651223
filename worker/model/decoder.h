// The decoder on this rank's shard: steps over a batch of sequences, and the K/V of encoder memory.
#ifndef TANDEM_WORKER_MODEL_DECODER_H_
#define TANDEM_WORKER_MODEL_DECODER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/config/model_config.h"
#include "worker/model/kv_pool.h"
#include "worker/model/layer.h"
#include "worker/model/rope_cache.h"
#include "worker/model/runtime.h"
#include "worker/model/tap.h"
#include "worker/model/weights.h"
#include "worker/model/workspace.h"

namespace tandem {

// The rows of one step: for each sequence a run of new tokens, prefill and decode alike.
struct StepBatch {
  std::vector<int32_t> token_ids;
  std::vector<int32_t> positions;            // Of each row in its sequence.
  std::vector<KvSlot> slots;                 // Where each row's K and V go.
  std::vector<AttentionSequence> sequences;  // positions are filled in by the decoder.
};

class Decoder {
 public:
  // Borrows config, weights, tables and pool. `table` embeds, `head` makes logits (the same where
  // tied).
  Decoder(const ModelConfig& config, const StackWeights& weights, const TokenTable& table,
          const TokenTable& head, KvPool& pool, Runtime runtime);
  Decoder(const Decoder&) = delete;  // Its layers borrow its runtime.
  Decoder& operator=(const Decoder&) = delete;

  // K and V of encoder memory [rows, hidden] for all layers, into the rows' slots.
  absl::Status StoreMemory(ConstMatrix memory, absl::Span<const KvSlot> slots);

  // Final normed states [rows, hidden] of a step, which also fills its rows' K and V. Valid until
  // the next call.
  absl::StatusOr<Matrix> Forward(StepBatch& batch, int64_t first_row, const TapSink& taps);

  // What these rows need of their logits over this rank's shard of the vocabulary.
  void ScanHead(ConstMatrix states, absl::Span<const HeadRequest> requests,
                absl::Span<HeadResult> results);
  // Their logits over this rank's shard: [rows, shard size], after the soft cap.
  Matrix Logits(ConstMatrix states);
  const LeafShard& vocabulary() const { return head_.vocabulary; }

 private:
  const ModelConfig& config_;
  const StackWeights& weights_;
  const TokenTable& table_;
  const TokenTable& head_;
  KvPool& pool_;
  const Runtime runtime_;
  const float embedding_scale_;
  const float final_soft_cap_;
  std::vector<Layer> layers_;
  RopeCache rope_sliding_;
  RopeCache rope_full_;
  ScratchMatrix residual_;
  ScratchMatrix logits_;
  LayerWorkspace ws_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_DECODER_H_
