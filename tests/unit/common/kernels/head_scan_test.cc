#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "common/kernels/math.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/kernels/ops_test_util.h"

namespace tandem::testing {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct Head {
  Head(ComputeType type, int64_t vocab, int64_t hidden, int64_t rows, unsigned seed = 1)
      : type(type), vocab(vocab), hidden(hidden), rows(rows) {
    std::mt19937 random(seed);
    table = Gauss(random, vocab * hidden);
    x = Gauss(random, rows * hidden);
  }

  LeafShard Shard(int tp_size, int tp_rank) const {
    return ShardOf(FeatureCut(vocab), {tp_size, tp_rank});
  }
  LinearWeight Weight(const LeafShard& shard) const {
    LinearWeight weight = MakeLinearWeight(type, {0, hidden}, {{shard.size()}});
    if (shard.size() > 0) {
      const float* first = table.data() + shard.begin() * hidden;
      PackRows({.data = reinterpret_cast<const std::byte*>(first),
                .dtype = DType::kF32,
                .row_stride_bytes = hidden * 4},
               0, 0, shard.size(), weight);
    }
    return weight;
  }
  std::vector<HeadResult> Scan(Backend& backend, const LeafShard& shard,
                               const std::vector<HeadRequest>& requests,
                               float soft_cap = 0.0f) const {
    std::vector<HeadResult> results(static_cast<size_t>(rows));
    backend.ops->HeadScan(View(x, rows), Weight(shard), shard, soft_cap, requests,
                          absl::MakeSpan(results));
    return results;
  }
  // By the definition of products.
  Floats Logits(int64_t row, float soft_cap = 0.0f) const {
    Floats out;
    for (int64_t id = 0; id < vocab; ++id) {
      const float dot =
          DotInOrder(type, table.data() + id * hidden, 1, x.data() + row * hidden, hidden);
      out.push_back(soft_cap == 0.0f ? dot : soft_cap * Tanh(dot / soft_cap));
    }
    return out;
  }

  ComputeType type;
  int64_t vocab, hidden, rows;
  Floats table, x;
};

HeadRequest Request(int num_top, bool log_sum_exp, const std::vector<int32_t>& edited = {}) {
  HeadRequest request;
  request.num_top = num_top;
  request.log_sum_exp = log_sum_exp;
  request.edited = edited;
  return request;
}

// The definition: blocks of 2,048 of a leaf in sequence, in them blocks of 256, leaves by the tree.
LogSumExp Definition(const Floats& logits, const LeafCut& cut, int64_t head_block = 2048) {
  std::vector<LogSumExp> leaves(static_cast<size_t>(cut.num_leaves));
  for (int leaf = 0; leaf < cut.num_leaves; ++leaf) {
    const int64_t end = cut.Begin(leaf + 1);
    for (int64_t begin = cut.Begin(leaf); begin < end; begin += head_block) {
      const auto* first = logits.data() + begin;
      const auto* last = logits.data() + std::min(end, begin + head_block);
      LogSumExp part{*std::max_element(first, last), 0.0f};
      for (; first < last; first += 256) {
        float lane[16] = {};
        for (int64_t i = 0; i < std::min<int64_t>(256, last - first); ++i) {
          lane[i % 16] += Exp(first[i] - part.max);
        }
        part.sum += LaneTree(lane);
      }
      LogSumExp& to = leaves[static_cast<size_t>(leaf)];
      to = Merge(to, part);
    }
  }
  for (size_t step = 1; step < leaves.size(); step *= 2) {
    for (size_t i = 0; i + step < leaves.size(); i += 2 * step) {
      leaves[i] = Merge(leaves[i], leaves[i + step]);
    }
  }
  return leaves[0];
}

void ExpectSame(const LogSumExp& got, const LogSumExp& want) {
  EXPECT_EQ(std::bit_cast<uint32_t>(got.max), std::bit_cast<uint32_t>(want.max));
  EXPECT_EQ(std::bit_cast<uint32_t>(got.sum), std::bit_cast<uint32_t>(want.sum));
}

std::vector<Candidate> Sorted(const Floats& logits, size_t count) {
  std::vector<Candidate> all;
  for (size_t id = 0; id < logits.size(); ++id)
    all.push_back({static_cast<int32_t>(id), logits[id]});
  std::sort(all.begin(), all.end(), Better);
  all.resize(std::min(count, all.size()));
  return all;
}

void ExpectSame(const std::vector<Candidate>& got, const std::vector<Candidate>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].id, want[i].id) << i;
    EXPECT_EQ(got[i].logit, want[i].logit) << i;
  }
}

