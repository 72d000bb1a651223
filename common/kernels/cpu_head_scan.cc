#include "common/kernels/cpu_head_scan.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "common/base/check.h"

namespace tandem {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();

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

void CpuHeadScan::OfferBlock(const Block& block, int32_t first_id, int count, const float* logits,
                             std::vector<Candidate>& best) const {
  const auto wanted = static_cast<size_t>(count);
  for (int64_t i = 0;; ++i) {
    const float least = best.size() < wanted ? kLowest : best.back().logit;
    i = kernels_.find_at_least(logits, i, block.size, least);
    if (i == block.size) return;
    Offer({first_id + static_cast<int32_t>(i), logits[i]}, wanted, best);
  }
}

// Takes out the logits of edited ids: from here on they are -inf, which nobody chooses.
bool CpuHeadScan::TakeEdited(const Block& block, int32_t first_id, absl::Span<const int32_t> ids,
                             float* logits, float* edited) const {
  const auto* id = std::lower_bound(ids.begin(), ids.end(), first_id);
  const int64_t end_id = first_id + block.size;
  if (id == ids.end() || *id >= end_id) return false;
  for (; id != ids.end() && *id < end_id; ++id) {
    edited[id - ids.begin()] = logits[*id - first_id];
    logits[*id - first_id] = kMinusInfinity;
  }
  return true;
}

// Few tokens need their noise's logarithms: those whose draw is large enough for the block's
// largest logit to win.
void CpuHeadScan::DrawBlock(const Block& block, int32_t first_id, const HeadRequest& request,
                            float max, const float* logits, uint32_t* draws, Found& found) const {
  Candidate& drawn = found.drawn;
  const auto consider = [&](int64_t i) {
    const int32_t id = first_id + static_cast<int32_t>(i);
    const float scaled = logits[i] / request.temperature;
    const Candidate candidate{id, scaled + GumbelOf(draws[i])};
    if (logits[i] == kMinusInfinity || !Better(candidate, drawn)) return;
    drawn = candidate;
    found.drawn_logit = logits[i];
  };
  const float max_scaled = max / request.temperature;
  // What the block's best lacks. Rounding of the sum may lift a token by half a step.
  const auto lacking = [&] {
    return drawn.logit - max_scaled - 1e-6f * (std::fabs(drawn.logit) + std::fabs(max_scaled));
  };
  if (lacking() > kMaxGumbel) return;
  kernels_.draw(request.draw_key, static_cast<uint32_t>(first_id), block.size, draws);
  consider(kernels_.find_at_least(logits, 0, block.size, max));
  const uint32_t least = LeastBitsFor(lacking());
  for (int64_t i = 0; i < block.size; ++i) {
    if (draws[i] >= least) consider(i);
  }
}

CpuHeadScan::Sums CpuHeadScan::ScanRow(const Block& block, int32_t first_id, float soft_cap,
                                       const HeadRequest& request, float* logits, Worker& worker,
                                       Found& found, float* edited) const {
  LogitsSummary summary = kernels_.summarize(soft_cap, block.size, logits);
  found.nonfinite |= summary.nonfinite;
  Sums sums;
  if (request.log_sum_exp) {
    sums.raw = {summary.max, kernels_.sum_exp(logits, block.size, summary.max)};
  }
  if (request.num_top > 0) OfferBlock(block, first_id, request.num_top, logits, found.top);
  if (request.logits != nullptr) {
    std::copy_n(logits, block.size, request.logits + block.column);
  }
  if (TakeEdited(block, first_id, request.edited, logits, edited)) {
    summary = kernels_.summarize(0.0f, block.size, logits);
    if (summary.max == kMinusInfinity) return sums;
  }
  if (summary.max >= found.best.logit) {
    const int64_t i = kernels_.find_at_least(logits, 0, block.size, summary.max);
    const Candidate best{first_id + static_cast<int32_t>(i), summary.max};
    if (Better(best, found.best)) found.best = best;
  }
  if (request.num_candidates > 0) {
    OfferBlock(block, first_id, request.num_candidates, logits, found.candidates);
  }
  if (request.draw) {
    DrawBlock(block, first_id, request, summary.max, logits, worker.draws.data(), found);
  }
  if (request.scaled_sum) {
    float* scaled = worker.scaled.data();
    for (int64_t i = 0; i < block.size; ++i) scaled[i] = logits[i] / request.temperature;
    const float max = summary.max / request.temperature;
    sums.scaled = {max, kernels_.sum_exp(scaled, block.size, max)};
  }
  return sums;
}

// Blocks of a leaf in sequence, then the tree over the shard's leaves: one subtree of the whole.
LogSumExp CpuHeadScan::JoinLeaves(int num_leaves, size_t row, size_t num_rows,
                                  LogSumExp Sums::*part) const {
  std::vector<LogSumExp> leaves(static_cast<size_t>(num_leaves));
  for (size_t b = 0; b < blocks_.size(); ++b) {
    LogSumExp& leaf = leaves[static_cast<size_t>(blocks_[b].leaf)];
    leaf = Merge(leaf, sums_[b * num_rows + row].*part);
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

  for (size_t row = 0; row < num_rows; ++row) {
    results[row] = {};
    results[row].edited.assign(requests[row].edited.size(), kMinusInfinity);
  }
  std::atomic<size_t> next = 0;
  pool_.Run([&](int thread) {
    Worker& worker = workers_[static_cast<size_t>(thread)];
    worker.logits.Reserve(x.rows * kHeadBlock);
    worker.scaled.Reserve(kHeadBlock);
    worker.draws.Reserve(kHeadBlock);
    worker.rows.resize(num_rows);
    for (Found& found : worker.rows) {
      // The lists keep their memory from step to step.
      found.top.clear();
      found.candidates.clear();
      found.best = found.drawn = Candidate();
      found.drawn_logit = 0.0f;
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
        sums_[b * num_rows + row] = ScanRow(block, first_id, soft_cap, requests[row], logits,
                                            worker, worker.rows[row], results[row].edited.data());
      }
    }
  });

  for (size_t row = 0; row < num_rows; ++row) {
    const HeadRequest& request = requests[row];
    HeadResult& result = results[row];
    for (const Worker& worker : workers_) {
      const Found& found = worker.rows[row];
      result.nonfinite |= found.nonfinite;
      if (Better(found.best, result.best)) result.best = found.best;
      if (Better(found.drawn, result.drawn)) {
        result.drawn = found.drawn;
        result.drawn_logit = found.drawn_logit;
      }
      for (const Candidate& c : found.top) {
        Offer(c, static_cast<size_t>(request.num_top), result.top);
      }
      for (const Candidate& c : found.candidates) {
        Offer(c, static_cast<size_t>(request.num_candidates), result.candidates);
      }
    }
    if (request.log_sum_exp) {
      result.log_sum_exp = JoinLeaves(vocabulary.num_leaves, row, num_rows, &Sums::raw);
    }
    if (request.scaled_sum) {
      result.scaled_sum = JoinLeaves(vocabulary.num_leaves, row, num_rows, &Sums::scaled);
    }
  }
}

}  // namespace tandem
