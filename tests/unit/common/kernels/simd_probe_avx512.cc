#define TANDEM_SIMD_AVX512
#include "common/kernels/simd.h"
#include "tests/unit/common/kernels/simd_probe.h"
#include "tests/unit/common/kernels/simd_probe.inc"
