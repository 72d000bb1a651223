// Products y = x W^T on a packed weight: the kernels of one instruction set, and the driver that
// cuts a product over threads.
//
// Numerics (the same bits on every instruction set, for any number of rows and threads): within a
// leaf of K an output's sum runs along K in sequence, from +0: bf16 word by word, the odd element
// first, fp32 feature by feature, always by FMA. Leaves join in the fixed binary tree: parts i and
// i + step for step 1, 2, 4..., the lower one on the left. An empty leaf is a part of +0.
// So threads and tiles split rows and outputs, never K.
//
// x is converted once, in tiles of rows: the rows of tile t are [TileRow(t), TileRow(t + 1)) and
// lie word by word, the tile's rows side by side: what a kernel broadcasts is one stream.
#ifndef TANDEM_COMMON_KERNELS_LINEAR_H_
#define TANDEM_COMMON_KERNELS_LINEAR_H_

#include <cstdint>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/thread_pool.h"
#include "common/kernels/isa.h"
#include "common/kernels/linear_weight.h"
#include "common/tensor/matrix.h"

namespace tandem {

// Rows in tiles of nearly equal height.
struct RowTiles {
  int64_t rows = 0;
  int64_t count = 0;

  int64_t Row(int64_t tile) const { return tile * rows / count; }
};

// What a kernel needs to know of a weight: plain, since kernel texts use no std:: templates.
struct PackedK {
  const int64_t* leaf_features = nullptr;
  const int64_t* leaf_words = nullptr;
  int num_leaves = 0;
  int64_t words = 0;
};

// One thread's share of a product: tiles [first_tile, last_tile), panels [first_panel, last_panel).
struct LinearShare {
  PackedK k;
  const uint32_t* weight = nullptr;  // Panel 0.
  const uint32_t* x = nullptr;       // Converted rows, tile 0.
  RowTiles tiles;
  int64_t first_tile = 0;
  int64_t last_tile = 0;
  int64_t first_panel = 0;
  int64_t last_panel = 0;
  float* y = nullptr;  // Row 0 of the tiles, first column of first_panel.
  int64_t y_stride = 0;
};

// The kernels for weights of one compute type.
struct LinearKernel {
  const char* name = "";
  int single_tile_rows = 0;  // So many rows at most are one tile;
  int block_tile_rows = 0;   // more are cut into tiles of at most so many.
  int x_per_word = 1;        // 32-bit values a word of x takes when converted.
  // Converts the rows of one tile.
  void (*convert)(const float* x, int64_t x_stride, int64_t rows, const PackedK& k,
                  uint32_t* out) = nullptr;
  void (*product)(const LinearShare& share) = nullptr;
};

struct LinearKernels {
  LinearKernel bf16;
  LinearKernel fp32;

  const LinearKernel& For(ComputeType type) const {
    return type == ComputeType::kBFloat16 ? bf16 : fp32;
  }
};

// All kernels for an instruction set that this machine supports; they give the same bits. There are
// two where the processor has vdpbf16ps, which is twice as fast as two FMAs on some and half as
// fast on others.
std::vector<LinearKernels> LinearVariants(Isa isa);

// The fastest of them: on first use both are run for about a millisecond.
const LinearKernels& LinearKernelsFor(Isa isa);

// Converted rows of x: made once, used by any number of products with weights that are cut like the
// first one.
class LinearInput {
 public:
  // Grows its memory when it must. `pool` may be null: the caller converts alone.
  void Convert(const LinearKernel& kernel, ThreadPool* pool, ConstMatrix x,
               const LinearWeight& weight);

  const RowTiles& tiles() const { return tiles_; }
  const uint32_t* data() const { return values_.data(); }
  int64_t words() const { return words_per_row_; }

 private:
  RowTiles tiles_;
  int64_t words_per_row_ = 0;
  AlignedBuffer<uint32_t> values_;
};

// y = columns [first_column, first_column + y.cols) of the product, on the calling thread alone.
void LinearColumns(const LinearKernel& kernel, const LinearInput& x, const LinearWeight& weight,
                   int64_t first_column, Matrix y);

// Ops::Linear: the whole product on all threads. `input` is scratch.
void Linear(const LinearKernels& kernels, ThreadPool& pool, LinearInput& input, ConstMatrix x,
            const LinearWeight& weight, int64_t first_column, Matrix y);

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_LINEAR_H_
