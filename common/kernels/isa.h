// The instruction sets that kernels are compiled for, and which of them this machine can run.
#ifndef TANDEM_COMMON_KERNELS_ISA_H_
#define TANDEM_COMMON_KERNELS_ISA_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tandem {

enum class Isa : uint8_t { kPortable, kAvx2, kAvx512, kAvx512Bf16 };
inline constexpr int kNumIsas = 4;

absl::string_view NameOf(Isa isa);  // "portable", "avx2", "avx512", "avx512_bf16"

// What this processor and kernel can run, worst first; kPortable always.
std::vector<Isa> SupportedIsas();

// "auto" (the best supported), or a name. INVALID_ARGUMENT for an unknown name (with the known
// ones), FAILED_PRECONDITION for one that this processor lacks (with what it has): never a silent
// fallback.
absl::StatusOr<Isa> ChooseIsa(absl::string_view name);

// ChooseIsa on a machine that has `supported`: for tests of refusals.
absl::StatusOr<Isa> ChooseIsaFrom(absl::string_view name, const std::vector<Isa>& supported);

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_ISA_H_
