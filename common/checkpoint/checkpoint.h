// A model's weights by canonical name, whatever its files call them: one safetensors file or shards
// with an index, every name spelling. Nothing is read on opening but headers.
#ifndef TANDEM_COMMON_CHECKPOINT_CHECKPOINT_H_
#define TANDEM_COMMON_CHECKPOINT_CHECKPOINT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/model_config.h"
#include "common/tensor/dtype.h"

namespace tandem {

// How Read gets at a file's bytes. Safetensors are packed for the kernels on loading, so that
// weights end in anonymous memory in every mode. kMap (and kAuto): mapped, in blocks of 4 MiB.
// kCopy: the same, since packing is the copy. kRead: whole row ranges of 16 MiB by pread into one
// buffer, for network file systems.
enum class LoadMode : uint8_t { kAuto, kMap, kCopy, kRead };

struct TensorInfo {
  std::string name;  // Canonical: "decoder.layers.3.mlp.down_proj.weight".
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

// Part of a tensor of one or two dimensions: rows [row_begin, row_end) x columns [col_begin,
// col_end). A vector has one row; dimensions beyond the second are columns too (the patch
// kernel's).
struct Slice {
  int64_t row_begin = 0, row_end = 0;
  int64_t col_begin = 0, col_end = 0;
};

// Rows that were read: row i of the block is `row_begin + i`, its elements begin at
// data + i * row_stride_bytes, aligned to the element's size. Valid during the callback alone.
struct TensorBlock {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int64_t row_begin = 0;
  int64_t num_rows = 0;
  int64_t num_cols = 0;
  int64_t row_stride_bytes = 0;
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  // Opens DIR: all headers, checked (bounds, overlaps, shapes against `config`, missing and
  // duplicate tensors). Tensors the text stacks do not need may be absent (vision_tower.*,
  // multi_modal_projector.*) or extra. Errors: NOT_FOUND, DATA_LOSS, INVALID_ARGUMENT with the file
  // and the tensor.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& directory,
                                                          const ModelConfig& config, LoadMode mode);
  // Seeded random weights for a config alone: normal(0, initializer_range), norms and biases near
  // 0, by tensor name and element index, so that any slice on any rank is the same numbers. In
  // config.stored_dtype (F32 where that is F16).
  static std::unique_ptr<Checkpoint> Random(const ModelConfig& config, uint64_t seed);

  virtual bool Has(absl::string_view name) const = 0;
  // NOT_FOUND with the name.
  virtual absl::StatusOr<TensorInfo> Info(absl::string_view name) const = 0;
  virtual std::vector<TensorInfo> Tensors() const = 0;  // Sorted by name.

  // Calls `use` with consecutive blocks of rows (a few MiB each) that together are the slice;
  // mapped pages are given back after each, so that reading a shard leaves no resident file pages.
  // Stops at the first error. Adds the slice's bytes to bytes_read(). May be called from one thread
  // at a time.
  virtual absl::Status Read(absl::string_view name, const Slice& slice,
                            absl::FunctionRef<absl::Status(const TensorBlock&)> use) = 0;

  // Bytes of all slices read so far.
  virtual int64_t bytes_read() const = 0;

  // XXH3-64 of config.json, the index and all safetensors headers: equal on hosts that hold the
  // same checkpoint (contents of tensors are not hashed).
  virtual uint64_t identity_hash() const = 0;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_CHECKPOINT_CHECKPOINT_H_
