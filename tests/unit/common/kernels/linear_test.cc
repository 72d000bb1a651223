// Products: the same bits as the definition on every instruction set, for any rows, threads,
// tensor- parallel degree and run of columns.
#include "common/kernels/linear.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/parallel/leaves.h"
#include "gtest/gtest.h"
#include "tests/unit/common/kernels/linear_reference.h"

namespace tandem {
namespace {

constexpr int64_t kMostRows = 65;
using Floats = std::vector<float>;

struct Variant {
  Isa isa;
  LinearKernels kernels;
};
std::vector<Variant> AllVariants() {
  std::vector<Variant> out;
  for (Isa isa : SupportedIsas()) {
    for (const LinearKernels& kernels : LinearVariants(isa)) {
      // Those of AVX-512 serve two instruction sets.
      const bool seen = !out.empty() && out.back().kernels.bf16.product == kernels.bf16.product;
      if (!seen) out.push_back({isa, kernels});
    }
  }
  return out;
}

// Numbers over many orders of magnitude and both signs: their sums depend on the order.
Floats Uneven(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Floats out(static_cast<size_t>(count));
  for (float& value : out) {
    const auto bits = static_cast<uint32_t>(random());
    value = std::bit_cast<float>((bits & 0x807fffffu) | (122u + static_cast<uint32_t>(random() % 9))
                                                            << 23);
  }
  return out;
}

LinearWeight Pack(ComputeType type, const Floats& w, int64_t in_features,
                  const std::vector<int64_t>& leaves, int64_t first_feature,
                  std::vector<int64_t> segments) {
  LinearWeight weight = MakeLinearWeight(type, leaves, segments);
  int64_t row = 0;
  for (size_t s = 0; s < segments.size(); ++s) {
    const RowSource source = {
        .data = reinterpret_cast<const std::byte*>(w.data() + row * in_features + first_feature),
        .dtype = DType::kF32,
        .row_stride_bytes = in_features * 4};
    EXPECT_TRUE(PackRows(source, static_cast<int64_t>(s), 0, segments[s], weight));
    row += segments[s];
  }
  return weight;
}

// The bits of a float; all NaN alike.
uint32_t BitsOf(float value) {
  return std::isnan(value) ? 0x7fc00000u : std::bit_cast<uint32_t>(value);
}

// Outputs that differ from `want` [rows][outputs], where output n is column `columns[n]` of y.
int64_t CountDifferent(ConstMatrix y, const Floats& want, const std::vector<int64_t>& columns) {
  int64_t count = 0;
  const auto outputs = static_cast<int64_t>(columns.size());
  for (int64_t r = 0; r < y.rows; ++r) {
    for (int64_t n = 0; n < outputs; ++n) {
      count += BitsOf(y.row(r)[columns[static_cast<size_t>(n)]]) !=
               BitsOf(want[static_cast<size_t>(r * outputs + n)]);
    }
  }
  return count;
}

std::vector<int64_t> ColumnsOf(const LinearWeight& weight) {
  std::vector<int64_t> out;
  for (const LinearSegment& segment : weight.segments) {
    for (int64_t i = 0; i < segment.size; ++i) out.push_back(segment.column + i);
  }
  return out;
}

Floats Reference(const Floats& x, const Floats& w, int64_t k, const std::vector<int64_t>& leaves,
                 ComputeType type, OrderMistake mistake = OrderMistake::kNone) {
  Floats out;
  for (size_t r = 0; r < x.size() / static_cast<size_t>(k); ++r) {
    for (size_t n = 0; n < w.size() / static_cast<size_t>(k); ++n) {
      out.push_back(ReferenceProduct(x.data() + r * static_cast<size_t>(k),
                                     w.data() + n * static_cast<size_t>(k), leaves, type, mistake));
    }
  }
  return out;
}

struct Case {
  std::string name;
  LeafCut cut;
};
const Case kCases[] = {
    {"Down1b", FeatureCut(6912)},
    {"Fc2Vision", FeatureCut(4304, kVisionLeaves)},
    {"OutVision", AttentionCut(16, 72, kVisionLeaves)},
    {"Down270m", FeatureCut(2048)},
    {"Whole640", WholeCut(640)},
    {"WholeOdd", WholeCut(333)},
    {"EmptyLeaves", FeatureCut(60)},
    {"OddK", FeatureCut(2 * 64 + 1)},
    {"UnitTwo", AttentionCut(3, 20)},
    {"TinyUnitTwo", AttentionCut(5, 24)},
    {"OneFeature", FeatureCut(1)},
};

class LinearTest : public ::testing::TestWithParam<std::tuple<Case, ComputeType>> {
 protected:
  LinearTest() {
    SetComputeFloatMode();
    std::tie(case_, type_) = GetParam();
    k_ = case_.cut.features;
    for (int i = 0; i <= case_.cut.num_leaves; ++i) leaves_.push_back(case_.cut.Begin(i));
    x_ = Uneven(kMostRows * k_, 1);
    w_ = Uneven(kOutputs * k_, 2);
    // Once for all tests of a shape: it takes longer than the kernels.
    static auto* const references = new std::map<std::pair<std::string, ComputeType>, Floats>;
    Floats& reference = (*references)[{case_.name, type_}];
    if (reference.empty()) reference = Reference(x_, w_, k_, leaves_, type_);
    want_ = reference;
  }

