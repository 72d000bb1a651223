#define TANDEM_SIMD_AVX2
#include "common/kernels/linear.inc"
