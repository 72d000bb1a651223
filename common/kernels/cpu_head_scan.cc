#include "common/kernels/cpu_head_scan.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "common/base/check.h"

namespace tandem {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Keeps the num_top best, best first.
void Offer(const Candidate& candidate, size_t num_top, std::vector<Candidate>& top) {
  if (top.size() == num_top) {
    if (!Better(candidate, top.back())) return;
    top.pop_back();
  }
  top.insert(std::upper_bound(top.begin(), top.end(), candidate, Better), candidate);
}

}  // namespace

CpuHeadScan::CpuHeadScan(const CpuKernels& kernels, const LinearKernels& linear, ThreadPool& pool)
    : kernels_(kernels),
      linear_(linear),
      pool_(pool),
      workers_(static_cast<size_t>(pool.num_threads())) {}

void CpuHeadScan::MakeBlocks(const LeafShard& vocabulary) {
  blocks_.clear();
  const std::vector<int64_t> leaves = vocabulary.LocalBoundaries();
  for (int leaf = 0; leaf < vocabulary.num_leaves; ++leaf) {
    const int64_t end = leaves[static_cast<size_t>(leaf) + 1];
    for (int64_t column = leaves[static_cast<size_t>(leaf)]; column < end; column += kHeadBlock) {
      TANDEM_CHECK(column % kPanel == 0);
      blocks_.push_back({leaf, column, std::min(kHeadBlock, end - column)});
    }
  }
}

LogSumExp CpuHeadScan::ScanRow(const Block& block, int32_t first_id, float soft_cap,
                               const HeadRequest& request, float* logits, Found& found) const {
  LogitsSummary summary = kernels_.summarize(soft_cap, block.size, logits);
  found.nonfinite |= summary.nonfinite;
  LogSumExp sum;
  if (request.log_sum_exp) {
    sum = {summary.max, kernels_.sum_exp(logits, block.size, summary.max)};
  }
  const auto num_top = static_cast<size_t>(request.num_top);
  if (num_top > 0) {
    for (int64_t i = 0;; ++i) {
      const float least = found.top.size() < num_top ? kMinusInfinity : found.top.back().logit;
      i = kernels_.find_at_least(logits, i, block.size, least);
      if (i == block.size) break;
      Offer({first_id + static_cast<int32_t>(i), logits[i]}, num_top, found.top);
    }
  }
  // The raw distribution is read: from here on forbidden ids may lose their logits.
  const auto* forbidden =
      std::lower_bound(request.forbidden.begin(), request.forbidden.end(), first_id);
  const int64_t end_id = first_id + block.size;
  if (forbidden != request.forbidden.end() && *forbidden < end_id) {
    for (; forbidden != request.forbidden.end() && *forbidden < end_id; ++forbidden) {
      logits[*forbidden - first_id] = kMinusInfinity;
    }
    summary = kernels_.summarize(0.0f, block.size, logits);
  }
  if (summary.max > kMinusInfinity) {
    const int64_t i = kernels_.find_at_least(logits, 0, block.size, summary.max);
    const Candidate best{first_id + static_cast<int32_t>(i), summary.max};
    if (Better(best, found.best)) found.best = best;
  }
  return sum;
}

// Blocks of a leaf in sequence, then the tree over the shard's leaves: one subtree of the whole.
LogSumExp CpuHeadScan::JoinLeaves(int num_leaves, size_t row, size_t num_rows) const {
  std::vector<LogSumExp> leaves(static_cast<size_t>(num_leaves));
  for (size_t b = 0; b < blocks_.size(); ++b) {
    LogSumExp& leaf = leaves[static_cast<size_t>(blocks_[b].leaf)];
    leaf = Merge(leaf, sums_[b * num_rows + row]);
  }
  for (size_t step = 1; step < leaves.size(); step *= 2) {
    for (size_t i = 0; i + step < leaves.size(); i += 2 * step) {
      leaves[i] = Merge(leaves[i], leaves[i + step]);
    }
  }
  return leaves[0];
}

void CpuHeadScan::Run(ConstMatrix x, const LinearWeight& head, const LeafShard& vocabulary,
                      float soft_cap, absl::Span<const HeadRequest> requests, LinearInput& input,
                      absl::Span<HeadResult> results) {
  const auto num_rows = static_cast<size_t>(x.rows);
  TANDEM_CHECK(requests.size() == num_rows && results.size() == num_rows);
  TANDEM_CHECK(head.segments.size() == 1 && head.segments[0].size == vocabulary.size());
  TANDEM_CHECK(head.num_leaves() == 1 && vocabulary.num_leaves >= 1);
  if (num_rows == 0) return;
  MakeBlocks(vocabulary);
  sums_.resize(blocks_.size() * num_rows);
  const LinearKernel& kernel = linear_.For(head.type);
  input.Convert(kernel, &pool_, x, head);

  std::atomic<size_t> next = 0;
  pool_.Run([&](int thread) {
    Worker& worker = workers_[static_cast<size_t>(thread)];
    worker.logits.Reserve(x.rows * kHeadBlock);
    worker.rows.resize(num_rows);
    for (Found& found : worker.rows) {
      found.best = {};
      found.top.clear();
      found.nonfinite = false;
    }
    for (size_t b = next++; b < blocks_.size(); b = next++) {
      const Block& block = blocks_[b];
      const int64_t columns = (block.size + kPanel - 1) / kPanel * kPanel;
      LinearColumns(kernel, input, head, block.column,
                    Matrix(worker.logits.data(), x.rows, columns, kHeadBlock));
      const auto first_id = static_cast<int32_t>(vocabulary.begin() + block.column);
      for (size_t row = 0; row < num_rows; ++row) {
        float* logits = worker.logits.data() + static_cast<int64_t>(row) * kHeadBlock;
        sums_[b * num_rows + row] =
            ScanRow(block, first_id, soft_cap, requests[row], logits, worker.rows[row]);
      }
    }
  });

  for (size_t row = 0; row < num_rows; ++row) {
    HeadResult& result = results[row];
    result = {};
    for (const Worker& worker : workers_) {
      const Found& found = worker.rows[row];
      result.nonfinite |= found.nonfinite;
      if (Better(found.best, result.best)) result.best = found.best;
      for (const Candidate& c : found.top) {
        Offer(c, static_cast<size_t>(requests[row].num_top), result.top);
      }
    }
    if (requests[row].log_sum_exp) {
      result.log_sum_exp = JoinLeaves(vocabulary.num_leaves, row, num_rows);
    }
  }
}

}  // namespace tandem
