#include "worker/model/rope_cache.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "common/kernels/math.h"

namespace tandem {

RopeCache::RopeCache(Ops& ops, const RopeConfig& config, int64_t head_dim)
    : ops_(ops), frequencies_(RopeFrequencies(config.theta, config.factor, head_dim)) {}

void RopeCache::Extend(int64_t positions) {
  if (positions <= cached_) return;
  // Doubling: a long generation extends it rarely. Old rows are copied, not computed again.
  const auto target = std::max<int64_t>({positions, 2 * cached_, 256});
  const auto half = static_cast<int64_t>(frequencies_.size());
  AlignedBuffer<float> cos(target * half);
  AlignedBuffer<float> sin(target * half);
  const size_t old_bytes = static_cast<size_t>(cached_ * half) * sizeof(float);
  if (old_bytes > 0) {
    std::memcpy(cos.data(), cos_.data(), old_bytes);
    std::memcpy(sin.data(), sin_.data(), old_bytes);
  }
  std::vector<int32_t> added(static_cast<size_t>(target - cached_));
  std::iota(added.begin(), added.end(), static_cast<int32_t>(cached_));
  ops_.RopeTables(added, frequencies_, Matrix(cos.data() + cached_ * half, target - cached_, half),
                  Matrix(sin.data() + cached_ * half, target - cached_, half));
  cos_ = std::move(cos);
  sin_ = std::move(sin);
  cached_ = target;
}

RopeRows RopeCache::Rows(absl::Span<const int32_t> positions, ScratchMatrix& cos,
                         ScratchMatrix& sin) {
  const auto half = static_cast<int64_t>(frequencies_.size());
  const auto rows = static_cast<int64_t>(positions.size());
  if (rows == 0) return {ConstMatrix(nullptr, 0, half), ConstMatrix(nullptr, 0, half)};
  Extend(*std::max_element(positions.begin(), positions.end()) + int64_t{1});
  bool consecutive = true;
  for (size_t i = 1; i < positions.size(); ++i) {
    consecutive &= positions[i] == positions[i - 1] + 1;
  }
  if (consecutive) {
    return {ConstMatrix(cos_.data() + positions[0] * half, rows, half),
            ConstMatrix(sin_.data() + positions[0] * half, rows, half)};
  }
  const Matrix cos_rows = cos.Shape(rows, half);
  const Matrix sin_rows = sin.Shape(rows, half);
  const size_t row_bytes = static_cast<size_t>(half) * sizeof(float);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t position = positions[static_cast<size_t>(i)];
    std::memcpy(cos_rows.row(i), cos_.data() + position * half, row_bytes);
    std::memcpy(sin_rows.row(i), sin_.data() + position * half, row_bytes);
  }
  return {cos_rows, sin_rows};
}

}  // namespace tandem
