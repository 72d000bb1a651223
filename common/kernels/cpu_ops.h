// The CPU's operations: kernels chosen once for an instruction set, run by a thread pool.
#ifndef TANDEM_COMMON_KERNELS_CPU_OPS_H_
#define TANDEM_COMMON_KERNELS_CPU_OPS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/thread_pool.h"
#include "common/kernels/ops.h"

namespace tandem {

enum class Isa : uint8_t { kPortable, kAvx2, kAvx512, kAvx512Bf16 };

absl::string_view NameOf(Isa isa);  // "portable", "avx2", "avx512", "avx512_bf16"

// What this processor and kernel can run, worst first; kPortable always.
std::vector<Isa> SupportedIsas();

// "auto" (the best supported), or a name. INVALID_ARGUMENT for an unknown name (with the known ones),
// FAILED_PRECONDITION for one that this processor lacks (with what it has): never a silent fallback.
absl::StatusOr<Isa> ChooseIsa(absl::string_view name);

// `pool` must outlive the result. Scratch memory is sized on first use and grows with the largest
// call.
std::unique_ptr<Ops> MakeCpuOps(Isa isa, ComputeType type, ThreadPool& pool);

// A hash of a fixed probe (products, attention, norms, activations, the head) run through these
// operations: ranks whose hashes are equal compute equal bits, they are of one numerics class.
uint64_t NumericsProbe(Ops& ops);

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_CPU_OPS_H_
