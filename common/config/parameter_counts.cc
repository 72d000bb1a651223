#include "common/config/model_config.h"

namespace tandem {
namespace {

// Source: docs/model.md, "Parameter counts".
int64_t CountStack(const TextStackConfig& stack) {
  const int64_t query_dim = stack.num_heads * stack.head_dim;
  const int64_t kv_dim = stack.num_kv_heads * stack.head_dim;
  int64_t layer = 2 * stack.hidden_dim * (query_dim + kv_dim) +
                  3 * stack.hidden_dim * stack.intermediate_dim + 4 * stack.hidden_dim;
  if (stack.query_key_norm) layer += 2 * stack.head_dim;
  if (stack.attention_bias) layer += query_dim + 2 * kv_dim + stack.hidden_dim;
  return stack.num_layers * layer + stack.hidden_dim;
}

int64_t CountVision(const VisionConfig& vision) {
  const int64_t width = vision.hidden_dim;
  const int64_t grid = vision.image_size / vision.patch_size;
  const int64_t embeddings =
      3 * vision.patch_size * vision.patch_size * width + width + grid * grid * width;
  const int64_t attention = 4 * width * width + 4 * width;
  const int64_t mlp = 2 * width * vision.intermediate_dim + vision.intermediate_dim + width;
  const int64_t norms = 4 * width;
  return embeddings + vision.num_layers * (attention + mlp + norms) + 2 * width;
}

}  // namespace

ParameterCounts CountParameters(const ModelConfig& config) {
  ParameterCounts counts;
  const int64_t hidden_dim = config.encoder.hidden_dim;
  counts.table = config.encoder.vocab_size * hidden_dim;
  counts.encoder = CountStack(config.encoder);
  counts.decoder = CountStack(config.decoder);
  if (config.vision) {
    counts.vision = CountVision(*config.vision);
    counts.projector = config.vision->hidden_dim * (1 + hidden_dim);
  }
  const int64_t all_but_tables = counts.encoder + counts.decoder + counts.vision + counts.projector;
  const int64_t head = config.tie_word_embeddings ? 0 : counts.table;
  // An untied decoder has a table and an EOI vector of its own.
  const int64_t num_tables = config.tie_word_embeddings ? 1 : 2;
  counts.unique = all_but_tables + head + num_tables * (counts.table + hidden_dim);
  counts.published = all_but_tables + head + 2 * counts.table;
  return counts;
}

}  // namespace tandem
