// The kernels of the CPU's operations other than products, compiled once for each instruction set
// (cpu_kernels_<isa>.cc). Each works for one thread on plain pointers; cpu_ops.cc and its
// neighbours cut the work and check shapes. Any pointer may be unaligned.
#ifndef TANDEM_COMMON_KERNELS_CPU_KERNELS_H_
#define TANDEM_COMMON_KERNELS_CPU_KERNELS_H_

#include <cstdint>

#include "common/kernels/cpu_ops.h"
#include "common/kernels/draws.h"
#include "common/kernels/kv_layout.h"

namespace tandem {

enum class MathFunction : uint8_t { kExp, kLog, kTanh, kGeluTanh, kGeluErf, kSilu, kRelu };

// Some queries (one KV head's) against one block of keys.
inline constexpr int kMaxTileRows = 32;
inline constexpr int kBlockPages = static_cast<int>(kAttentionBlock / kPageTokens);

struct AttentionShape {
  int64_t key_words = 0;     // Words of a row of q, and of a key.
  int64_t value_panels = 0;  // Panels of channels; a row of `out` has 16 times as many floats.
  float scale = 1.0f;
  float soft_cap = 0.0f;  // 0: off.
};

// Running softmax of some rows: (max, sum, out) over the blocks seen so far. Fresh: -inf, 0, 0.
struct SoftmaxState {
  float* max = nullptr;  // [rows]
  float* sum = nullptr;  // [rows]
  float* out = nullptr;  // [rows][value_panels * 16]
};

struct AttentionBlock {
  int num_rows = 0;             // 1 ... kMaxTileRows.
  const uint32_t* q = nullptr;  // [rows][key_words]
  // Row r sees key k of the block iff low[r] <= k < high[r] and valid[k] != 0.
  const int32_t* low = nullptr;
  const int32_t* high = nullptr;
  const int32_t* valid = nullptr;  // [128]; null: all.
  // The pages that hold every [low, high) of the tile; no other is read.
  int first_page = 0, end_page = 0;
  const uint32_t* keys[kBlockPages] = {};       // Key parts of the block's pages.
  const uint32_t* values[kBlockPages] = {};     // Value parts.
  const uint32_t* next_keys[kBlockPages] = {};  // Key parts of what is attended to next: a hint.
  float* scratch = nullptr;                     // AttentionScratchFloats(num_rows).
};

// Scores, and the weights rounded to the cache's type.
inline constexpr int64_t AttentionScratchFloats(int64_t num_rows) {
  return 2 * num_rows * kAttentionBlock;
}

// What a row of logits yields within one block of the vocabulary.
struct LogitsSummary {
  float max = 0.0f;  // -inf where none is above it; NaN is not looked at.
  bool nonfinite = false;
};

struct CpuKernels {
  // out = function(x), in place if they are equal.
  void (*map)(MathFunction function, const float* x, int64_t n, float* out);
  // out = x / sqrt(mean(x^2) + eps) * (1 + weight).
  void (*rms_norm)(const float* x, const float* weight, int64_t dim, float eps, float* out);
  void (*add)(const float* branch, int64_t n, float* x);  // x += branch.
  void (*gate)(MathFunction function, const float* gate, const float* up, int64_t n, float* out);
  void (*soft_cap)(float cap, int64_t n, float* x);
  void (*round_to_bf16)(int64_t n, float* x);
  // To words: bf16 pairs (the last one padded with zero), or the floats themselves.
  void (*pack)(ComputeType type, const float* x, int64_t n, uint32_t* words);
  // (x[c], x[c + half]) by the angles of c.
  void (*rotate)(const float* cos, const float* sin, int64_t half, float* x);

  // Merges one block into the rows' states.
  void (*attend)(ComputeType type, const AttentionShape& shape, const AttentionBlock& block,
                 const SoftmaxState& state);
  // Merges `part`, the states of the same rows after one later block alone, into `state`.
  void (*merge)(const AttentionShape& shape, int num_rows, const SoftmaxState& part,
                const SoftmaxState& state);
  // out[0:n] = acc / sum, zeros where sum is 0 (the row saw no key).
  void (*finish)(const float* acc, float sum, int64_t n, float* out);

  // Applies the soft cap (0: off) in place and looks at all n logits.
  LogitsSummary (*summarize)(float soft_cap, int64_t n, float* logits);
  // Sum of exp(logit - max).
  float (*sum_exp)(const float* logits, int64_t n, float max);
  // First index >= from whose logit is >= least; n where there is none.
  int64_t (*find_at_least)(const float* logits, int64_t from, int64_t n, float least);
  // DrawBits of the tokens from first_id on, a multiple of 4.
  void (*draw)(const DrawKey& key, uint32_t first_id, int64_t n, uint32_t* bits);
};

const CpuKernels& CpuKernelsOf(Isa isa);  // One that this processor supports.

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_CPU_KERNELS_H_