TEST(HeadScanTest, IsTheDefinitionToTheBitOnEveryIsaAndThreadCount) {
  SetComputeFloatMode();
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    for (int64_t vocab : {5, 16, 300, 4099, 40007}) {
      const Head head(type, vocab, vocab > 5000 ? 6 : 23, 3);
      const float soft_cap = vocab == 4099 ? 4.0f : 0.0f;
      std::vector<Floats> logits;
      for (int64_t row = 0; row < head.rows; ++row) logits.push_back(head.Logits(row, soft_cap));
      const LeafShard shard = head.Shard(1, 0);
      for (Isa isa : SupportedIsas()) {
        for (int threads : {1, 2, 3, 7}) {
          Backend backend(isa, type, threads);
          const std::vector<HeadResult> results = head.Scan(
              backend, shard, {Request(20, true), Request(0, false), Request(1, true)}, soft_cap);
          for (size_t row = 0; row < results.size(); ++row) {
            const HeadResult& r = results[row];
            const Candidate best = Sorted(logits[row], 1)[0];
            EXPECT_EQ(r.best.id, best.id);
            EXPECT_EQ(r.best.logit, best.logit);
            EXPECT_FALSE(r.nonfinite);
            const size_t num_top = row == 0 ? 20 : row == 2 ? 1 : 0;
            ExpectSame(r.top, Sorted(logits[row], num_top));
            if (row != 1) ExpectSame(r.log_sum_exp, Definition(logits[row], shard.cut));
          }
        }
      }
    }
  }
}

TEST(HeadScanTest, LogSumExpIsCloseToDoubleAndItsOrderShows) {
  const Head head(ComputeType::kFloat32, 40007, 6, 8);
  Backend backend(SupportedIsas().back(), head.type);
  const LeafShard shard = head.Shard(1, 0);
  const auto results = head.Scan(backend, shard, std::vector<HeadRequest>(8, Request(0, true)));
  int other = 0;
  for (int64_t row = 0; row < 8; ++row) {
    const Floats logits = head.Logits(row);
    double sum = 0.0;
    for (float logit : logits) sum += std::exp(double{logit});
    const LogSumExp& got = results[static_cast<size_t>(row)].log_sum_exp;
    EXPECT_NEAR(LogOf(got), std::log(sum), 2e-6);
    other += Definition(logits, shard.cut, 1024).sum != got.sum;  // The control.
  }
  EXPECT_GT(other, 0);
}

// Shards of TP 2, 4 and 8 are subtrees of the whole; padding columns never count.
TEST(HeadScanTest, ShardsJoinToTheWhole) {
  for (int64_t vocab : {40, 4099}) {  // 40: empty leaves, empty shards.
    const Head head(ComputeType::kBFloat16, vocab, 23, 2);
    Backend backend(SupportedIsas().back(), head.type, 2);
    const std::vector<HeadRequest> requests(2, Request(7, true));
    const auto whole = head.Scan(backend, head.Shard(1, 0), requests);
    for (int tp : {2, 4, 8}) {
      for (size_t row = 0; row < 2; ++row) {
        std::vector<LogSumExp> sums;
        std::vector<Candidate> top;
        Candidate best;
        for (int rank = 0; rank < tp; ++rank) {
          const auto part = head.Scan(backend, head.Shard(tp, rank), requests)[row];
          sums.push_back(part.log_sum_exp);
          if (Better(part.best, best)) best = part.best;
          top.insert(top.end(), part.top.begin(), part.top.end());
        }
        for (size_t step = 1; step < sums.size(); step *= 2) {
          for (size_t i = 0; i + step < sums.size(); i += 2 * step) {
            sums[i] = Merge(sums[i], sums[i + step]);
          }
        }
        std::sort(top.begin(), top.end(), Better);
        top.resize(7);
        EXPECT_EQ(best.id, whole[row].best.id);
        ExpectSame(top, whole[row].top);
        ExpectSame(sums[0], whole[row].log_sum_exp);
      }
    }
  }
}

