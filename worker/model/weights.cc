#include "worker/model/weights.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

absl::Status NonfiniteError(const std::string& tensor) {
  return absl::DataLossError(
      absl::StrCat("tensor \"", tensor,
                   "\" holds a NaN or an infinite value; the checkpoint is damaged or was "
                   "saved from a broken run: fetch or export it again"));
}

float ElementToFloat(const std::byte* data, DType dtype, int64_t i) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, data + i * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + i * 2, 2);
  return dtype == DType::kBF16 ? Bf16ToFloat(bits) : HalfToFloat(bits);
}

// Elements [begin, end) of a vector, in fp32.
absl::StatusOr<std::vector<float>> ReadVector(const std::string& tensor, int64_t begin, int64_t end,
                                              Checkpoint& checkpoint) {
  std::vector<float> out(static_cast<size_t>(end - begin));
  TANDEM_RETURN_IF_ERROR(
      checkpoint.Read(tensor, {.row_begin = 0, .row_end = 1, .col_begin = begin, .col_end = end},
                      [&](const TensorBlock& block) -> absl::Status {
                        for (int64_t i = 0; i < block.num_cols; ++i) {
                          out[static_cast<size_t>(i)] = ElementToFloat(block.data, block.dtype, i);
                          if (!std::isfinite(out[static_cast<size_t>(i)]))
                            return NonfiniteError(tensor);
                        }
                        return absl::OkStatus();
                      }));
  return out;
}

// Packs a slice of a matrix as outputs [first, first + rows) of a segment.
absl::Status PackSlice(const std::string& tensor, const Slice& slice, int64_t segment,
                       Checkpoint& checkpoint, LinearWeight& weight) {
  return checkpoint.Read(tensor, slice, [&](const TensorBlock& block) -> absl::Status {
    const RowSource source{block.data, block.dtype, block.row_stride_bytes};
    if (!PackRows(source, segment, block.row_begin - slice.row_begin, block.num_rows, weight)) {
      return NonfiniteError(tensor);
    }
    return absl::OkStatus();
  });
}

class LayerLoader {
 public:
  LayerLoader(std::string prefix, const TextStackConfig& stack, const AttentionShard& heads,
              ComputeType type, TpRank rank, Checkpoint& checkpoint)
      : prefix_(std::move(prefix)),
        stack_(stack),
        heads_(heads),
        type_(type),
        rank_(rank),
        checkpoint_(checkpoint) {}

  absl::StatusOr<LayerWeights> Load() {
    LayerWeights layer;
    TANDEM_RETURN_IF_ERROR(LoadNorms(layer));
    TANDEM_RETURN_IF_ERROR(LoadAttention(layer));
    TANDEM_RETURN_IF_ERROR(LoadMlp(layer));
    return layer;
  }

 private:
  std::string Name(const char* suffix) const { return absl::StrCat(prefix_, suffix); }

  absl::Status LoadNorms(LayerWeights& layer) {
    const int64_t hidden = stack_.hidden_dim;
    const auto norm = [&](const char* suffix, int64_t size,
                          std::vector<float>& out) -> absl::Status {
      TANDEM_ASSIGN_OR_RETURN(out, ReadVector(Name(suffix), 0, size, checkpoint_));
      return absl::OkStatus();
    };
    TANDEM_RETURN_IF_ERROR(
        norm("pre_self_attn_layernorm.weight", hidden, layer.pre_attention_norm));
    TANDEM_RETURN_IF_ERROR(
        norm("post_self_attn_layernorm.weight", hidden, layer.post_attention_norm));
    TANDEM_RETURN_IF_ERROR(norm("pre_feedforward_layernorm.weight", hidden, layer.pre_mlp_norm));
    TANDEM_RETURN_IF_ERROR(norm("post_feedforward_layernorm.weight", hidden, layer.post_mlp_norm));
    if (!stack_.query_key_norm) return absl::OkStatus();
    TANDEM_RETURN_IF_ERROR(norm("self_attn.q_norm.weight", stack_.head_dim, layer.query_norm));
    return norm("self_attn.k_norm.weight", stack_.head_dim, layer.key_norm);
  }

