// A second, plain writing of the products' definition, for tests: one output at a time.
#ifndef TANDEM_TESTS_UNIT_COMMON_KERNELS_LINEAR_REFERENCE_H_
#define TANDEM_TESTS_UNIT_COMMON_KERNELS_LINEAR_REFERENCE_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "common/kernels/linear_weight.h"
#include "common/tensor/dtype.h"

namespace tandem {

// What a planted mistake in the order of a sum would be; kNone is the definition.
enum class OrderMistake { kNone, kEvenFirst, kLeavesInSequence, kTwoSums };

inline float TreeSum(std::vector<float> parts) {
  if (parts.empty()) return 0.0f;
  for (size_t step = 1; step < parts.size(); step *= 2) {
    for (size_t i = 0; i + step < parts.size(); i += 2 * step) parts[i] += parts[i + step];
  }
  return parts[0];
}

// Features [begin, end) of x . w.
inline float LeafSum(const float* x, const float* w, int64_t begin, int64_t end, ComputeType type,
                     OrderMistake mistake) {
  float sums[2] = {0.0f, 0.0f};
  if (type == ComputeType::kFloat32) {
    for (int64_t i = begin; i < end; ++i) {
      float& sum = sums[mistake == OrderMistake::kTwoSums ? i % 2 : 0];
      sum = std::fma(w[i], x[i], sum);
    }
    return sums[0] + sums[1];
  }
  const auto rounded = [](float value) { return Bf16ToFloat(FloatToBf16(value)); };
  for (int64_t i = begin; i < end; i += 2) {
    float& sum = sums[mistake == OrderMistake::kTwoSums ? (i - begin) / 2 % 2 : 0];
    const float odd_w = i + 1 < end ? rounded(w[i + 1]) : 0.0f;
    const float odd_x = i + 1 < end ? rounded(x[i + 1]) : 0.0f;
    const float even_w = rounded(w[i]), even_x = rounded(x[i]);
    if (mistake == OrderMistake::kEvenFirst) {
      sum = std::fma(odd_w, odd_x, std::fma(even_w, even_x, sum));
    } else {
      sum = std::fma(even_w, even_x, std::fma(odd_w, odd_x, sum));
    }
  }
  return sums[0] + sums[1];
}

inline float ReferenceProduct(const float* x, const float* w, const std::vector<int64_t>& leaves,
                              ComputeType type, OrderMistake mistake = OrderMistake::kNone) {
  std::vector<float> parts;
  for (size_t i = 0; i + 1 < leaves.size(); ++i) {
    parts.push_back(LeafSum(x, w, leaves[i], leaves[i + 1], type, mistake));
  }
  if (mistake == OrderMistake::kLeavesInSequence) {
    float sum = parts[0];
    for (size_t i = 1; i < parts.size(); ++i) sum += parts[i];
    return sum;
  }
  return TreeSum(parts);
}

}  // namespace tandem

#endif  // TANDEM_TESTS_UNIT_COMMON_KERNELS_LINEAR_REFERENCE_H_
