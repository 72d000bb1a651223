#define TANDEM_SIMD_AVX512_BF16
#include "common/kernels/linear.inc"
