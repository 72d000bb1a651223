// Row-wise operations, embedding and the K/V store, against f64 or scalar definitions.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "common/kernels/math.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/kernels/ops_test_util.h"

namespace tandem::testing {
namespace {

constexpr float kEps = 1e-6f;

// Runs `op` on [rows, cols] values with every instruction set, with 1, 2, 3 and 7 threads, and row
// by row: all must give the same bits. Returns them.
using RowOp = std::function<void(Ops& ops, int64_t first_row, Matrix x)>;
Floats SameAllWays(ComputeType type, const Floats& x, int64_t rows, const RowOp& op) {
  Floats want;
  for (Isa isa : SupportedIsas()) {
    for (int threads : {1, 2, 3, 7}) {
      Backend backend(isa, type, threads);
      Floats got = x;
      op(*backend.ops, 0, View(got, rows));
      if (want.empty()) want = got;
      EXPECT_TRUE(SameBits(got, want)) << tandem::NameOf(isa) << ", " << threads << " threads";
    }
    Backend backend(isa, type);
    Floats got = x;
    for (int64_t row = 0; row < rows; ++row) op(*backend.ops, row, View(got, rows).Rows(row, 1));
    EXPECT_TRUE(SameBits(got, want)) << tandem::NameOf(isa) << ", row by row";
  }
  return want;
}

// The definition of the sum of squares: blocks of 256, lanes in sequence, tree, blocks in sequence.
float SumOfSquares(const float* x, int64_t dim, int64_t block = 256) {
  float sum = 0.0f;
  for (int64_t begin = 0; begin < dim; begin += block) {
    float lane[16] = {};
    for (int64_t i = begin; i < std::min(dim, begin + block); ++i) {
      float& l = lane[(i - begin) % 16];
      l = std::fma(x[i], x[i], l);
    }
    sum += LaneTree(lane);
  }
  return sum;
}

TEST(RmsNormTest, IsTheDefinitionToTheBitAndCloseToDouble) {
  std::mt19937 random(1);
  int other_blocks = 0;
  for (int64_t dim : {1, 7, 16, 20, 24, 255, 256, 257, 640, 1152, 2560}) {
    const int64_t rows = 41;
    const Floats x = Gauss(random, rows * dim, 3.0f), weight = Gauss(random, dim, 0.5f);
    const Floats got =
        SameAllWays(ComputeType::kFloat32, x, rows,
                    [&](Ops& ops, int64_t, Matrix m) { ops.RmsNorm(m, weight, kEps, m); });
    for (int64_t row = 0; row < rows; ++row) {
      const float* in = x.data() + row * dim;
      const float mean = SumOfSquares(in, dim) / static_cast<float>(dim);
      const float scale = 1.0f / std::sqrt(mean + kEps);
      const double exact_mean = std::inner_product(in, in + dim, in, 0.0, std::plus<>(),
                                                   [](float a, float b) { return double{a} * b; }) /
                                static_cast<double>(dim);
      for (int64_t i = 0; i < dim; ++i) {
        const auto at = static_cast<size_t>(row * dim + i), w = static_cast<size_t>(i);
        ASSERT_EQ(got[at], in[i] * scale * (1.0f + weight[w])) << dim;
        // A sum of n squares in fp32 errs by about sqrt(n) ulp, and a few roundings follow.
        const double want = in[i] / std::sqrt(exact_mean + kEps) * (1.0 + weight[w]);
        ASSERT_NEAR(got[at], want, 2e-6 * std::fabs(want) + 1e-12) << dim;
      }
      other_blocks += SumOfSquares(in, dim, 512) != SumOfSquares(in, dim);
    }
  }
  EXPECT_GT(other_blocks, 50);  // The control: another block length shows.
}

TEST(RmsNormTest, WritesElsewhereToo) {
  std::mt19937 random(1);
  const Floats x = Gauss(random, 3 * 40), weight = Gauss(random, 40);
  Backend backend(SupportedIsas().back(), ComputeType::kFloat32);
  Floats in_place = x, elsewhere(x.size());
  backend.ops->RmsNorm(View(in_place, 3), weight, kEps, View(in_place, 3));
  backend.ops->RmsNorm(View(x, 3), weight, kEps, View(elsewhere, 3));
  EXPECT_TRUE(SameBits(elsewhere, in_place));
}

TEST(ElementwiseTest, AddBiasSoftCapRound) {
  std::mt19937 random(2);
  for (int64_t cols : {1, 15, 16, 17, 33, 640, 3000}) {
    const int64_t rows = 29;
    const Floats x = Gauss(random, rows * cols, 20.0f), y = Gauss(random, rows * cols);
    const Floats bias = Gauss(random, cols);
    const auto check = [&](ComputeType type, const RowOp& op, auto exact) {
      const Floats got = SameAllWays(type, x, rows, op);
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(got[i], exact(i)) << cols;
    };
    check(
        ComputeType::kFloat32,
        [&](Ops& ops, int64_t row, Matrix m) {
          ops.AddInPlace(View(y, rows).Rows(row, m.rows), m);
        },
        [&](size_t i) { return x[i] + y[i]; });
    check(
        ComputeType::kFloat32, [&](Ops& ops, int64_t, Matrix m) { ops.AddBias(bias, m); },
        [&](size_t i) { return x[i] + bias[i % static_cast<size_t>(cols)]; });
    check(
        ComputeType::kFloat32, [&](Ops& ops, int64_t, Matrix m) { ops.SoftCap(30.0f, m); },
        [&](size_t i) { return 30.0f * Tanh(x[i] / 30.0f); });
    for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
      check(
          type, [&](Ops& ops, int64_t, Matrix m) { ops.RoundToCompute(m); },
          [&](size_t i) { return Round(type, x[i]); });
    }
  }
}

TEST(GatedActivationTest, IsCloseToDouble) {
  constexpr int64_t kRows = 31;
  std::mt19937 random(3);
  for (int64_t cols : {5, 48, 1000}) {
    const Floats gate = Gauss(random, kRows * cols, 2.0f), up = Gauss(random, kRows * cols);
    struct {
      Activation activation;
      double (*exact)(double);
    } const kActivations[] = {
        {Activation::kGeluTanh,
         [](double x) {
           return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
         }},
        {Activation::kGeluErf,
         [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }},
        {Activation::kSilu, [](double x) { return x / (1 + std::exp(-x)); }},
        {Activation::kRelu, [](double x) { return std::max(x, 0.0); }}};
    for (const auto& a : kActivations) {
      const Floats got =
          SameAllWays(ComputeType::kFloat32, gate, kRows, [&](Ops& ops, int64_t row, Matrix m) {
            ops.GatedActivation(m, View(up, kRows).Rows(row, m.rows), a.activation, m);
          });
      for (size_t i = 0; i < gate.size(); ++i) {
        const double want = a.exact(gate[i]) * up[i];
        ASSERT_NEAR(got[i], want, 1e-6 * std::fabs(want) + 1e-9) << gate[i];
      }
      // Into `up`.
      Backend backend(SupportedIsas().back(), ComputeType::kFloat32);
      Floats out = up;
      backend.ops->GatedActivation(View(gate, kRows), View(out, kRows), a.activation,
                                   View(out, kRows));
      EXPECT_TRUE(SameBits(out, got));
    }
  }
}

TEST(RopeTest, NormsThenRotates) {
  std::mt19937 random(4);
  for (int64_t head_dim : {2, 8, 20, 24, 64, 72, 256}) {
    const int64_t rows = 37, heads = 3, half = head_dim / 2;
    std::vector<int32_t> positions(rows);
    for (int32_t& p : positions) p = static_cast<int32_t>(random() % 131072);
    const Floats frequencies = RopeFrequencies(1e4, 1.0, head_dim);
    Floats cos(static_cast<size_t>(rows * half)), sin = cos;
    Backend tables(SupportedIsas().back(), ComputeType::kFloat32, 3);
    tables.ops->RopeTables(positions, frequencies, View(cos, rows), View(sin, rows));
    for (int64_t i = 0; i < rows * half; ++i) {
      const auto at = static_cast<size_t>(i);
      const float angle = static_cast<float>(positions[static_cast<size_t>(i / half)]) *
                          frequencies[static_cast<size_t>(i % half)];
      ASSERT_EQ(cos[at], static_cast<float>(std::cos(double{angle})));
      ASSERT_EQ(sin[at], static_cast<float>(std::sin(double{angle})));
    }

    const Floats x = Gauss(random, rows * heads * head_dim), weight = Gauss(random, head_dim, 0.3f);
    for (bool norm : {true, false}) {
      for (bool rotate : {true, false}) {
        const Floats got =
            SameAllWays(ComputeType::kBFloat16, x, rows, [&](Ops& ops, int64_t row, Matrix m) {
              const RopeRows rope{View(cos, rows).Rows(row, m.rows),
                                  View(sin, rows).Rows(row, m.rows)};
              ops.HeadNormRope(head_dim, norm ? absl::MakeConstSpan(weight) : absl::Span<float>(),
                               kEps, rotate ? &rope : nullptr, m);
            });
        for (int64_t h = 0; h < rows * heads; ++h) {
          std::vector<double> y(x.begin() + h * head_dim, x.begin() + (h + 1) * head_dim);
          if (norm) {
            const double mean = std::inner_product(y.begin(), y.end(), y.begin(), 0.0) /
                                static_cast<double>(head_dim);
            for (size_t i = 0; i < y.size(); ++i)
              y[i] *= (1.0 + weight[i]) / std::sqrt(mean + kEps);
          }
          for (int64_t c = 0; rotate && c < half; ++c) {
            const auto at = static_cast<size_t>(h / heads * half + c);
            double &a = y[static_cast<size_t>(c)], &b = y[static_cast<size_t>(c + half)];
            const double before = a;
            a = before * cos[at] - b * sin[at];
            b = b * cos[at] + before * sin[at];
          }
          for (size_t i = 0; i < y.size(); ++i) {
            ASSERT_NEAR(got[static_cast<size_t>(h * head_dim) + i], y[i], 2e-6) << head_dim;
          }
        }
      }
    }
  }
}

LinearWeight Packed(ComputeType type, const Floats& rows, int64_t count) {
  const int64_t features = static_cast<int64_t>(rows.size()) / count;
  LinearWeight weight = MakeLinearWeight(type, {0, features}, {{count}});
  EXPECT_TRUE(PackRows({.data = reinterpret_cast<const std::byte*>(rows.data()),
                        .dtype = DType::kF32,
                        .row_stride_bytes = features * 4},
                       0, 0, count, weight));
  return weight;
}

TEST(EmbedRowsTest, CopiesTheShardsRowsScaled) {
  std::mt19937 random(5);
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    for (int64_t features : {1, 15, 640}) {
      const int64_t vocab = 37, first_id = 100;
      const Floats rows = Gauss(random, vocab * features);
      const LinearWeight table = Packed(type, rows, vocab);
      const std::vector<int32_t> ids = {100, 136, 99, 137, 0, 116, 115, 117, -1, 100};
      for (int threads : {1, 3}) {
        Backend backend(SupportedIsas().back(), type, threads);
        Floats out(ids.size() * static_cast<size_t>(features), 9.0f);
        const auto num_ids = static_cast<int64_t>(ids.size());
        backend.ops->EmbedRows(table, first_id, ids, 25.25f, View(out, num_ids));
        for (int64_t i = 0; i < num_ids; ++i) {
          const int64_t row = ids[static_cast<size_t>(i)] - first_id;
          for (int64_t f = 0; f < features; ++f) {
            const bool held = row >= 0 && row < vocab;
            const float value = held ? rows[static_cast<size_t>(row * features + f)] : 0.0f;
            ASSERT_EQ(View(out, num_ids).row(i)[f], Round(type, value) * 25.25f);
          }
        }
      }
    }
  }
}