TEST(HeadScanTest, EditedIdsAreNotChosenButStayInTheDistribution) {
  const Head head(ComputeType::kBFloat16, 4099, 23, 2);
  Backend backend(SupportedIsas().back(), head.type, 3);
  const LeafShard shard = head.Shard(1, 0);
  const std::vector<Candidate> sorted = Sorted(head.Logits(0), 40);
  std::vector<int32_t> edited;
  for (size_t i = 0; i < 30; ++i) edited.push_back(sorted[i].id);
  std::sort(edited.begin(), edited.end());
  const auto free = head.Scan(backend, shard, {Request(5, true), Request(5, true)});
  const auto bound = head.Scan(backend, shard, {Request(5, true, edited), Request(5, true)});
  EXPECT_EQ(free[0].best.id, sorted[0].id);
  EXPECT_EQ(bound[0].best.id, sorted[30].id);
  EXPECT_EQ(bound[0].best.logit, sorted[30].logit);
  ExpectSame(bound[0].top, free[0].top);
  ExpectSame(bound[0].log_sum_exp, free[0].log_sum_exp);
  const Floats logits = head.Logits(0);
  ASSERT_EQ(bound[0].edited.size(), edited.size());
  for (size_t i = 0; i < edited.size(); ++i) {
    EXPECT_EQ(bound[0].edited[i], logits[static_cast<size_t>(edited[i])]);
  }
  EXPECT_EQ(bound[1].best.id, free[1].best.id);  // Another row's list is its own.

  std::vector<int32_t> all(4099);
  for (int32_t id = 0; id < 4099; ++id) all[static_cast<size_t>(id)] = id;
  EXPECT_EQ(head.Scan(backend, shard, {Request(0, false, all), Request(0, false)})[0].best.id, -1);
}

// Everything that a choice is made of, beside the definitions over the whole row.
TEST(HeadScanTest, CandidatesDrawAndScaledSumLeaveEditedIdsOut) {
  const Head head(ComputeType::kBFloat16, 4099, 23, 1);
  const Floats logits = head.Logits(0);
  std::vector<int32_t> edited;
  for (const Candidate& c : Sorted(logits, 3)) edited.push_back(c.id);
  std::sort(edited.begin(), edited.end());
  Floats others = logits;
  for (const int32_t id : edited) others[static_cast<size_t>(id)] = kMinusInfinity;
  for (const Isa isa : SupportedIsas()) {
    for (const float temperature : {0.05f, 1.0f, 9.0f}) {
      Floats scaled = others;
      for (float& x : scaled) x /= temperature;
      for (uint32_t step = 0; step < 20; ++step) {
        Backend backend(isa, head.type, 1 + static_cast<int>(step) % 3);
        HeadRequest request = Request(0, false, edited);
        request.num_candidates = 50;
        request.temperature = temperature;
        request.draw = request.scaled_sum = true;
        request.draw_key = {.seed = 0x123456789abcdefULL, .sample = 5, .step = step};
        Floats kept(4099);
        request.logits = kept.data();
        const HeadResult result = head.Scan(backend, head.Shard(1, 0), {request})[0];
        Candidate drawn;
        for (int32_t id = 0; id < 4099; ++id) {
          const float x = scaled[static_cast<size_t>(id)];
          if (x == kMinusInfinity) continue;
          const Candidate c{id, x + GumbelOf(DrawBits(request.draw_key, id))};
          if (Better(c, drawn)) drawn = c;
        }
        EXPECT_EQ(result.drawn.id, drawn.id);
        EXPECT_EQ(result.drawn.logit, drawn.logit);
        EXPECT_EQ(result.drawn_logit, logits[static_cast<size_t>(drawn.id)]);
        EXPECT_EQ(kept, logits);
        ExpectSame(result.candidates, Sorted(others, 50));
        ExpectSame(result.scaled_sum, Definition(scaled, FeatureCut(4099)));
      }
    }
  }
}