  ConstMatrix X(int64_t rows) const { return {x_.data(), rows, k_}; }

  // Segments of no whole panel; more panels than any kernel takes at once, and no multiple of it.
  const std::vector<int64_t> kSegments = {37, 5, 48};
  static constexpr int64_t kOutputs = 90;

  Case case_;
  ComputeType type_ = ComputeType::kFloat32;
  int64_t k_ = 0;
  std::vector<int64_t> leaves_;
  Floats x_, w_, want_;
};

TEST_P(LinearTest, RowsAndThreadsDoNotShow) {
  const LinearWeight weight = Pack(type_, w_, k_, leaves_, 0, kSegments);
  const std::vector<int64_t> columns = ColumnsOf(weight);
  std::unique_ptr<ThreadPool> pools[] = {
      std::make_unique<ThreadPool>(1), std::make_unique<ThreadPool>(2),
      std::make_unique<ThreadPool>(3), std::make_unique<ThreadPool>(7)};
  Floats y(static_cast<size_t>(kMostRows * (weight.columns + 3)));
  for (const Variant& variant : AllVariants()) {
    LinearInput input;
    for (int64_t rows = 1; rows <= kMostRows; ++rows) {
      // The portable text is slow: fewer counts of rows. All numbers of threads for some counts.
      const bool some = rows <= 9 || rows == 16 || rows == 17 || rows == 33 || rows == 65;
      if (variant.isa == Isa::kPortable && !some) continue;
      for (int p = 0; p < 4; ++p) {
        if (p != rows % 4 && !(some && variant.isa != Isa::kPortable)) continue;
        Matrix out(y.data(), rows, weight.columns, weight.columns + 3);
        std::fill(y.begin(), y.end(), std::numeric_limits<float>::quiet_NaN());
        Linear(variant.kernels, *pools[p], input, X(rows), weight, 0, out);
        ASSERT_EQ(CountDifferent(out, want_, columns), 0)
            << variant.kernels.For(type_).name << ", rows " << rows << ", threads "
            << pools[p]->num_threads();
        ASSERT_TRUE(std::isnan(y[static_cast<size_t>(weight.columns)])) << "wrote past its columns";
      }
    }
  }
}

TEST_P(LinearTest, TensorParallelDegreeDoesNotShow) {
  ThreadPool pool(2);
  for (const Variant& variant : AllVariants()) {
    for (int64_t rows : {1, 7, 20}) {
      for (int tp = 1; tp <= 8 && case_.cut.num_leaves > 1; tp *= 2) {
        std::vector<Floats> partials;
        for (int rank = 0; rank < tp; ++rank) {
          const LeafShard shard = ShardOf(case_.cut, {.tp_size = tp, .tp_rank = rank});
          const LinearWeight weight =
              Pack(type_, w_, k_, shard.LocalBoundaries(), shard.begin(), {kOutputs});
          partials.emplace_back(static_cast<size_t>(rows * weight.columns), -1.0f);
          LinearInput input;
          Linear(variant.kernels, pool, input,
                 ConstMatrix(x_.data() + shard.begin(), rows, shard.size(), k_), weight, 0,
                 Matrix(partials.back().data(), rows, weight.columns));
        }
        const auto columns = static_cast<int64_t>(partials[0].size()) / rows;
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t n = 0; n < kOutputs; ++n) {
            Floats parts;
            for (const auto& partial : partials) {
              parts.push_back(partial[static_cast<size_t>(r * columns + n)]);
            }
            ASSERT_EQ(BitsOf(TreeSum(parts)), BitsOf(want_[static_cast<size_t>(r * kOutputs + n)]))
                << variant.kernels.For(type_).name << ", TP " << tp << ", row " << r << ", output "
                << n;
          }
        }
      }
    }
  }
}