TEST(StoreKvTest, WritesTheLayoutAndNothingElse) {
  std::mt19937 random(6);
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    for (int64_t head_dim : {2, 8, 20, 24, 72, 256}) {
      constexpr int64_t kHeads = 2, kTokens = 150;
      const Floats k = Gauss(random, kTokens * kHeads * head_dim);
      const Floats v = Gauss(random, kTokens * kHeads * head_dim);
      for (int threads : {1, 7}) {
        Backend backend(SupportedIsas().back(), type, threads);
        TestCache cache(type, kHeads, head_dim, 13);
        const std::vector<int32_t> pages = cache.Take(kTokens + 50);
        const std::vector<KvSlot> slots = TestCache::Slots(pages, 50, kTokens);
        const KvView view = cache.view();
        backend.ops->StoreKv(View(k, kTokens), View(v, kTokens), slots, view);
        // Read back by the definition of kv_layout.h; what remains must be zero.
        const KvLayout& layout = view.layout;
        const int64_t per_word = layout.elements_per_word();
        const auto take = [&](uint32_t* word, int64_t index) {  // Element `index` of the word.
          if (per_word == 1) {
            const float value = std::bit_cast<float>(*word);
            *word = 0;
            return value;
          }
          const float value = Bf16ToFloat(static_cast<uint16_t>(*word >> 16 * index));
          *word &= index == 0 ? 0xffff0000u : 0x0000ffffu;
          return value;
        };
        for (int64_t t = 0; t < kTokens; ++t) {
          const KvSlot slot = slots[static_cast<size_t>(t)];
          for (int64_t head = 0; head < kHeads; ++head) {
            for (int64_t d = 0; d < head_dim; ++d) {
              const auto at = static_cast<size_t>((t * kHeads + head) * head_dim + d);
              uint32_t* key = view.key_part(slot.page, head) +
                              (slot.slot / 16 * layout.key_words() + d / per_word) * 16 +
                              slot.slot % 16;
              ASSERT_EQ(take(key, d % per_word), Round(type, k[at]));
              uint32_t* value = view.value_part(slot.page, head) +
                                (d / 16 * layout.value_words() + slot.slot / per_word) * 16 +
                                d % 16;
              ASSERT_EQ(take(value, slot.slot % per_word), Round(type, v[at]));
            }
          }
        }
        for (int64_t page = 0; page < 13; ++page) {
          const auto* words = view.key_part(page, 0);
          for (int64_t i = 0; i < layout.page_bytes() / 4; ++i) ASSERT_EQ(words[i] << 1, 0u);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tandem::testing
