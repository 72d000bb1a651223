#define TANDEM_SIMD_PORTABLE
#include "common/kernels/linear.inc"