// Were the order of a sum to change, these tests would notice: the same comparison with a planted
// mistake finds differences.
TEST_P(LinearTest, MistakesWouldShow) {
  if (k_ < 60) GTEST_SKIP() << "too few terms for orders to differ";
  const LinearWeight weight = Pack(type_, w_, k_, leaves_, 0, kSegments);
  ThreadPool pool(1);
  LinearInput input;
  Floats y(static_cast<size_t>(weight.columns));
  Matrix out(y.data(), 1, weight.columns);
  Linear(LinearKernelsFor(SupportedIsas().back()), pool, input, X(1), weight, 0, out);
  const Floats x(x_.begin(), x_.begin() + k_);
  const auto differ = [&](OrderMistake mistake) {
    return CountDifferent(out, Reference(x, w_, k_, leaves_, type_, mistake), ColumnsOf(weight));
  };
  EXPECT_EQ(differ(OrderMistake::kNone), 0);
  EXPECT_GT(differ(OrderMistake::kTwoSums), 5);
  if (type_ == ComputeType::kBFloat16) {
    EXPECT_GT(differ(OrderMistake::kEvenFirst), 5);
  }
  if (leaves_.size() > 2) {
    EXPECT_GT(differ(OrderMistake::kLeavesInSequence), 5);
  }
}

TEST_P(LinearTest, AnyRunOfColumns) {
  const LinearWeight weight = Pack(type_, w_, k_, leaves_, 0, {kOutputs});
  ThreadPool pool(3);
  const int64_t rows = 5;
  for (const Variant& variant : AllVariants()) {
    LinearInput input, alone;
    const LinearKernel& kernel = variant.kernels.For(type_);
    alone.Convert(kernel, nullptr, X(rows), weight);
    for (int64_t first = 0; first < weight.columns; first += kPanel) {
      for (int64_t count = 0; first + count <= weight.columns; count += kPanel) {
        Floats y(static_cast<size_t>(rows * (count + 1)), -1.0f), z = y;
        Matrix out(y.data(), rows, count, count + 1);
        Linear(variant.kernels, pool, input, X(rows), weight, first, out);
        LinearColumns(kernel, alone, weight, first, Matrix(z.data(), rows, count, count + 1));
        ASSERT_EQ(y, z);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < count && first + c < kOutputs; ++c) {
            ASSERT_EQ(BitsOf(out.row(r)[c]),
                      BitsOf(want_[static_cast<size_t>(r * kOutputs + first + c)]))
                << kernel.name << ", columns from " << first << ", " << count;
          }
        }
      }
    }
  }
}

