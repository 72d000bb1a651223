// One table of simd.h's operations for each instruction set, so that a test can compare them.
#ifndef TANDEM_TESTS_UNIT_COMMON_KERNELS_SIMD_PROBE_H_
#define TANDEM_TESTS_UNIT_COMMON_KERNELS_SIMD_PROBE_H_

#include <cstdint>

#include "common/kernels/isa.h"

namespace tandem {

// Runs operation `index` on three vectors of 16 words and a count of lanes; writes 16 words. False
// where there is no such operation.
using SimdProbe = bool (*)(int index, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                           int64_t count, uint32_t* out);

namespace portable {
bool Probe(int, const uint32_t*, const uint32_t*, const uint32_t*, int64_t, uint32_t*);
}
namespace avx2 {
bool Probe(int, const uint32_t*, const uint32_t*, const uint32_t*, int64_t, uint32_t*);
}
namespace avx512 {
bool Probe(int, const uint32_t*, const uint32_t*, const uint32_t*, int64_t, uint32_t*);
}
namespace avx512_bf16 {
bool Probe(int, const uint32_t*, const uint32_t*, const uint32_t*, int64_t, uint32_t*);
}

inline SimdProbe SimdProbeFor(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return portable::Probe;
    case Isa::kAvx2:
      return avx2::Probe;
    case Isa::kAvx512:
      return avx512::Probe;
    case Isa::kAvx512Bf16:
      return avx512_bf16::Probe;
  }
  return nullptr;
}

}  // namespace tandem

#endif  // TANDEM_TESTS_UNIT_COMMON_KERNELS_SIMD_PROBE_H_
