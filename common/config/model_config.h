// What a T5Gemma 2 checkpoint is: the fields of its config.json that inference needs, resolved
// (defaults filled in, old spellings read, contradictions refused). Plain data.
// Source: docs/model.md; Hugging Face Transformers 5.23, configuration_t5gemma2.py.
#ifndef TANDEM_COMMON_CONFIG_MODEL_CONFIG_H_
#define TANDEM_COMMON_CONFIG_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tensor/activation.h"
#include "common/tensor/dtype.h"

namespace tandem {

// Which reference's behaviour the checkpoint gets where the two differ.
enum class Dialect : uint8_t { kHuggingFace, kKeras };

enum class LayerType : uint8_t { kSliding, kFull };

// Rotary embedding of one layer type: frequency_c = theta^(-2c / head_dim) / factor.
struct RopeConfig {
  double theta = 10000.0;
  double factor = 1.0;
};

// One text stack: the encoder or the decoder.
struct TextStackConfig {
  int64_t vocab_size = 0;
  int64_t hidden_dim = 0;
  int64_t intermediate_dim = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  Activation activation = Activation::kGeluTanh;
  float rms_norm_eps = 1e-6f;
  double query_pre_attn_scalar = 256.0;
  bool attention_bias = false;
  bool query_key_norm = true;
  int64_t sliding_window = 0;          // 0: absent; legal only without sliding layers.
  std::vector<LayerType> layer_types;  // [num_layers]
  RopeConfig rope_sliding;
  RopeConfig rope_full;
  double attn_logit_softcapping = 0.0;  // As the file has it; 0: none. See AppliedAttentionSoftCap.
  int64_t max_position_embeddings = 131072;
};

// The SigLIP tower; kept for counts and for the vision stage.
struct VisionConfig {
  int64_t hidden_dim = 0;
  int64_t intermediate_dim = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t image_size = 0;
  int64_t patch_size = 0;
  float layer_norm_eps = 1e-6f;
  Activation activation = Activation::kGeluTanh;
};

struct ModelConfig {
  Dialect dialect = Dialect::kHuggingFace;
  TextStackConfig encoder;
  TextStackConfig decoder;
  std::optional<VisionConfig> vision;
  int64_t mm_tokens_per_image = 256;
  bool tie_word_embeddings = true;
  double final_logit_softcapping = 0.0;  // The decoder's; 0: none.
  int32_t image_token_id = -1;
  int32_t boi_token_id = -1;
  int32_t eoi_token_id = -1;  // Its embedding is the EOI vector, unscaled; -1: no override.
  int32_t bos_token_id = 2;
  int32_t pad_token_id = 0;
  std::vector<int32_t> eos_token_ids;  // generation_config.json's where it has them, sorted.
  int32_t decoder_start_token_id = 2;  // generation_config.json's, else bos.
  DType stored_dtype = DType::kBF16;   // `dtype` / `torch_dtype`.
  double initializer_range = 0.02;
  // The sampling settings found in generation_config.json, as (key, JSON text): reported. Requests
  // get their defaults from the file itself (coordinator/cli/generation_config.h).
  std::vector<std::pair<std::string, std::string>> generation_defaults;
};

// Hugging Face transformers ignores attn_logit_softcapping, Keras applies it.
inline double AppliedAttentionSoftCap(const ModelConfig& config, const TextStackConfig& stack) {
  return config.dialect == Dialect::kKeras ? stack.attn_logit_softcapping : 0.0;
}

// Parses and validates config.json's text; `generation_json` is generation_config.json's, empty
// where there is none. Errors: INVALID_ARGUMENT, naming the field (as "decoder.layer_types") and
// its value.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json,
                                             absl::string_view generation_json);

// Reads DIR/config.json (and generation_config.json), or a config.json itself. Errors as above, and
// NOT_FOUND; the path is in the message.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& path);

// unique: what Hugging Face counts: tied weights once, the EOI vectors, no pooling head.
// published: as the publisher (Keras) lists models: a table for the encoder and one for the
// decoder, whose transpose is a tied head, and no EOI vectors. The listings of 270m-270m and 1b-1b
// are this number; that of 4b-4b was made later and has the two EOI vectors (5,120) too.
struct ParameterCounts {
  int64_t table = 0;  // One table: vocab_size * hidden_dim.
  int64_t encoder = 0;
  int64_t decoder = 0;
  int64_t vision = 0;
  int64_t projector = 0;
  int64_t unique = 0;
  int64_t published = 0;
};
ParameterCounts CountParameters(const ModelConfig& config);

}  // namespace tandem

#endif  // TANDEM_COMMON_CONFIG_MODEL_CONFIG_H_
