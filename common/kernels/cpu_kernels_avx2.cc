#define TANDEM_SIMD_AVX2
#include "common/kernels/cpu_kernels.h"
#include "common/kernels/simd.h"
// The texts, each after those that it uses.
#include "common/kernels/vector_math.inc"
//
#include "common/kernels/row_kernels.inc"
//
#include "common/kernels/attention_kernels.inc"
#include "common/kernels/head_kernels.inc"
//
#include "common/kernels/cpu_kernels_table.inc"
