#include "common/kernels/linear.h"

#include <algorithm>
#include <chrono>

#include "common/base/check.h"

namespace tandem {

// The texts' kernels.
namespace portable {
LinearKernels WideningKernels();
}
namespace avx2 {
LinearKernels WideningKernels();
}
namespace avx512 {
LinearKernels WideningKernels();
}
namespace avx512_bf16 {
LinearKernel PairsKernel();
}

namespace {

PackedK KOf(const LinearWeight& weight) {
  return {.leaf_features = weight.leaf_features.data(),
          .leaf_words = weight.leaf_words.data(),
          .num_leaves = weight.num_leaves(),
          .words = weight.words()};
}

LinearShare ShareOf(const LinearInput& x, const LinearWeight& weight, int64_t first_column,
                    Matrix y) {
  TANDEM_CHECK(first_column % kPanel == 0 && y.cols % kPanel == 0 && first_column >= 0);
  TANDEM_CHECK(first_column + y.cols <= weight.columns && y.rows == x.tiles().rows);
  TANDEM_CHECK(x.words() == weight.words());
  return {.k = KOf(weight),
          .weight = weight.panel(0),
          .x = x.data(),
          .tiles = x.tiles(),
          .first_tile = 0,
          .last_tile = x.tiles().count,
          .first_panel = first_column / kPanel,
          .last_panel = (first_column + y.cols) / kPanel,
          .y = y.data,
          .y_stride = y.stride};
}

// Threads as a grid over row tiles and panels.
struct Grid {
  int rows = 1;
  int columns = 1;
};

// The grid whose largest share is smallest; with equal ones the one that reads each weight on as
// few threads as possible.
Grid ChooseGrid(int threads, int64_t tiles, int64_t panels) {
  Grid best = {.rows = 1, .columns = threads};
  int64_t best_share = INT64_MAX;
  for (int rows = 1; rows <= threads; ++rows) {
    const int columns = threads / rows;
    const int64_t share = ((tiles + rows - 1) / rows) * ((panels + columns - 1) / columns);
    if (share < best_share) {
      best_share = share;
      best = {.rows = rows, .columns = columns};
    }
  }
  return best;
}

// Seconds of a tile-sized product that stays in cache.
double ProbeSeconds(const LinearKernel& kernel) {
  constexpr int64_t kK = 512, kColumns = 64;
  const LinearWeight weight = MakeLinearWeight(ComputeType::kBFloat16, {0, kK}, {kColumns});
  const int64_t rows = kernel.block_tile_rows;
  AlignedBuffer<float> x(rows * kK), y(rows * kColumns);
  LinearInput input;
  input.Convert(kernel, nullptr, ConstMatrix(x.data(), rows, kK), weight);
  double best = 1e9;
  for (int repeat = 0; repeat < 40; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    LinearColumns(kernel, input, weight, 0, Matrix(y.data(), rows, kColumns));
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count());
  }
  return best;
}

LinearKernels Fastest(Isa isa) {
  const std::vector<LinearKernels> variants = LinearVariants(isa);
  if (variants.size() == 1) return variants.front();
  return *std::min_element(variants.begin(), variants.end(),
                           [](const LinearKernels& a, const LinearKernels& b) {
                             return ProbeSeconds(a.bf16) < ProbeSeconds(b.bf16);
                           });
}

}  // namespace

std::vector<LinearKernels> LinearVariants(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return {portable::WideningKernels()};
    case Isa::kAvx2:
      return {avx2::WideningKernels()};
    case Isa::kAvx512:
      return {avx512::WideningKernels()};
    case Isa::kAvx512Bf16:
      break;
  }
  const LinearKernels widening = avx512::WideningKernels();
  return {widening, {.bf16 = avx512_bf16::PairsKernel(), .fp32 = widening.fp32}};
}

const LinearKernels& LinearKernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kPortable: {
      static const LinearKernels kernels = Fastest(Isa::kPortable);
      return kernels;
    }
    case Isa::kAvx2: {
      static const LinearKernels kernels = Fastest(Isa::kAvx2);
      return kernels;
    }
    case Isa::kAvx512: {
      static const LinearKernels kernels = Fastest(Isa::kAvx512);
      return kernels;
    }
    case Isa::kAvx512Bf16:
      break;
  }
  static const LinearKernels kernels = Fastest(Isa::kAvx512Bf16);
  return kernels;
}

void LinearInput::Convert(const LinearKernel& kernel, ThreadPool* pool, ConstMatrix x,
                          const LinearWeight& weight) {
  TANDEM_CHECK(x.cols == weight.in_features);
  const int64_t most =
      x.rows <= kernel.single_tile_rows ? kernel.single_tile_rows : kernel.block_tile_rows;
  tiles_ = {.rows = x.rows, .count = (x.rows + most - 1) / most};
  words_per_row_ = weight.words();
  const int64_t row_values = words_per_row_ * kernel.x_per_word;
  values_.Reserve(x.rows * row_values);
  const PackedK k = KOf(weight);
  const auto convert = [&](int64_t begin, int64_t end, int /*thread*/) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t row = tiles_.Row(tile);
      kernel.convert(x.row(row), x.stride, tiles_.Row(tile + 1) - row, k,
                     values_.data() + row * row_values);
    }
  };
  // Waking the team costs about as much as converting a few thousand values.
  constexpr int64_t kAlone = 16384;
  if (pool == nullptr || x.rows * x.cols <= kAlone) {
    convert(0, tiles_.count, 0);
  } else {
    pool->ParallelFor(tiles_.count, 1, convert);
  }
}

void LinearColumns(const LinearKernel& kernel, const LinearInput& x, const LinearWeight& weight,
                   int64_t first_column, Matrix y) {
  if (y.rows == 0 || y.cols == 0) return;
  kernel.product(ShareOf(x, weight, first_column, y));
}

void Linear(const LinearKernels& kernels, ThreadPool& pool, LinearInput& input, ConstMatrix x,
            const LinearWeight& weight, int64_t first_column, Matrix y) {
  TANDEM_CHECK(x.rows == y.rows);
  if (y.rows == 0 || y.cols == 0) return;
  const LinearKernel& kernel = kernels.For(weight.type);
  input.Convert(kernel, &pool, x, weight);
  const LinearShare whole = ShareOf(input, weight, first_column, y);
  const int64_t tiles = whole.last_tile, panels = y.cols / kPanel;
  const Grid grid = ChooseGrid(pool.num_threads(), tiles, panels);
  pool.Run([&](int thread) {
    const int row = thread % grid.rows, column = thread / grid.rows;
    if (column >= grid.columns) return;
    LinearShare share = whole;
    share.first_tile = tiles * row / grid.rows;
    share.last_tile = tiles * (row + 1) / grid.rows;
    const int64_t first = panels * column / grid.columns;
    share.first_panel = whole.first_panel + first;
    share.last_panel = whole.first_panel + panels * (column + 1) / grid.columns;
    share.y = y.data + first * kPanel;
    if (share.first_panel < share.last_panel) kernel.product(share);
  });
}

}  // namespace tandem
