// Leaves: how a dimension is cut so that sums over it, and shards of it, do not depend on the
// tensor-parallel degree. Source: docs/numerics.md.
//
// A dimension of K features has U = ceil(K / unit) units; leaf i of L is the units
// [floor(i * U / L), floor((i + 1) * U / L)). Leaves may differ in length or be empty. A rank of a
// TP group owns an aligned run of L / tp_size leaves, so its sum is one subtree of the binary tree
// over all leaves, and the tree goes on over ranks.
#ifndef TANDEM_COMMON_PARALLEL_LEAVES_H_
#define TANDEM_COMMON_PARALLEL_LEAVES_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/base/check.h"

namespace tandem {

inline constexpr int kTextLeaves = 8;     // o, down and the vocabulary of the text stacks.
inline constexpr int kVisionLeaves = 16;  // out and fc2 of the vision stage.

struct LeafCut {
  int64_t features = 0;  // K.
  int num_leaves = 1;    // L; a power of two.
  int64_t unit = 16;     // Features a leaf boundary is a multiple of (the last unit may be short).

  int64_t Begin(int leaf) const {
    TANDEM_DCHECK(leaf >= 0 && leaf <= num_leaves);
    const int64_t units = (features + unit - 1) / unit;
    return std::min(features, leaf * units / num_leaves * unit);
  }
};

// One leaf over the whole of K: q, k, v, gate, up and the head.
inline LeafCut WholeCut(int64_t features) { return {.features = features, .num_leaves = 1}; }

// Inputs of o (num_heads * head_dim): units of 2 where head_dim is no multiple of 16, so that
// shards fall on heads.
inline LeafCut AttentionCut(int64_t num_heads, int64_t head_dim, int num_leaves = kTextLeaves) {
  return {.features = num_heads * head_dim,
          .num_leaves = num_leaves,
          .unit = head_dim % 16 == 0 ? 16 : 2};
}

// Inputs of down (fc2), and with it the outputs of gate and up (fc1); rows of the vocabulary.
inline LeafCut FeatureCut(int64_t features, int num_leaves = kTextLeaves) {
  return {.features = features, .num_leaves = num_leaves, .unit = 16};
}

// A rank's place in its tensor-parallel group. tp_size is a power of two.
struct TpRank {
  int tp_size = 1;
  int tp_rank = 0;
};

// The run of leaves that a rank owns, and their features.
struct LeafShard {
  LeafCut cut;
  int first_leaf = 0;
  int num_leaves = 1;

  int64_t begin() const { return cut.Begin(first_leaf); }
  int64_t end() const { return cut.Begin(first_leaf + num_leaves); }
  int64_t size() const { return end() - begin(); }
  // num_leaves + 1 boundaries relative to begin(): what a packed weight's rows are cut by.
  std::vector<int64_t> LocalBoundaries() const {
    std::vector<int64_t> out;
    for (int i = 0; i <= num_leaves; ++i) out.push_back(cut.Begin(first_leaf + i) - begin());
    return out;
  }
};

// The whole dimension where the cut has one leaf (its products are not row-parallel).
inline LeafShard ShardOf(const LeafCut& cut, TpRank rank) {
  if (cut.num_leaves == 1) return {cut, 0, 1};
  TANDEM_CHECK(cut.num_leaves % rank.tp_size == 0);
  const int count = cut.num_leaves / rank.tp_size;
  return {cut, rank.tp_rank * count, count};
}

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_LEAVES_H_
