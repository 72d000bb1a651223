// Checkpoint::Random: seeded weights, computed on reading.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/aligned_buffer.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint.h"
#include "common/checkpoint/slice_shape.h"
#include "common/checkpoint/tensor_names.h"

#define XXH_INLINE_ALL
#include "xxhash.h"

namespace tandem {
namespace {

// Small enough to stay in a core's cache until it is packed.
constexpr int64_t kBlockBytes = int64_t{1} << 20;

// 64 random bits of a tensor's element: SplitMix64's output function on a counter.
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
uint64_t RandomBits(uint64_t tensor_key, uint64_t element) {
  uint64_t z = tensor_key + (element + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The sum of four uniform 16-bit numbers less its mean: nearly normal, never beyond 3.5 standard
// deviations, and exact in fp32, so that every machine gets the same bits.
float RandomSum(uint64_t bits) {
  constexpr uint64_t kEvenHalves = 0x0000ffff0000ffffu;
  const uint64_t pairs = (bits & kEvenHalves) + ((bits >> 16) & kEvenHalves);
  const auto sum = static_cast<int32_t>((pairs & 0xffffffffu) + (pairs >> 32));
  return static_cast<float>(sum - 2 * 65535);
}
// sqrt(4 * (65536^2 - 1) / 12)
constexpr double kSumDeviation = 37837.22722;

struct RandomTensor {
  TensorInfo info;
  uint64_t key = 0;
  float offset = 0.0f;  // The mean.
};

class RandomCheckpoint : public Checkpoint {
 public:
  RandomCheckpoint(const ModelConfig& config, uint64_t seed)
      : scale_(static_cast<float>(config.initializer_range / kSumDeviation)) {
    const DType dtype = config.stored_dtype == DType::kF16 ? DType::kF32 : config.stored_dtype;
    for (ExpectedTensor& tensor : ExpectedTensors(config)) {
      const uint64_t key = XXH3_64bits_withSeed(tensor.name.data(), tensor.name.size(), seed);
      // LayerNorm multiplies by its weight, RMSNorm by 1 + its weight.
      const bool layer_norm = absl::StartsWith(tensor.name, "encoder.vision_tower.") &&
                              absl::StrContains(tensor.name, "norm") &&
                              absl::EndsWith(tensor.name, ".weight");
      RandomTensor random{
          {tensor.name, dtype, std::move(tensor.shape)}, key, layer_norm ? 1.0f : 0.0f};
      tensors_.emplace(std::move(tensor.name), std::move(random));
    }
    identity_hash_ = HashIdentity();
  }

  bool Has(absl::string_view name) const override { return tensors_.contains(name); }

  absl::StatusOr<TensorInfo> Info(absl::string_view name) const override {
    TANDEM_ASSIGN_OR_RETURN(const RandomTensor* tensor, Find(name));
    return tensor->info;
  }

  std::vector<TensorInfo> Tensors() const override { return SortedInfos(); }

  absl::Status Read(absl::string_view name, const Slice& slice,
                    absl::FunctionRef<absl::Status(const TensorBlock&)> use) override {
    TANDEM_ASSIGN_OR_RETURN(const RandomTensor* tensor, Find(name));
    const MatrixShape shape = MatrixShapeOf(tensor->info.shape);
    CheckSlice(slice, shape);
    const int64_t num_cols = slice.col_end - slice.col_begin;
    if (num_cols == 0) return absl::OkStatus();
    const int64_t row_bytes = num_cols * SizeOf(tensor->info.dtype);
    const int64_t block_rows = std::max<int64_t>(1, kBlockBytes / row_bytes);
    block_.Reserve(std::min(block_rows, slice.row_end - slice.row_begin) * row_bytes);
    for (int64_t row = slice.row_begin; row < slice.row_end; row += block_rows) {
      const int64_t num_rows = std::min(block_rows, slice.row_end - row);
      for (int64_t i = 0; i < num_rows; ++i) {
        FillRow(*tensor, (row + i) * shape.cols + slice.col_begin, num_cols,
                block_.data() + i * row_bytes);
      }
      TANDEM_RETURN_IF_ERROR(use({.data = block_.data(),
                                  .dtype = tensor->info.dtype,
                                  .row_begin = row,
                                  .num_rows = num_rows,
                                  .num_cols = num_cols,
                                  .row_stride_bytes = row_bytes}));
      bytes_read_ += num_rows * row_bytes;
    }
    return absl::OkStatus();
  }

  int64_t bytes_read() const override { return bytes_read_; }
  uint64_t identity_hash() const override { return identity_hash_; }

 private:
  std::vector<TensorInfo> SortedInfos() const {
    std::vector<TensorInfo> all;
    for (const auto& [name, tensor] : tensors_) all.push_back(tensor.info);
    std::sort(all.begin(), all.end(),
              [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
    return all;
  }

  absl::StatusOr<const RandomTensor*> Find(absl::string_view name) const {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      return absl::NotFoundError(absl::StrCat("random weights: no tensor ", name));
    }
    return &it->second;
  }

  // Elements [first, first + count) of the tensor in row-major order.
  void FillRow(const RandomTensor& tensor, int64_t first, int64_t count, std::byte* out) const {
    const auto element = static_cast<uint64_t>(first);
    if (tensor.info.dtype == DType::kF32) {
      auto* values = reinterpret_cast<float*>(out);
      for (int64_t i = 0; i < count; ++i) {
        values[i] = tensor.offset +
                    scale_ * RandomSum(RandomBits(tensor.key, element + static_cast<uint64_t>(i)));
      }
      return;
    }
    auto* values = reinterpret_cast<uint16_t*>(out);
    for (int64_t i = 0; i < count; ++i) {
      values[i] = FloatToBf16(
          tensor.offset +
          scale_ * RandomSum(RandomBits(tensor.key, element + static_cast<uint64_t>(i))));
    }
  }

  // Of what decides the weights: names, shapes, types, keys (with the seed in them) and scale.
  uint64_t HashIdentity() const {
    std::string text = absl::StrCat("random ", scale_);
    for (const TensorInfo& info : SortedInfos()) {
      absl::StrAppend(&text, "\n", info.name, " ", NameOf(info.dtype), " ",
                      tensors_.find(info.name)->second.key);
      for (const int64_t size : info.shape) absl::StrAppend(&text, " ", size);
    }
    return XXH3_64bits(text.data(), text.size());
  }

  const float scale_;
  absl::flat_hash_map<std::string, RandomTensor> tensors_;  // By canonical name.
  AlignedBuffer<std::byte> block_;
  int64_t bytes_read_ = 0;
  uint64_t identity_hash_ = 0;
};

}  // namespace

std::unique_ptr<Checkpoint> Checkpoint::Random(const ModelConfig& config, uint64_t seed) {
  return std::make_unique<RandomCheckpoint>(config, seed);
}

}  // namespace tandem
