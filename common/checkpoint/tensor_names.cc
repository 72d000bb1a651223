#include "common/checkpoint/tensor_names.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace tandem {
namespace {

constexpr absl::string_view kTextModel = "encoder.text_model.";
constexpr absl::string_view kTower = "encoder.vision_tower.";
constexpr absl::string_view kVisionModel = "encoder.vision_tower.vision_model.";

class TensorList {
 public:
  void Add(absl::string_view name, std::vector<int64_t> shape) {
    tensors_.push_back({absl::StrCat(prefix_, name), std::move(shape), required_});
  }
  // A linear layer's weight [out, in] and, where it has one, its bias.
  void AddLinear(absl::string_view name, int64_t out_dim, int64_t in_dim, bool bias) {
    Add(absl::StrCat(name, ".weight"), {out_dim, in_dim});
    if (bias) Add(absl::StrCat(name, ".bias"), {out_dim});
  }
  void AddLayerNorm(absl::string_view name, int64_t dim) {
    Add(absl::StrCat(name, ".weight"), {dim});
    Add(absl::StrCat(name, ".bias"), {dim});
  }

  // Both hold for what is added from here on.
  void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }
  void set_required(bool required) { required_ = required; }

  std::vector<ExpectedTensor> Take() { return std::move(tensors_); }

 private:
  std::string prefix_;
  bool required_ = true;
  std::vector<ExpectedTensor> tensors_;
};

void AddStack(absl::string_view side, const TextStackConfig& stack, TensorList& list) {
  const int64_t hidden_dim = stack.hidden_dim;
  const int64_t query_dim = stack.num_heads * stack.head_dim;
  const int64_t kv_dim = stack.num_kv_heads * stack.head_dim;
  for (int64_t n = 0; n < stack.num_layers; ++n) {
    list.set_prefix(absl::StrCat(side, ".layers.", n, "."));
    list.Add("pre_self_attn_layernorm.weight", {hidden_dim});
    list.AddLinear("self_attn.q_proj", query_dim, hidden_dim, stack.attention_bias);
    list.AddLinear("self_attn.k_proj", kv_dim, hidden_dim, stack.attention_bias);
    list.AddLinear("self_attn.v_proj", kv_dim, hidden_dim, stack.attention_bias);
    if (stack.query_key_norm) {
      list.Add("self_attn.q_norm.weight", {stack.head_dim});
      list.Add("self_attn.k_norm.weight", {stack.head_dim});
    }
    list.AddLinear("self_attn.o_proj", hidden_dim, query_dim, stack.attention_bias);
    list.Add("post_self_attn_layernorm.weight", {hidden_dim});
    list.Add("pre_feedforward_layernorm.weight", {hidden_dim});
    list.AddLinear("mlp.gate_proj", stack.intermediate_dim, hidden_dim, false);
    list.AddLinear("mlp.up_proj", stack.intermediate_dim, hidden_dim, false);
    list.AddLinear("mlp.down_proj", hidden_dim, stack.intermediate_dim, false);
    list.Add("post_feedforward_layernorm.weight", {hidden_dim});
  }
  list.set_prefix(absl::StrCat(side, "."));
  list.Add("norm.weight", {hidden_dim});
}

void AddTable(absl::string_view side, const TextStackConfig& stack, TensorList& list) {
  list.set_prefix(absl::StrCat(side, ".embed_tokens."));
  list.Add("weight", {stack.vocab_size, stack.hidden_dim});
  list.Add("eoi_embedding", {stack.hidden_dim});
}

void AddVision(const VisionConfig& vision, int64_t hidden_dim, TensorList& list) {
  const int64_t width = vision.hidden_dim;
  const int64_t grid = vision.image_size / vision.patch_size;
  list.set_prefix(absl::StrCat(kTower, "embeddings."));
  list.Add("patch_embedding.weight", {width, 3, vision.patch_size, vision.patch_size});
  list.Add("patch_embedding.bias", {width});
  list.Add("position_embedding.weight", {grid * grid, width});
  for (int64_t n = 0; n < vision.num_layers; ++n) {
    list.set_prefix(absl::StrCat(kTower, "encoder.layers.", n, "."));
    list.AddLayerNorm("layer_norm1", width);
    for (const absl::string_view name : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      list.AddLinear(absl::StrCat("self_attn.", name), width, width, true);
    }
    list.AddLayerNorm("layer_norm2", width);
    list.AddLinear("mlp.fc1", vision.intermediate_dim, width, true);
    list.AddLinear("mlp.fc2", width, vision.intermediate_dim, true);
  }
  list.set_prefix(std::string(kTower));
  list.AddLayerNorm("post_layernorm", width);
  list.set_prefix("encoder.multi_modal_projector.");
  list.Add("mm_soft_emb_norm.weight", {width});
  list.Add("mm_input_projection_weight", {width, hidden_dim});
}

}  // namespace

std::string CanonicalTensorName(absl::string_view name) {
  absl::ConsumePrefix(&name, "model.");
  if (absl::ConsumePrefix(&name, kTextModel)) return absl::StrCat("encoder.", name);
  if (absl::ConsumePrefix(&name, kVisionModel)) return absl::StrCat(kTower, name);
  return std::string(name);
}

std::string PublishedTensorName(absl::string_view canonical_name) {
  if (absl::StartsWith(canonical_name, "lm_head.")) return std::string(canonical_name);
  if (absl::ConsumePrefix(&canonical_name, kTower)) {
    return absl::StrCat("model.", kVisionModel, canonical_name);
  }
  return absl::StrCat("model.", canonical_name);
}

std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& config) {
  TensorList list;
  AddTable("encoder", config.encoder, list);
  AddStack("encoder", config.encoder, list);
  if (!config.tie_word_embeddings) AddTable("decoder", config.decoder, list);
  AddStack("decoder", config.decoder, list);
  if (!config.tie_word_embeddings) {
    list.set_prefix("");
    list.AddLinear("lm_head.out_proj", config.decoder.vocab_size, config.decoder.hidden_dim, false);
  }
  list.set_required(false);
  if (config.vision) AddVision(*config.vision, config.encoder.hidden_dim, list);
  return list.Take();
}

bool IsTiedCopy(absl::string_view canonical_name, const ModelConfig& config) {
  return config.tie_word_embeddings && (canonical_name == "decoder.embed_tokens.weight" ||
                                        canonical_name == "decoder.embed_tokens.eoi_embedding" ||
                                        canonical_name == "lm_head.out_proj.weight");
}

}  // namespace tandem
