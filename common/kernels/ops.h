// The operations that the model's forward pass is written in: one of the two seams between the
// model and the machine (the other is parallel/communicator.h). CPU here; CUDA behind the same
// interface.
//
// Contract for all: matrices are row-major fp32; unless said otherwise `out` may be the input
// itself and must not overlap it partly. Shapes are the caller's contract (TANDEM_CHECK). The bits
// of a row of an output depend on that row's inputs alone, never on the number of rows, their
// order, or the number of threads. Which bits is defined in docs/numerics.md. One caller at a time.
#ifndef TANDEM_COMMON_KERNELS_OPS_H_
#define TANDEM_COMMON_KERNELS_OPS_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "common/kernels/draws.h"
#include "common/kernels/kv_layout.h"
#include "common/kernels/linear_weight.h"
#include "common/parallel/leaves.h"
#include "common/tensor/activation.h"
#include "common/tensor/matrix.h"

namespace tandem {

// Rotary embedding of some rows: cos and sin [rows, head_dim / 2].
struct RopeRows {
  ConstMatrix cos;
  ConstMatrix sin;
};

// One request's queries in an attention call, and the keys they may see.
struct AttentionSequence {
  int64_t first_row = 0;  // Of q and out.
  int64_t num_rows = 0;
  const int32_t* positions =
      nullptr;  // [num_rows], ascending: the row's place among the self keys.
  // Self keys: slot j of page self_pages[j / kPageTokens] holds position j, for j < self_len.
  absl::Span<const int32_t> self_pages;
  int64_t self_len = 0;
  const uint8_t* self_valid = nullptr;  // [self_len], 0 where a key is masked; null: all valid.
  // Encoder memory (merged attention): every valid key is seen. None where cross_len is 0.
  absl::Span<const int32_t> cross_pages;
  int64_t cross_len = 0;
  const uint8_t* cross_valid = nullptr;
};

inline constexpr int64_t kNoWindow = std::numeric_limits<int64_t>::max() / 4;

struct AttentionParams {
  int64_t head_dim = 0;
  std::vector<int32_t>
      kv_head_of_head;    // This rank's query heads -> this rank's KV heads, ascending.
  float scale = 1.0f;     // query_pre_attn_scalar ^ -0.5
  float soft_cap = 0.0f;  // score = cap * tanh(score / cap); 0: off.
  // Query i sees self key j iff i - window_back <= j <= i + window_ahead (and j is valid).
  int64_t window_back = kNoWindow;
  int64_t window_ahead = 0;
};

struct Candidate {
  int32_t id = -1;
  float logit = -std::numeric_limits<float>::infinity();
};
// The order of candidates: higher logit first, ties to the lower id.
inline bool Better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// max and sum of exp(logit - max) over a run of the vocabulary.
struct LogSumExp {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0.0f;
};
// The merge of two neighbouring runs; not associative in bits: callers keep the tree's order.
LogSumExp Merge(const LogSumExp& left, const LogSumExp& right);
// max + log(sum).
float LogOf(const LogSumExp& value);

// What is asked of one row's logits. First the raw distribution: alternatives, the softmax's sum,
// the logits of single tokens. Then what a token is chosen from: all but the `edited` ones, whose
// logits the caller changes and judges itself.
struct HeadRequest {
  int num_top = 0;                   // The best of all, for log-probabilities.
  bool log_sum_exp = false;          // Over all.
  absl::Span<const int32_t> edited;  // Global ids, sorted, each once.
  int num_candidates = 0;            // The best of the others.
  // Above 0: a choice at random among the others by logit / temperature + GumbelOf(draw), ...
  float temperature = 0.0f;
  bool draw = false;        // ... the winner, ...
  DrawKey draw_key;         //
  bool scaled_sum = false;  // ... and the softmax's sum over logit / temperature.
  // Not null: [shard size] floats for this shard's logits, the edited ones among them.
  float* logits = nullptr;
};
struct HeadResult {
  std::vector<Candidate> top;  // Best first; fewer than num_top where the shard has fewer ids.
  LogSumExp log_sum_exp;       // Of this shard: one subtree.
  std::vector<float> edited;   // One an id of the request; -inf where another shard holds it.
  Candidate best;              // Of the others.
  std::vector<Candidate> candidates;  // Best first; fewer where the shard has fewer.
  Candidate drawn;                    // logit holds logit / temperature + noise, ...
  float drawn_logit = 0.0f;           // ... and this its logit.
  LogSumExp scaled_sum;
  bool nonfinite = false;  // A logit is NaN or infinite: the row has no answer.
};

class Ops {
 public:
  virtual ~Ops() = default;

