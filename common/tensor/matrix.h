// Views of row-major matrices; they own nothing.
#ifndef TANDEM_COMMON_TENSOR_MATRIX_H_
#define TANDEM_COMMON_TENSOR_MATRIX_H_

#include <cstdint>
#include <type_traits>

#include "common/base/check.h"

namespace tandem {

// [rows, cols] elements; row i begins at data + i * stride (stride >= cols, in elements).
template <class T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatrixView() = default;
  MatrixView(T* data, int64_t rows, int64_t cols) : MatrixView(data, rows, cols, cols) {}
  MatrixView(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}
  // Matrix converts to ConstMatrix.
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T> && !std::is_same_v<U, T>>>
  MatrixView(const MatrixView<U>& other)  // NOLINT(google-explicit-constructor): a view of less.
      : data(other.data), rows(other.rows), cols(other.cols), stride(other.stride) {}

  T* row(int64_t i) const {
    TANDEM_DCHECK(i >= 0 && i < rows);
    return data + i * stride;
  }
  MatrixView Rows(int64_t begin, int64_t count) const {
    TANDEM_DCHECK(begin >= 0 && begin + count <= rows);
    return {data + begin * stride, count, cols, stride};
  }
  MatrixView Cols(int64_t begin, int64_t count) const {
    TANDEM_DCHECK(begin >= 0 && begin + count <= cols);
    return {data + begin, rows, count, stride};
  }
};

using Matrix = MatrixView<float>;
using ConstMatrix = MatrixView<const float>;

}  // namespace tandem

#endif  // TANDEM_COMMON_TENSOR_MATRIX_H_
