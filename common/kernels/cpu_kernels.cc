#include "common/kernels/cpu_kernels.h"

namespace tandem {

namespace portable {
extern const CpuKernels kCpuKernels;
}
namespace avx2 {
extern const CpuKernels kCpuKernels;
}
namespace avx512 {
extern const CpuKernels kCpuKernels;
}
namespace avx512_bf16 {
extern const CpuKernels kCpuKernels;
}

const CpuKernels& CpuKernelsOf(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return avx2::kCpuKernels;
    case Isa::kAvx512:
      return avx512::kCpuKernels;
    case Isa::kAvx512Bf16:
      return avx512_bf16::kCpuKernels;
    case Isa::kPortable:
      break;
  }
  return portable::kCpuKernels;
}

}  // namespace tandem
