#include "tests/benchmark/roof.h"

#include <immintrin.h>

namespace tandem {
namespace {

constexpr int64_t kIterations = 200000;
constexpr int kSums = 12;  // Enough in flight for a latency of six cycles on two ports.

// Named registers and the instruction itself: with intrinsics the compiler may hoist the loop away.
#define TANDEM_TWELVE(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#define TANDEM_LOOP(name, features, type, zero, instruction)                                      \
  __attribute__((target(features))) void name() {                                                 \
    TANDEM_TWELVE(TANDEM_DECLARE_##type)                                                          \
    const type a = zero, b = zero;                                                                \
    for (int64_t i = 0; i < kIterations; ++i) {                                                   \
      asm volatile(instruction(0) instruction(1) instruction(2) instruction(3) instruction(4)     \
                       instruction(5) instruction(6) instruction(7) instruction(8) instruction(9) \
                           instruction(10) instruction(11)                                        \
                   : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3), "+v"(c4), "+v"(c5), "+v"(c6),        \
                     "+v"(c7), "+v"(c8), "+v"(c9), "+v"(c10), "+v"(c11)                           \
                   : "v"(a), "v"(b));                                                             \
    }                                                                                             \
  }
#define TANDEM_DECLARE___m512(k) __m512 c##k = _mm512_setzero_ps();
#define TANDEM_DECLARE___m256(k) __m256 c##k = _mm256_setzero_ps();
#define TANDEM_DOT(k) "vdpbf16ps %13, %12, %" #k "\n"
#define TANDEM_FMA(k) "vfmadd231ps %13, %12, %" #k "\n"
TANDEM_LOOP(Dot512, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(), TANDEM_DOT)
TANDEM_LOOP(Fma512, "avx512f", __m512, _mm512_setzero_ps(), TANDEM_FMA)
TANDEM_LOOP(Fma256, "avx2,fma", __m256, _mm256_setzero_ps(), TANDEM_FMA)

}  // namespace

// AVX2 suffices: more than a load a cycle outruns any memory.
__attribute__((target("avx2"))) uint64_t ReadAll(const void* data, int64_t bytes) {
  const auto* p = static_cast<const __m256i*>(data);
  __m256i sums[8];
#pragma GCC unroll 8
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < bytes / 32; i += 16) {
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) {
      sums[k % 8] = _mm256_add_epi64(sums[k % 8], _mm256_load_si256(p + i + k));
    }
  }
#pragma GCC unroll 8
  for (int k = 1; k < 8; ++k) sums[0] = _mm256_add_epi64(sums[0], sums[k]);
  uint64_t lanes[4];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), sums[0]);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

double MultiplyAddFp32(Isa isa) {
  const bool wide = isa == Isa::kAvx512 || isa == Isa::kAvx512Bf16;
  wide ? Fma512() : Fma256();
  return 2.0 * (wide ? 16 : 8) * kSums * static_cast<double>(kIterations);
}

double MultiplyAddBf16(Isa isa) {
  if (isa != Isa::kAvx512Bf16) return MultiplyAddFp32(isa);
  Dot512();
  return 4.0 * 16 * kSums * static_cast<double>(kIterations);
}

}  // namespace tandem
