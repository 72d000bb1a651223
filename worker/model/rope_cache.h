// Rotary tables of one layer type by position, computed once and kept; rows are gathered per chunk.
#ifndef TANDEM_WORKER_MODEL_ROPE_CACHE_H_
#define TANDEM_WORKER_MODEL_ROPE_CACHE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/config/model_config.h"
#include "common/kernels/ops.h"
#include "worker/model/workspace.h"

namespace tandem {

class RopeCache {
 public:
  RopeCache(Ops& ops, const RopeConfig& config, int64_t head_dim);

  // cos and sin of these positions. A run of consecutive positions is a view of the cache; others
  // are gathered into `cos` and `sin`. Valid until the next call.
  RopeRows Rows(absl::Span<const int32_t> positions, ScratchMatrix& cos, ScratchMatrix& sin);

 private:
  void Extend(int64_t positions);

  Ops& ops_;
  std::vector<float> frequencies_;
  int64_t cached_ = 0;  // Positions [0, cached_) are there.
  AlignedBuffer<float> cos_;
  AlignedBuffer<float> sin_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_ROPE_CACHE_H_
