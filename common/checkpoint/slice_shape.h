// How slices address tensors: as matrices.
#ifndef TANDEM_COMMON_CHECKPOINT_SLICE_SHAPE_H_
#define TANDEM_COMMON_CHECKPOINT_SLICE_SHAPE_H_

#include <cstdint>
#include <vector>

#include "common/base/check.h"
#include "common/checkpoint/checkpoint.h"

namespace tandem {

struct MatrixShape {
  int64_t rows = 1;
  int64_t cols = 1;
};

// A vector is one row; what is beyond two dimensions (the patch kernel's) lies in the columns.
inline MatrixShape MatrixShapeOf(const std::vector<int64_t>& shape) {
  MatrixShape matrix;
  if (shape.size() > 1) matrix.rows = shape.front();
  for (size_t i = shape.size() > 1 ? 1 : 0; i < shape.size(); ++i) matrix.cols *= shape[i];
  return matrix;
}

inline void CheckSlice(const Slice& slice, const MatrixShape& shape) {
  TANDEM_CHECK(0 <= slice.row_begin && slice.row_begin <= slice.row_end &&
               slice.row_end <= shape.rows);
  TANDEM_CHECK(0 <= slice.col_begin && slice.col_begin <= slice.col_end &&
               slice.col_end <= shape.cols);
}

}  // namespace tandem

#endif  // TANDEM_COMMON_CHECKPOINT_SLICE_SHAPE_H_
