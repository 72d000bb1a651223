// Weights of a product y = x W^T, packed once for the kernels.
//
// Layout: outputs in panels of 16 (one AVX-512 vector of fp32 sums), K in words of 32 bits (two
// bf16 features, the even one in the low half; or one float): data[panel][word][16 lanes]. Every
// leaf of K starts in a new word; what it lacks to a whole word is zero. Every segment (q, k, v of
// one fused weight, say) starts in a new panel; what it lacks to a whole panel is zero outputs.
#ifndef TANDEM_COMMON_KERNELS_LINEAR_WEIGHT_H_
#define TANDEM_COMMON_KERNELS_LINEAR_WEIGHT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/base/aligned_buffer.h"
#include "common/tensor/dtype.h"

namespace tandem {

// Where products round their inputs: kBFloat16 rounds x and W to bf16, kFloat32 keeps fp32. Sums
// are fp32 in both.
enum class ComputeType : uint8_t { kFloat32, kBFloat16 };

inline constexpr int64_t kPanel = 16;  // Outputs a panel.

struct LinearSegment {
  int64_t column = 0;  // First column of y that it writes: a multiple of kPanel.
  int64_t size = 0;    // Outputs.
};

struct LinearWeight {
  ComputeType type = ComputeType::kFloat32;
  int64_t in_features = 0;  // This rank's share of K.
  std::vector<int64_t>
      leaf_features;                // num_leaves + 1 boundaries in features, from 0 to in_features.
  std::vector<int64_t> leaf_words;  // The same in words.
  std::vector<LinearSegment> segments;
  int64_t columns = 0;  // Outputs with padding: a multiple of kPanel.
  PageBuffer data;      // uint32_t [columns / 16][words][16].

  int num_leaves() const { return static_cast<int>(leaf_words.size()) - 1; }
  int64_t words() const { return leaf_words.back(); }
  size_t bytes() const { return data.bytes(); }
  const uint32_t* panel(int64_t i) const {
    return static_cast<const uint32_t*>(data.data()) + i * words() * kPanel;
  }
};

// An empty weight of this shape, ready for PackRows. `leaf_features` as above (two entries where K
// is one leaf); segment_sizes: outputs of each segment.
LinearWeight MakeLinearWeight(ComputeType type, std::vector<int64_t> leaf_features,
                              absl::Span<const int64_t> segment_sizes);

// Rows of a stored matrix: row i begins at data + i * row_stride_bytes and has in_features
// elements.
struct RowSource {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;  // kF32, kBF16 or kF16.
  int64_t row_stride_bytes = 0;
};

// Converts and packs `count` outputs of a segment, from its output `first` on. Returns false when
// an element is NaN or infinite (they are packed all the same). Rounding to bf16 is to nearest
// even; F16 goes through fp32. Distinct rows may be packed by several threads at once.
bool PackRows(const RowSource& source, int64_t segment, int64_t first, int64_t count,
              LinearWeight& weight);

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_LINEAR_WEIGHT_H_
