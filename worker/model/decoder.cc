#include "worker/model/decoder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/model/embedding.h"

namespace tandem {
namespace {

constexpr int64_t kMemoryChunkRows = 512;

}  // namespace

Decoder::Decoder(const ModelConfig& config, const StackWeights& weights, const TokenTable& table,
                 const TokenTable& head, KvPool& pool, Runtime runtime)
    : config_(config),
      weights_(weights),
      table_(table),
      head_(head),
      pool_(pool),
      runtime_(std::move(runtime)),
      embedding_scale_(EmbeddingScale(config.decoder.hidden_dim, runtime_.ops->type())),
      final_soft_cap_(static_cast<float>(config.final_logit_softcapping)),
      rope_sliding_(*runtime_.ops, config.decoder.rope_sliding, config.decoder.head_dim),
      rope_full_(*runtime_.ops, config.decoder.rope_full, config.decoder.head_dim) {
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    layers_.emplace_back(config.decoder, weights.layers[i], weights.heads,
                         DecoderAttention(config, weights.heads, config.decoder.layer_types[i]),
                         runtime_);
  }
}

absl::Status Decoder::StoreMemory(ConstMatrix memory, absl::Span<const KvSlot> slots) {
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    for (int64_t begin = 0; begin < memory.rows; begin += kMemoryChunkRows) {
      const int64_t count = std::min(kMemoryChunkRows, memory.rows - begin);
      layers_[layer].StoreMemoryKv(
          memory.Rows(begin, count),
          slots.subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
          pool_.Layer(static_cast<int64_t>(layer)), ws_);
    }
    TANDEM_RETURN_IF_ERROR(runtime_.progress());
  }
  return absl::OkStatus();
}

absl::StatusOr<Matrix> Decoder::Forward(StepBatch& batch, int64_t first_row, const TapSink& taps) {
  const auto rows = static_cast<int64_t>(batch.token_ids.size());
  for (AttentionSequence& sequence : batch.sequences) {
    sequence.positions = batch.positions.data() + sequence.first_row;
  }
  const Matrix x = residual_.Shape(rows, config_.decoder.hidden_dim);
  TANDEM_RETURN_IF_ERROR(
      EmbedTokens(table_, batch.token_ids, embedding_scale_, config_.eoi_token_id, runtime_, x));
  if (taps) taps("decoder.embeds", first_row, x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    RopeCache& rope_cache =
        config_.decoder.layer_types[i] == LayerType::kSliding ? rope_sliding_ : rope_full_;
    const RopeRows rope = rope_cache.Rows(batch.positions, ws_.rope_cos, ws_.rope_sin);
    const KvView kv = pool_.Layer(static_cast<int64_t>(i));
    layers_[i].StoreSelfKv(x, rope, batch.slots, kv, ws_);
    TANDEM_RETURN_IF_ERROR(layers_[i].Forward(rope, kv, kv, batch.sequences, x, ws_));
    if (taps) taps(absl::StrCat("decoder.layers.", i), first_row, x);
    TANDEM_RETURN_IF_ERROR(runtime_.progress());
  }
  runtime_.ops->RmsNorm(x, weights_.final_norm, config_.decoder.rms_norm_eps, x);
  if (taps) taps("decoder.final", first_row, x);
  return x;
}

void Decoder::ScanHead(ConstMatrix states, absl::Span<const HeadRequest> requests,
                       absl::Span<HeadResult> results) {
  runtime_.ops->HeadScan(states, head_.rows, head_.vocabulary, final_soft_cap_, requests, results);
}

Matrix Decoder::Logits(ConstMatrix states) {
  const Matrix padded = logits_.Shape(states.rows, head_.rows.columns);
  runtime_.ops->Linear(states, head_.rows, 0, padded);
  const Matrix logits = padded.Cols(0, head_.vocabulary.size());
  if (final_soft_cap_ > 0.0f) runtime_.ops->SoftCap(final_soft_cap_, logits);
  return logits;
}

}  // namespace tandem