TEST(DrawsTest, AreThePublishedGenerator) {
  // Random123's known answer of philox4x32-10 for a counter and a key of zeros.
  EXPECT_EQ(DrawBlock({.seed = 0, .sample = 0, .step = 0}, 0),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(DrawsTest, LeastBitsBoundsTheNoise) {
  EXPECT_LT(GumbelOf(UINT32_MAX), kMaxGumbel);
  EXPECT_NEAR(GumbelOf(UINT32_MAX), kMaxGumbel, 1e-3);
  EXPECT_NEAR(GumbelOf(0), -std::log(33 * std::log(2.0)), 1e-6);
  std::mt19937 random(3);
  for (int i = 0; i < 100000; ++i) {
    const auto bits = static_cast<uint32_t>(i % 2 == 0 ? random() : UINT32_MAX - random() % 5000);
    EXPECT_LE(LeastBitsFor(GumbelOf(bits)), bits);
  }
  EXPECT_GT(LeastBitsFor(20.0f), UINT32_MAX - 10000);
}

TEST(HeadScanTest, TiesGoToTheLowestId) {
  Head head(ComputeType::kFloat32, 4200, 4, 1);
  std::fill(head.table.begin(), head.table.end(), 0.5f);
  for (int threads : {1, 7}) {
    Backend backend(SupportedIsas().back(), head.type, threads);
    const auto result = head.Scan(backend, head.Shard(1, 0), {Request(4, false)})[0];
    EXPECT_EQ(result.best.id, 0);
    for (int32_t i = 0; i < 4; ++i) EXPECT_EQ(result.top[static_cast<size_t>(i)].id, i);
    const std::vector<int32_t> edited = {0, 1, 2, 4};
    EXPECT_EQ(head.Scan(backend, head.Shard(1, 0), {Request(0, false, edited)})[0].best.id, 3);
  }
}

TEST(HeadScanTest, NonfiniteLogitsAreToldPerRow) {
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), kMinusInfinity}) {
    for (float soft_cap : {0.0f, 30.0f}) {
      Head head(ComputeType::kFloat32, 4099, 4, 3);
      head.table[4098 * 4] = bad;  // The last id alone, in a panel with padding.
      head.x[1 * 4] = 0.0f;        // Row 1: 0 times infinity is NaN.
      Backend backend(SupportedIsas().back(), head.type, 2);
      const std::vector<HeadRequest> requests(3, Request(2, true));
      for (const HeadResult& r : head.Scan(backend, head.Shard(1, 0), requests, soft_cap)) {
        EXPECT_TRUE(r.nonfinite);
      }
      head.table[4098 * 4] = 1.0f;
      head.x[1 * 4] = bad;
      const auto results = head.Scan(backend, head.Shard(1, 0), requests, soft_cap);
      EXPECT_FALSE(results[0].nonfinite);
      EXPECT_TRUE(results[1].nonfinite);
      EXPECT_FALSE(results[2].nonfinite);
    }
  }
}

TEST(HeadScanTest, RowsOfABatchEqualRowsAlone) {
  const Head head(ComputeType::kBFloat16, 4099, 23, 17);
  Backend backend(SupportedIsas().back(), head.type, 2);
  const LeafShard shard = head.Shard(1, 0);
  const auto batch = head.Scan(backend, shard, std::vector<HeadRequest>(17, Request(3, true)));
  for (int64_t row = 0; row < 17; ++row) {
    Head one = head;
    one.rows = 1;
    one.x.assign(head.x.begin() + row * 23, head.x.begin() + (row + 1) * 23);
    const auto alone = one.Scan(backend, shard, {Request(3, true)})[0];
    const HeadResult& r = batch[static_cast<size_t>(row)];
    ExpectSame(alone.top, r.top);
    ExpectSame(alone.log_sum_exp, r.log_sum_exp);
  }
}

TEST(LogSumExpTest, MergesWithEmptyRuns) {
  const LogSumExp some{2.0f, 3.0f}, none;
  ExpectSame(Merge(some, none), some);
  ExpectSame(Merge(none, some), some);
  ExpectSame(Merge(none, none), none);
  const LogSumExp both = Merge({1.0f, 2.0f}, {2.0f, 3.0f});
  EXPECT_EQ(both.max, 2.0f);
  EXPECT_NEAR(both.sum, 2.0 * std::exp(-1.0) + 3.0, 1e-6);
  EXPECT_NEAR(LogOf(both), 2.0 + std::log(2.0 * std::exp(-1.0) + 3.0), 1e-6);
}

}  // namespace
}  // namespace tandem::testing