  virtual ComputeType type() const = 0;

  // y[:, 0:count] = columns [first_column, first_column + count) of x W^T, both multiples of kPanel
  // (y.cols == count). For a weight with leaves it is this rank's subtree: a partial sum.
  // x [rows, in_features] is rounded to the compute type first. y may not overlap x.
  virtual void Linear(ConstMatrix x, const LinearWeight& weight, int64_t first_column,
                      Matrix y) = 0;

  // out = x / sqrt(mean(x^2) + eps) * (1 + weight), row by row; weight [cols].
  virtual void RmsNorm(ConstMatrix x, absl::Span<const float> weight, float eps, Matrix out) = 0;

  // x += branch.
  virtual void AddInPlace(ConstMatrix branch, Matrix x) = 0;

  // x += bias on every row; bias [cols].
  virtual void AddBias(absl::Span<const float> bias, Matrix x) = 0;

  // out = activation(gate) * up. out may be gate or up.
  virtual void GatedActivation(ConstMatrix gate, ConstMatrix up, Activation activation,
                               Matrix out) = 0;

  // x = cap * tanh(x / cap).
  virtual void SoftCap(float cap, Matrix x) = 0;

  // Rounds to the compute type and back (nothing in fp32): what the encoder's output is passed as.
  virtual void RoundToCompute(Matrix x) = 0;

  // out[i] = table row (ids[i] - first_id) * scale where the shard holds it, zeros elsewhere.
  // table: one segment of rows [in_features]; out [ids.size(), in_features].
  virtual void EmbedRows(const LinearWeight& table, int64_t first_id, absl::Span<const int32_t> ids,
                         float scale, Matrix out) = 0;

  // cos and sin [positions.size(), inverse_frequencies.size()] of float(position) * frequency (the
  // product rounded to fp32).
  virtual void RopeTables(absl::Span<const int32_t> positions,
                          absl::Span<const float> inverse_frequencies, Matrix cos, Matrix sin) = 0;

  // In place on every head of x [rows, num_heads * head_dim]: RMS norm over head_dim with
  // `weight` [head_dim] (none where empty), then rotation of (c, c + head_dim / 2) (none where
  // null).
  virtual void HeadNormRope(int64_t head_dim, absl::Span<const float> weight, float eps,
                            const RopeRows* rope, Matrix x) = 0;

  // Writes rows of k and v [rows, num_kv_heads * head_dim] to their slots (one a row), rounded to
  // the cache's type.
  virtual void StoreKv(ConstMatrix k, ConstMatrix v, absl::Span<const KvSlot> slots,
                       const KvView& cache) = 0;

  // out[row] = softmax(scale * q K^T) V over self keys and encoder memory together, one softmax.
  // q, out [rows, num_heads * head_dim]; q is rounded to the compute type. self and cross: the
  // layer's pages (cross may equal self). A row that sees no key gets zeros.
  virtual void Attention(const AttentionParams& params, ConstMatrix q, const KvView& self,
                         const KvView& cross, absl::Span<const AttentionSequence> sequences,
                         Matrix out) = 0;

  // Finds what each row of x [rows, hidden] needs of its logits over this shard of the vocabulary,
  // reading the head's weights once and holding a block of the vocabulary at a time. head has one
  // segment: rows [vocabulary.begin(), vocabulary.end()). soft_cap 0: off.
  virtual void HeadScan(ConstMatrix x, const LinearWeight& head, const LeafShard& vocabulary,
                        float soft_cap, absl::Span<const HeadRequest> requests,
                        absl::Span<HeadResult> results) = 0;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_OPS_H_
