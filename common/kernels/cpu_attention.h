// Ops::Attention on the CPU: cuts the queries into tiles, walks each tile's blocks of keys and
// spreads the work over threads. The arithmetic is in attention_kernels.inc.
#ifndef TANDEM_COMMON_KERNELS_CPU_ATTENTION_H_
#define TANDEM_COMMON_KERNELS_CPU_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/base/aligned_buffer.h"
#include "common/base/thread_pool.h"
#include "common/kernels/cpu_kernels.h"
#include "common/kernels/ops.h"

namespace tandem {

class CpuAttention {
 public:
  CpuAttention(const CpuKernels& kernels, ThreadPool& pool);

  // As Ops::Attention.
  void Run(const AttentionParams& params, ConstMatrix q, const KvView& self, const KvView& cross,
           absl::Span<const AttentionSequence> sequences, Matrix out);

 private:
  struct Call;
  struct Workspace;
  struct Range {
    int64_t begin = 0, end = 0;
  };
  // Some rows of (query, head), heads innermost, of one sequence and one KV head: they read the
  // same keys. Tile row i is row first + i of the sequence's num_rows * group.
  struct Tile {
    const AttentionSequence* sequence = nullptr;
    int64_t kv_head = 0;
    int64_t first_head = 0;
    int64_t group = 0;  // Query heads of this KV head.
    int num_rows = 0;
    int64_t first = 0;
    Range self_blocks;
    int64_t num_blocks = 0;   // Self, then cross.
    int64_t first_block = 0;  // Blocks of the tiles before this one.

    int64_t Row(int i) const { return (first + i) / group; }
    int64_t Head(int i) const { return first_head + (first + i) % group; }
  };

  // Where a block of a tile lies.
  struct Place {
    bool is_self = true;
    int64_t begin = 0;   // Its first key.
    int64_t length = 0;  // Of all keys of this kind.
    const KvView* cache = nullptr;
    absl::Span<const int32_t> pages;

    int64_t Page(int p) const { return pages[static_cast<size_t>(begin / kPageTokens + p)]; }
  };

  static Range BlocksOf(Range keys);
  static Place PlaceOf(const Call& call, const Tile& tile, int64_t index);
  void MakeTiles(const Call& call);
  Workspace WorkspaceOf(const Call& call, int thread) const;
  // The tile's queries, packed; for the following AttendBlock calls.
  void LoadTile(const Call& call, const Tile& tile, const Workspace& ws) const;
  // Merges the tile's block `index` (of Tile::num_blocks) into `state`.
  void AttendBlock(const Call& call, const Tile& tile, int64_t index, const Workspace& ws,
                   const SoftmaxState& state) const;
  void Finish(const Call& call, const Tile& tile, const SoftmaxState& state) const;
  void RunTile(const Call& call, const Tile& tile, const Workspace& ws) const;
  // One thread a tile; or, where that would leave threads idle, one a block.
  void RunTiles(const Call& call);
  void RunBlocks(const Call& call, int64_t part_floats);

  const CpuKernels& kernels_;
  ThreadPool& pool_;
  std::vector<Tile> tiles_;
  AlignedBuffer<float> workspaces_;  // One a thread.
  AlignedBuffer<float> parts_;       // RunBlocks: one a block.
};

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_CPU_ATTENTION_H_
