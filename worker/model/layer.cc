#include "worker/model/layer.h"

#include <cmath>

#include "common/base/status_macros.h"

namespace tandem {
namespace {

AttentionParams CommonAttention(const ModelConfig& config, const TextStackConfig& stack,
                                const AttentionShard& heads) {
  AttentionParams params;
  params.head_dim = stack.head_dim;
  params.kv_head_of_head = heads.kv_head_of_head;
  params.scale = static_cast<float>(1.0 / std::sqrt(stack.query_pre_attn_scalar));
  params.soft_cap = static_cast<float>(AppliedAttentionSoftCap(config, stack));
  return params;
}

}  // namespace

AttentionParams EncoderAttention(const ModelConfig& config, const AttentionShard& heads,
                                 LayerType type) {
  AttentionParams params = CommonAttention(config, config.encoder, heads);
  params.window_ahead = kNoWindow;
  if (type == LayerType::kSliding) {
    params.window_back = (config.encoder.sliding_window + 1) / 2 - 1;
    params.window_ahead = config.encoder.sliding_window / 2;
  }
  return params;
}

AttentionParams DecoderAttention(const ModelConfig& config, const AttentionShard& heads,
                                 LayerType type) {
  AttentionParams params = CommonAttention(config, config.decoder, heads);
  if (type == LayerType::kSliding) params.window_back = config.decoder.sliding_window - 1;
  return params;
}

Matrix Layer::Project(ConstMatrix states, Segment first, Segment last, LayerWorkspace& ws) const {
  const LinearWeight& qkv = weights_.qkv;
  const int64_t begin = qkv.segments[first].column;
  const int64_t end = last == kValue ? qkv.columns : qkv.segments[last + 1].column;
  const Matrix out = ws.qkv.Shape(states.rows, end - begin);
  runtime_.ops->Linear(states, qkv, begin, out);
  if (!weights_.qkv_bias.empty()) {
    runtime_.ops->AddBias(
        absl::MakeConstSpan(weights_.qkv_bias)
            .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
        out);
  }
  return out;
}

void Layer::StoreKv(ConstMatrix states, const RopeRows* rope, absl::Span<const KvSlot> slots,
                    const KvView& cache, LayerWorkspace& ws) const {
  const Matrix kv = Project(states, kKey, kValue, ws);
  const LinearSegment& key = weights_.qkv.segments[kKey];
  const LinearSegment& value = weights_.qkv.segments[kValue];
  const Matrix k = kv.Cols(0, key.size);
  const Matrix v = kv.Cols(value.column - key.column, value.size);
  runtime_.ops->HeadNormRope(stack_.head_dim, weights_.key_norm, stack_.rms_norm_eps, rope, k);
  runtime_.ops->StoreKv(k, v, slots, cache);
}

void Layer::StoreSelfKv(ConstMatrix x, const RopeRows& rope, absl::Span<const KvSlot> slots,
                        const KvView& cache, LayerWorkspace& ws) const {
  const Matrix normed = ws.normed.Shape(x.rows, x.cols);
  runtime_.ops->RmsNorm(x, weights_.pre_attention_norm, stack_.rms_norm_eps, normed);
  StoreKv(normed, &rope, slots, cache, ws);
}

void Layer::StoreMemoryKv(ConstMatrix memory, absl::Span<const KvSlot> slots, const KvView& cache,
                          LayerWorkspace& ws) const {
  StoreKv(memory, nullptr, slots, cache, ws);
}

absl::Status Layer::RowParallel(ConstMatrix input, const LinearWeight& weight,
                                absl::Span<const float> bias, LayerWorkspace& ws,
                                Matrix* branch) const {
  const Matrix padded = ws.branch.Shape(input.rows, weight.columns);
  runtime_.ops->Linear(input, weight, 0, padded);  // This rank's subtree: a partial sum.
  TANDEM_RETURN_IF_ERROR(runtime_.tp->AllReduceSum(
      absl::MakeSpan(padded.data, static_cast<size_t>(padded.rows * padded.cols))));
  *branch = padded.Cols(0, stack_.hidden_dim);
  if (!bias.empty()) runtime_.ops->AddBias(bias, *branch);
  return absl::OkStatus();
}

absl::Status Layer::Forward(const RopeRows& rope, const KvView& self, const KvView& cross,
                            absl::Span<const AttentionSequence> sequences, Matrix x,
                            LayerWorkspace& ws) const {
  Ops& ops = *runtime_.ops;
  const float eps = stack_.rms_norm_eps;
  const Matrix normed = ws.normed.Shape(x.rows, x.cols);
  Matrix branch;

  ops.RmsNorm(x, weights_.pre_attention_norm, eps, normed);
  const Matrix q = Project(normed, kQuery, kQuery, ws).Cols(0, weights_.qkv.segments[kQuery].size);
  ops.HeadNormRope(stack_.head_dim, weights_.query_norm, eps, &rope, q);
  const Matrix attended = ws.attended.Shape(q.rows, q.cols);
  ops.Attention(attention_, q, self, cross, sequences, attended);
  TANDEM_RETURN_IF_ERROR(RowParallel(attended, weights_.output, weights_.output_bias, ws, &branch));
  ops.RmsNorm(branch, weights_.post_attention_norm, eps, branch);
  ops.AddInPlace(branch, x);

  ops.RmsNorm(x, weights_.pre_mlp_norm, eps, normed);
  const Matrix gate_up = ws.gate_up.Shape(x.rows, weights_.gate_up.columns);
  ops.Linear(normed, weights_.gate_up, 0, gate_up);
  const LinearSegment& up = weights_.gate_up.segments[1];
  const Matrix gated = gate_up.Cols(0, up.size);
  ops.GatedActivation(gated, gate_up.Cols(up.column, up.size), stack_.activation, gated);
  TANDEM_RETURN_IF_ERROR(RowParallel(gated, weights_.down, {}, ws, &branch));
  ops.RmsNorm(branch, weights_.post_mlp_norm, eps, branch);
  ops.AddInPlace(branch, x);
  return absl::OkStatus();
}

}  // namespace tandem
