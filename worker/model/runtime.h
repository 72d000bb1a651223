// What a stack computes with: the two seams, and the hook that keeps messages moving meanwhile.
#ifndef TANDEM_WORKER_MODEL_RUNTIME_H_
#define TANDEM_WORKER_MODEL_RUNTIME_H_

#include <functional>

#include "absl/status/status.h"
#include "common/kernels/ops.h"
#include "common/parallel/communicator.h"

namespace tandem {

// Borrowed: operations, this stage's tensor-parallel group. `progress` is called between layers.
struct Runtime {
  Ops* ops = nullptr;
  Communicator* tp = nullptr;
  std::function<absl::Status()> progress;

  TpRank tp_rank() const { return {.tp_size = tp->size(), .tp_rank = tp->rank()}; }
};

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_RUNTIME_H_