  absl::Status LoadAttention(LayerWeights& layer) {
    const int64_t hidden = stack_.hidden_dim;
    const int64_t d = stack_.head_dim;
    const int64_t q_begin = heads_.first_head * d;
    const int64_t q_size = heads_.num_heads * d;
    const int64_t kv_begin = heads_.first_kv_head * d;
    const int64_t kv_size = heads_.num_kv_heads * d;
    layer.qkv = MakeLinearWeight(type_, {0, hidden}, {q_size, kv_size, kv_size});
    struct Part {
      const char* weight;
      const char* bias;
      int64_t begin;
      int64_t size;
    };
    const Part parts[] = {{"self_attn.q_proj.weight", "self_attn.q_proj.bias", q_begin, q_size},
                          {"self_attn.k_proj.weight", "self_attn.k_proj.bias", kv_begin, kv_size},
                          {"self_attn.v_proj.weight", "self_attn.v_proj.bias", kv_begin, kv_size}};
    if (stack_.attention_bias) layer.qkv_bias.assign(static_cast<size_t>(layer.qkv.columns), 0.0f);
    for (int segment = 0; segment < 3; ++segment) {
      const Part& part = parts[segment];
      TANDEM_RETURN_IF_ERROR(PackSlice(Name(part.weight),
                                       {part.begin, part.begin + part.size, 0, hidden}, segment,
                                       checkpoint_, layer.qkv));
      if (!stack_.attention_bias) continue;
      TANDEM_ASSIGN_OR_RETURN(
          const std::vector<float> bias,
          ReadVector(Name(part.bias), part.begin, part.begin + part.size, checkpoint_));
      std::copy(bias.begin(), bias.end(),
                layer.qkv_bias.begin() + layer.qkv.segments[static_cast<size_t>(segment)].column);
    }
    const LeafShard inputs = ShardOf(AttentionCut(stack_.num_heads, d), rank_);
    TANDEM_CHECK(inputs.begin() == q_begin && inputs.size() == q_size);
    layer.output = MakeLinearWeight(type_, inputs.LocalBoundaries(), {hidden});
    if (stack_.attention_bias) {
      TANDEM_ASSIGN_OR_RETURN(layer.output_bias,
                              ReadVector(Name("self_attn.o_proj.bias"), 0, hidden, checkpoint_));
    }
    return PackSlice(Name("self_attn.o_proj.weight"), {0, hidden, inputs.begin(), inputs.end()}, 0,
                     checkpoint_, layer.output);
  }

  absl::Status LoadMlp(LayerWeights& layer) {
    const int64_t hidden = stack_.hidden_dim;
    const LeafShard ffn = ShardOf(FeatureCut(stack_.intermediate_dim), rank_);
    layer.gate_up = MakeLinearWeight(type_, {0, hidden}, {ffn.size(), ffn.size()});
    TANDEM_RETURN_IF_ERROR(PackSlice(Name("mlp.gate_proj.weight"),
                                     {ffn.begin(), ffn.end(), 0, hidden}, 0, checkpoint_,
                                     layer.gate_up));
    TANDEM_RETURN_IF_ERROR(PackSlice(Name("mlp.up_proj.weight"),
                                     {ffn.begin(), ffn.end(), 0, hidden}, 1, checkpoint_,
                                     layer.gate_up));
    layer.down = MakeLinearWeight(type_, ffn.LocalBoundaries(), {hidden});
    return PackSlice(Name("mlp.down_proj.weight"), {0, hidden, ffn.begin(), ffn.end()}, 0,
                     checkpoint_, layer.down);
  }

  const std::string prefix_;
  const TextStackConfig& stack_;
  const AttentionShard& heads_;
  const ComputeType type_;
  const TpRank rank_;
  Checkpoint& checkpoint_;
};

}  // namespace

size_t StackWeights::bytes() const {
  size_t total = final_norm.size() * sizeof(float);
  for (const LayerWeights& layer : layers) {
    total += layer.qkv.bytes() + layer.output.bytes() + layer.gate_up.bytes() + layer.down.bytes();
  }
  return total;
}

absl::StatusOr<StackWeights> LoadStackWeights(const std::string& name, const TextStackConfig& stack,
                                              ComputeType type, TpRank rank,
                                              Checkpoint& checkpoint) {
  StackWeights weights;
  weights.heads =
      ShardAttention({.num_heads = stack.num_heads, .num_kv_heads = stack.num_kv_heads}, rank);
  for (int64_t i = 0; i < stack.num_layers; ++i) {
    LayerLoader loader(absl::StrCat(name, ".layers.", i, "."), stack, weights.heads, type, rank,
                       checkpoint);
    TANDEM_ASSIGN_OR_RETURN(LayerWeights layer, loader.Load());
    weights.layers.push_back(std::move(layer));
  }
  TANDEM_ASSIGN_OR_RETURN(weights.final_norm, ReadVector(absl::StrCat(name, ".norm.weight"), 0,
                                                         stack.hidden_dim, checkpoint));
  return weights;
}

absl::StatusOr<TokenTable> LoadTokenTable(const std::string& tensor, const std::string& eoi_tensor,
                                          const TextStackConfig& stack, ComputeType type,
                                          TpRank rank, Checkpoint& checkpoint) {
  TokenTable table;
  table.vocabulary = ShardOf(FeatureCut(stack.vocab_size), rank);
  table.rows = MakeLinearWeight(type, {0, stack.hidden_dim}, {table.vocabulary.size()});
  TANDEM_RETURN_IF_ERROR(
      PackSlice(tensor, {table.vocabulary.begin(), table.vocabulary.end(), 0, stack.hidden_dim}, 0,
                checkpoint, table.rows));
  if (!eoi_tensor.empty()) {
    TANDEM_ASSIGN_OR_RETURN(table.eoi_embedding,
                            ReadVector(eoi_tensor, 0, stack.hidden_dim, checkpoint));
  }
  return table;
}

}  // namespace tandem
