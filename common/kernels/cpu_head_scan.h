// Ops::HeadScan on the CPU. The vocabulary is walked in blocks of kHeadBlock outputs, counted from
// the start of each of its leaves: a block's logits are computed for all rows at once (so weights
// are read once), looked at, and forgotten. Threads take blocks as they come; what a block yields
// does not depend on who computes it, and is joined in the order of the vocabulary.
#ifndef TANDEM_COMMON_KERNELS_CPU_HEAD_SCAN_H_
#define TANDEM_COMMON_KERNELS_CPU_HEAD_SCAN_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/base/aligned_buffer.h"
#include "common/base/thread_pool.h"
#include "common/kernels/cpu_kernels.h"
#include "common/kernels/linear.h"
#include "common/kernels/ops.h"

namespace tandem {

inline constexpr int64_t kHeadBlock = 2048;

class CpuHeadScan {
 public:
  CpuHeadScan(const CpuKernels& kernels, const LinearKernels& linear, ThreadPool& pool);

  // As Ops::HeadScan. `input` is scratch.
  void Run(ConstMatrix x, const LinearWeight& head, const LeafShard& vocabulary, float soft_cap,
           absl::Span<const HeadRequest> requests, LinearInput& input,
           absl::Span<HeadResult> results);

 private:
  struct Block {
    int leaf = 0;        // Of the shard.
    int64_t column = 0;  // First output, relative to the shard.
    int64_t size = 0;
  };
  // What one thread has found for one row.
  struct Found {
    std::vector<Candidate> top;  // Best first.
    Candidate best;
    std::vector<Candidate> candidates;  // Best first.
    Candidate drawn;
    float drawn_logit = 0.0f;
    bool nonfinite = false;
  };
  struct Worker {
    AlignedBuffer<float> logits;  // [rows][kHeadBlock]
    std::vector<Found> rows;
    AlignedBuffer<float> scaled;    // [kHeadBlock]
    AlignedBuffer<uint32_t> draws;  // [kHeadBlock]
  };
  // The softmax's sums of one row over one block.
  struct Sums {
    LogSumExp raw;
    LogSumExp scaled;
  };

  void MakeBlocks(const LeafShard& vocabulary);
  // The row's edited logits go to `edited`, each written by the one block that has it.
  Sums ScanRow(const Block& block, int32_t first_id, float soft_cap, const HeadRequest& request,
               float* logits, Worker& worker, Found& found, float* edited) const;
  bool TakeEdited(const Block& block, int32_t first_id, absl::Span<const int32_t> ids,
                  float* logits, float* edited) const;
  void OfferBlock(const Block& block, int32_t first_id, int count, const float* logits,
                  std::vector<Candidate>& best) const;
  void DrawBlock(const Block& block, int32_t first_id, const HeadRequest& request, float max,
                 const float* logits, uint32_t* draws, Found& found) const;
  LogSumExp JoinLeaves(int num_leaves, size_t row, size_t num_rows, LogSumExp Sums::*part) const;

  const CpuKernels& kernels_;
  const LinearKernels& linear_;
  ThreadPool& pool_;
  std::vector<Block> blocks_;
  std::vector<Worker> workers_;
  std::vector<Sums> sums_;  // [blocks][rows]
};

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_CPU_HEAD_SCAN_H_
