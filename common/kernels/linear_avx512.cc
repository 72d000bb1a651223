#define TANDEM_SIMD_AVX512
#include "common/kernels/linear.inc"
