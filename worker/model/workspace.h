// Scratch matrices of a stack, named by what they hold. They grow to the largest batch and stay.
#ifndef TANDEM_WORKER_MODEL_WORKSPACE_H_
#define TANDEM_WORKER_MODEL_WORKSPACE_H_

#include <cstdint>

#include "common/base/aligned_buffer.h"
#include "common/tensor/matrix.h"

namespace tandem {

// Room for one matrix of varying size.
class ScratchMatrix {
 public:
  // [rows, cols], contiguous, contents undefined.
  Matrix Shape(int64_t rows, int64_t cols) {
    buffer_.Reserve(rows * cols);
    return {buffer_.data(), rows, cols};
  }

 private:
  AlignedBuffer<float> buffer_;
};

// Of one layer at work on up to a chunk of rows.
struct LayerWorkspace {
  ScratchMatrix normed;    // [rows, hidden]
  ScratchMatrix qkv;       // [rows, q | k | v]
  ScratchMatrix attended;  // [rows, heads * head_dim]
  ScratchMatrix branch;    // [rows, hidden padded to a panel]: o or down, before the residual.
  ScratchMatrix gate_up;   // [rows, gate | up]
  ScratchMatrix rope_cos;  // [rows, head_dim / 2], gathered
  ScratchMatrix rope_sin;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_WORKSPACE_H_