TEST_P(LinearTest, CloseToTheExactProduct) {
  // A check of the reference itself: fp32 sums of K terms, inputs rounded to 8 bits in bf16.
  double error = 0.0, size = 0.0;
  for (int64_t r = 0; r < 4; ++r) {
    for (int64_t n = 0; n < kOutputs; ++n) {
      double exact = 0.0;
      for (int64_t i = 0; i < k_; ++i) {
        exact += double{x_[static_cast<size_t>(r * k_ + i)]} * w_[static_cast<size_t>(n * k_ + i)];
      }
      const double difference = want_[static_cast<size_t>(r * kOutputs + n)] - exact;
      error += difference * difference;
      size += exact * exact;
    }
  }
  EXPECT_LT(std::sqrt(error / size), type_ == ComputeType::kBFloat16 ? 6e-3 : 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(ComputeType::kFloat32,
                                                              ComputeType::kBFloat16)),
                         [](const auto& info) {
                           return absl::StrCat(
                               std::get<0>(info.param).name,
                               std::get<1>(info.param) == ComputeType::kBFloat16 ? "Bf16" : "Fp32");
                         });

TEST(LinearSpecialValuesTest, DenormalsInfinitiesAndNan) {
  SetComputeFloatMode();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  // Row 0: denormals alone (counted as zero). Row 1: an infinity. Row 2: NaN. Row 3: halfway cases.
  const int64_t k = 8;
  const Floats x = {
      1e-40f,      -1e-40f,       1e-41f,      1e-39f,       0.0f, -0.0f, 1e-45f,
      -1e-45f,  //
      1.0f,        2.0f,          kInfinity,   1.0f,         1.0f, 1.0f,  1.0f,
      1.0f,  //
      1.0f,        std::nanf(""), 1.0f,        1.0f,         1.0f, 1.0f,  1.0f,
      1.0f,  //
      1.00390625f, 1.01171875f,   1.00390637f, -1.00390625f, 3.0f, 5.0f,  0x1.fffffep-127f,
      1e38f};
  Floats w(static_cast<size_t>(16 * k));
  for (size_t i = 0; i < w.size(); ++i)
    w[i] = i % 3 == 0 ? 1e30f : 0.5f + static_cast<float>(i % 5);
  for (ComputeType type : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    const std::vector<int64_t> leaves = {0, k};
    const LinearWeight weight = Pack(type, w, k, leaves, 0, {16});
    const Floats want = Reference(x, w, k, leaves, type);
    for (const Variant& variant : AllVariants()) {
      ThreadPool pool(1);
      LinearInput input;
      Floats y(4 * 16);
      Matrix out(y.data(), 4, 16);
      Linear(variant.kernels, pool, input, ConstMatrix(x.data(), 4, k), weight, 0, out);
      EXPECT_EQ(CountDifferent(out, want, ColumnsOf(weight)), 0) << variant.kernels.For(type).name;
      EXPECT_EQ(BitsOf(out.row(0)[0]), 0u);
      EXPECT_TRUE(std::isnan(out.row(2)[3]));
    }
  }
}

TEST(LinearDeathTest, ShapesAreTheCallersContract) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const LinearWeight weight = MakeLinearWeight(ComputeType::kBFloat16, {0, 32}, {64});
  Floats x(64), y(256);
  ThreadPool pool(1);
  LinearInput input;
  const LinearKernels& kernels = LinearKernelsFor(Isa::kPortable);
  EXPECT_DEATH(Linear(kernels, pool, input, ConstMatrix(x.data(), 2, 31), weight, 0,
                      Matrix(y.data(), 2, 64)),
               "in_features");
  EXPECT_DEATH(Linear(kernels, pool, input, ConstMatrix(x.data(), 2, 32), weight, 8,
                      Matrix(y.data(), 2, 16)),
               "kPanel");
  EXPECT_DEATH(Linear(kernels, pool, input, ConstMatrix(x.data(), 2, 32), weight, 16,
                      Matrix(y.data(), 2, 64)),
               "columns");
}

}  // namespace
}  // namespace tandem
