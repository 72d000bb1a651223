// The CPU's operations: kernels chosen once for an instruction set, run by a thread pool.
#ifndef TANDEM_COMMON_KERNELS_CPU_OPS_H_
#define TANDEM_COMMON_KERNELS_CPU_OPS_H_

#include <cstdint>
#include <memory>

#include "common/base/thread_pool.h"
#include "common/kernels/isa.h"
#include "common/kernels/ops.h"

namespace tandem {

// `pool` must outlive the result. Scratch memory is sized on first use and grows with the largest
// call.
std::unique_ptr<Ops> MakeCpuOps(Isa isa, ComputeType type, ThreadPool& pool);

// A hash of a fixed probe (products, attention, norms, activations, the head) run through these
// operations: ranks whose hashes are equal compute equal bits, they are of one numerics class.
uint64_t NumericsProbe(Ops& ops);

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_CPU_OPS_H_
