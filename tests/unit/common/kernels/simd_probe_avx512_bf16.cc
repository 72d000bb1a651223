#define TANDEM_SIMD_AVX512_BF16
#include "common/kernels/simd.h"
#include "tests/unit/common/kernels/simd_probe.h"
#include "tests/unit/common/kernels/simd_probe.inc"
