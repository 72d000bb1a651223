#include "common/kernels/linear_weight.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/check.h"

namespace tandem {
namespace {

int64_t ElementsPerWord(ComputeType type) { return type == ComputeType::kBFloat16 ? 2 : 1; }

template <class Bits>
Bits Read(const std::byte* data, int64_t i) {
  Bits out;  // A file's tensors may lie at any byte.
  std::memcpy(&out, data + i * static_cast<int64_t>(sizeof(Bits)), sizeof out);
  return out;
}

// `count` elements from `begin` on, as floats.
void ReadFloats(const std::byte* row, DType dtype, int64_t begin, int64_t count, float* out) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, row + begin * 4, static_cast<size_t>(count) * 4);
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < count; ++i) out[i] = Bf16ToFloat(Read<uint16_t>(row, begin + i));
      return;
    case DType::kF16:
      for (int64_t i = 0; i < count; ++i) out[i] = HalfToFloat(Read<uint16_t>(row, begin + i));
      return;
    default:
      TANDEM_CHECK(false && "rows of weights are F32, BF16 or F16");
  }
}

// Features [begin, begin + count) of a row as words; what is missing to a whole word is zero.
// Returns false when one is NaN or infinite, as stored or after rounding.
bool ConvertWords(const std::byte* row, DType dtype, ComputeType type, int64_t begin, int64_t count,
                  uint32_t* words) {
  constexpr int64_t kMost = 512;
  TANDEM_DCHECK(count <= kMost);
  uint16_t halves[kMost + 1];
  uint32_t nonfinite = 0;
  if (type == ComputeType::kBFloat16) {
    if (dtype == DType::kBF16) {
      // As they are: denormal weights count as zero in every product.
      std::memcpy(halves, row + begin * 2, static_cast<size_t>(count) * 2);
    } else {
      float floats[kMost];
      ReadFloats(row, dtype, begin, count, floats);
      for (int64_t i = 0; i < count; ++i) halves[i] = FloatToBf16(floats[i]);
    }
    halves[count] = 0;
    for (int64_t i = 0; i < count; ++i) nonfinite |= (halves[i] & 0x7f80u) == 0x7f80u;
    std::memcpy(words, halves, static_cast<size_t>((count + 1) / 2) * 4);
    return nonfinite == 0;
  }
  float floats[kMost];
  ReadFloats(row, dtype, begin, count, floats);
  std::memcpy(words, floats, static_cast<size_t>(count) * 4);
  for (int64_t i = 0; i < count; ++i) nonfinite |= (words[i] & 0x7f800000u) == 0x7f800000u;
  return nonfinite == 0;
}

}  // namespace

LinearWeight MakeLinearWeight(ComputeType type, std::vector<int64_t> leaf_features,
                              absl::Span<const int64_t> segment_sizes) {
  constexpr size_t kMostLeaves = 32;  // What the kernels' tree has room for.
  TANDEM_CHECK(leaf_features.size() >= 2 && leaf_features.front() == 0);
  TANDEM_CHECK(leaf_features.size() <= kMostLeaves + 1);
  LinearWeight weight;
  weight.type = type;
  weight.in_features = leaf_features.back();
  weight.leaf_words.push_back(0);
  const int64_t per_word = ElementsPerWord(type);
  for (size_t i = 1; i < leaf_features.size(); ++i) {
    const int64_t features = leaf_features[i] - leaf_features[i - 1];
    TANDEM_CHECK(features >= 0);
    weight.leaf_words.push_back(weight.leaf_words.back() + (features + per_word - 1) / per_word);
  }
  weight.leaf_features = std::move(leaf_features);
  for (int64_t size : segment_sizes) {
    TANDEM_CHECK(size >= 0);
    weight.segments.push_back({.column = weight.columns, .size = size});
    weight.columns += (size + kPanel - 1) / kPanel * kPanel;
  }
  size_t bytes = 0;
  TANDEM_CHECK(!__builtin_mul_overflow(weight.columns, weight.words(), &bytes) &&
               !__builtin_mul_overflow(bytes, sizeof(uint32_t), &bytes));
  weight.data = PageBuffer(bytes);
  return weight;
}

bool PackRows(const RowSource& source, int64_t segment, int64_t first, int64_t count,
              LinearWeight& weight) {
  const LinearSegment& into = weight.segments.at(static_cast<size_t>(segment));
  TANDEM_CHECK(first >= 0 && count >= 0 && first + count <= into.size);
  TANDEM_CHECK(source.dtype == DType::kF32 || source.dtype == DType::kBF16 ||
               source.dtype == DType::kF16);
  // Pieces of K that keep the panel's words, 16 KiB, in the first cache while its 16 rows are
  // written into them lane by lane.
  constexpr int64_t kPieceWords = 256;
  const int64_t per_word = ElementsPerWord(weight.type);
  auto* data = static_cast<uint32_t*>(weight.data.data());
  bool finite = true;
  for (int64_t row = first; row < first + count;) {
    const int64_t column = into.column + row;
    const int64_t rows = std::min(first + count - row, kPanel - column % kPanel);
    uint32_t* panel = data + column / kPanel * weight.words() * kPanel + column % kPanel;
    for (size_t leaf = 0; leaf + 1 < weight.leaf_words.size(); ++leaf) {
      const int64_t word_end = weight.leaf_words[leaf + 1],
                    feature_end = weight.leaf_features[leaf + 1];
      int64_t feature = weight.leaf_features[leaf];
      for (int64_t word = weight.leaf_words[leaf]; word < word_end; word += kPieceWords) {
        const int64_t words = std::min(kPieceWords, word_end - word);
        const int64_t features = std::min(words * per_word, feature_end - feature);
        for (int64_t r = 0; r < rows; ++r) {
          uint32_t piece[kPieceWords];
          const std::byte* from = source.data + (row - first + r) * source.row_stride_bytes;
          finite &= ConvertWords(from, source.dtype, weight.type, feature, features, piece);
          for (int64_t i = 0; i < words; ++i) panel[(word + i) * kPanel + r] = piece[i];
        }
        feature += features;
      }
    }
    row += rows;
  }
  return finite;
}

}  // namespace tandem
