#include "worker/model/encoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/model/embedding.h"
#include "worker/model/kv_pool.h"

namespace tandem {
namespace {

// Rows that go through a layer together: enough to be bound by arithmetic, few enough that scratch
// stays small for a prompt of any length.
constexpr int64_t kChunkRows = 512;

}  // namespace

Encoder::Encoder(const ModelConfig& config, const StackWeights& weights, const TokenTable& table,
                 Runtime runtime)
    : config_(config),
      weights_(weights),
      table_(table),
      runtime_(std::move(runtime)),
      embedding_scale_(EmbeddingScale(config.encoder.hidden_dim, runtime_.ops->type())),
      rope_sliding_(*runtime_.ops, config.encoder.rope_sliding, config.encoder.head_dim),
      rope_full_(*runtime_.ops, config.encoder.rope_full, config.encoder.head_dim) {
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    layers_.emplace_back(config.encoder, weights.layers[i], weights.heads,
                         EncoderAttention(config, weights.heads, config.encoder.layer_types[i]),
                         runtime_);
  }
}

void Encoder::Prepare(absl::Span<const PromptRows> prompts) {
  prompts_.clear();
  token_ids_.clear();
  positions_.clear();
  slots_.clear();
  int32_t num_pages = 0;
  for (const PromptRows& rows : prompts) {
    Prompt prompt;
    prompt.first_row = static_cast<int64_t>(token_ids_.size());
    prompt.num_rows = static_cast<int64_t>(rows.token_ids.size());
    std::vector<int32_t> positions(rows.positions.begin(), rows.positions.end());
    if (positions.empty()) {
      for (int32_t i = 0; i < prompt.num_rows; ++i) positions.push_back(i);
    }
    prompt.length = positions.empty() ? 0 : positions.back() + int64_t{1};
    if (prompt.length != prompt.num_rows) {
      prompt.valid.assign(static_cast<size_t>(prompt.length), 0);
      for (const int32_t position : positions) prompt.valid[static_cast<size_t>(position)] = 1;
    }
    for (int64_t i = 0; i < PagesFor(prompt.length); ++i) prompt.pages.push_back(num_pages++);
    const std::vector<KvSlot> slots = SlotsOf(prompt.pages, positions);
    slots_.insert(slots_.end(), slots.begin(), slots.end());
    token_ids_.insert(token_ids_.end(), rows.token_ids.begin(), rows.token_ids.end());
    positions_.insert(positions_.end(), positions.begin(), positions.end());
    prompts_.push_back(std::move(prompt));
  }
  kv_.layout = {.type = runtime_.ops->type(),
                .num_kv_heads = weights_.heads.num_kv_heads,
                .head_dim = config_.encoder.head_dim};
  kv_.page_stride_bytes = kv_.layout.page_bytes();
  const int64_t bytes = num_pages * kv_.page_stride_bytes;
  kv_memory_.Reserve(bytes);
  kv_.base = kv_memory_.data();
  // Slots that no token takes must be finite, whatever an earlier batch left there.
  if (bytes > 0) std::memset(kv_.base, 0, static_cast<size_t>(bytes));
}

std::vector<AttentionSequence> Encoder::SequencesOf(int64_t begin, int64_t count) const {
  std::vector<AttentionSequence> sequences;
  for (const Prompt& prompt : prompts_) {
    const int64_t first = std::max(begin, prompt.first_row);
    const int64_t last = std::min(begin + count, prompt.first_row + prompt.num_rows);
    if (first >= last) continue;
    AttentionSequence sequence;
    sequence.first_row = first - begin;
    sequence.num_rows = last - first;
    sequence.positions = positions_.data() + first;
    sequence.self_pages = prompt.pages;
    sequence.self_len = prompt.length;
    sequence.self_valid = prompt.valid.empty() ? nullptr : prompt.valid.data();
    sequences.push_back(sequence);
  }
  return sequences;
}

absl::Status Encoder::RunLayer(size_t layer, Matrix x) {
  RopeCache& rope_cache =
      config_.encoder.layer_types[layer] == LayerType::kSliding ? rope_sliding_ : rope_full_;
  const auto rope_of = [&](int64_t begin, int64_t count) {
    return rope_cache.Rows(absl::MakeConstSpan(positions_)
                               .subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
                           ws_.rope_cos, ws_.rope_sin);
  };
  // Two-sided attention sees keys of later chunks: first all keys and values, then the rest.
  for (int64_t begin = 0; begin < x.rows; begin += kChunkRows) {
    const int64_t count = std::min(kChunkRows, x.rows - begin);
    layers_[layer].StoreSelfKv(
        x.Rows(begin, count), rope_of(begin, count),
        absl::MakeConstSpan(slots_).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
        kv_, ws_);
  }
  for (int64_t begin = 0; begin < x.rows; begin += kChunkRows) {
    const int64_t count = std::min(kChunkRows, x.rows - begin);
    TANDEM_RETURN_IF_ERROR(layers_[layer].Forward(
        rope_of(begin, count), kv_, kv_, SequencesOf(begin, count), x.Rows(begin, count), ws_));
    TANDEM_RETURN_IF_ERROR(runtime_.progress());
  }
  return absl::OkStatus();
}

absl::StatusOr<Matrix> Encoder::Forward(absl::Span<const PromptRows> prompts, const TapSink& taps) {
  Prepare(prompts);
  const auto rows = static_cast<int64_t>(token_ids_.size());
  const Matrix x = residual_.Shape(rows, config_.encoder.hidden_dim);
  if (taps) {
    TANDEM_RETURN_IF_ERROR(EmbedTokens(table_, token_ids_, 1.0f, -1, runtime_, x));
    taps("token_embedding", 0, x);
  }
  TANDEM_RETURN_IF_ERROR(
      EmbedTokens(table_, token_ids_, embedding_scale_, config_.eoi_token_id, runtime_, x));
  if (taps) taps("encoder.embeds", 0, x);
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    TANDEM_RETURN_IF_ERROR(RunLayer(layer, x));
    if (taps) taps(absl::StrCat("encoder.layers.", layer), 0, x);
  }
  runtime_.ops->RmsNorm(x, weights_.final_norm, config_.encoder.rms_norm_eps, x);
  runtime_.ops->RoundToCompute(x);
  if (taps) taps("encoder.final", 0, x);
  return x;
}

}  // namespace tandem
