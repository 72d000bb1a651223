// The text encoder on this rank's shard: prompts packed one after another, without padding.
#ifndef TANDEM_WORKER_MODEL_ENCODER_H_
#define TANDEM_WORKER_MODEL_ENCODER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/aligned_buffer.h"
#include "common/config/model_config.h"
#include "worker/model/layer.h"
#include "worker/model/rope_cache.h"
#include "worker/model/runtime.h"
#include "worker/model/tap.h"
#include "worker/model/weights.h"
#include "worker/model/workspace.h"

namespace tandem {

// The tokens of one prompt. Where `positions` is empty they are 0, 1, 2...; else ascending columns
// with holes, whose keys nobody sees.
struct PromptRows {
  absl::Span<const int32_t> token_ids;
  absl::Span<const int32_t> positions;
};

class Encoder {
 public:
  // Borrows config, weights and table.
  Encoder(const ModelConfig& config, const StackWeights& weights, const TokenTable& table,
          Runtime runtime);
  Encoder(const Encoder&) = delete;  // Its layers borrow its runtime.
  Encoder& operator=(const Encoder&) = delete;

  ComputeType type() const { return runtime_.ops->type(); }

  // Final hidden states [all tokens, hidden], rounded to the compute type: the same bits on every
  // rank of the group; valid until the next call. Memory: the residual stream and one layer's K/V
  // for the whole batch, everything else for kChunkRows rows. Errors: the communicator's.
  absl::StatusOr<Matrix> Forward(absl::Span<const PromptRows> prompts, const TapSink& taps);

 private:
  // One prompt of the batch: its rows, and its place in the K/V of the layer at work.
  struct Prompt {
    int64_t first_row = 0;
    int64_t num_rows = 0;
    int64_t length = 0;  // Last position + 1.
    std::vector<int32_t> pages;
    std::vector<uint8_t> valid;  // Empty: no holes.
  };

  void Prepare(absl::Span<const PromptRows> prompts);
  // The parts of the prompts that lie in rows [begin, begin + count), relative to begin.
  std::vector<AttentionSequence> SequencesOf(int64_t begin, int64_t count) const;
  absl::Status RunLayer(size_t layer, Matrix x);

  const ModelConfig& config_;
  const StackWeights& weights_;
  const TokenTable& table_;
  const Runtime runtime_;
  const float embedding_scale_;
  std::vector<Layer> layers_;
  RopeCache rope_sliding_;
  RopeCache rope_full_;

  // The batch at work.
  std::vector<Prompt> prompts_;
  std::vector<int32_t> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<KvSlot> slots_;
  KvView kv_;
  AlignedBuffer<std::byte> kv_memory_;
  ScratchMatrix residual_;
  LayerWorkspace ws_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_ENCODER_H_
