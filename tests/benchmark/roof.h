// What this machine can do at most, measured in the same run as what is compared with it.
#ifndef TANDEM_TESTS_BENCHMARK_ROOF_H_
#define TANDEM_TESTS_BENCHMARK_ROOF_H_

#include <cstdint>

#include "common/kernels/isa.h"

namespace tandem {

// Reads `bytes` (a multiple of 512, 32-byte aligned) once; returns something that depends on all of
// them. Needs AVX2, as the roofs below.
uint64_t ReadAll(const void* data, int64_t bytes);

// Independent multiply-adds in registers, the fastest instruction that the set has for a product of
// bf16 words (vdpbf16ps) or of floats (FMA). Returns the operations done (a multiply and an add are
// two).
double MultiplyAddBf16(Isa isa);
double MultiplyAddFp32(Isa isa);

}  // namespace tandem

#endif  // TANDEM_TESTS_BENCHMARK_ROOF_H_
