// Sixteen lanes of arithmetic, alike on every instruction set: a kernel is written once, as a text
// (`x.inc`), and compiled once for each of them.
//
// A kernel has a text and four short files:
//
//   // x_avx2.cc (and x_portable.cc, x_avx512.cc, x_avx512_bf16.cc)
//   #define TANDEM_SIMD_AVX2  // or _PORTABLE, _AVX512, _AVX512_BF16
//   #include "common/kernels/x.inc"
//
//   // x.inc: no include guard
//   #include "common/kernels/simd.h"
//   namespace tandem::TANDEM_ISA {
//   TANDEM_INLINE Floats Square(Floats a) { return a * a; }     // Helpers: always inlined.
//   TANDEM_TARGET void SquareRow(const float* x, int64_t n, float* out) {  // What is called.
//     int64_t i = 0;
//     for (; i + kLanes <= n; i += kLanes) Store(out + i, Square(Load(x + i)));
//     if (i < n) StoreFirst(out + i, Square(LoadFirst(x + i, n - i)), n - i);
//   }
//   }  // namespace tandem::TANDEM_ISA
//
// TANDEM_ISA is the namespace (portable, avx2, avx512, avx512_bf16), and everything that a text
// defines lives in it: two definitions of one name, compiled for different processors, would
// otherwise be one function to the linker, which may keep either.
//
// Rules for texts:
// - Every function is TANDEM_INLINE or TANDEM_TARGET, members and templates too. No lambdas, and no
//   std:: templates (std::min, std::vector...): they do not inherit the target, so vectors could
//   not pass through them, and their copies are shared with the rest of the program. Plain ifs and
//   arrays.
// - No file is compiled with -mavx*: the attributes alone turn instructions on.
// - Only what is below; no intrinsics in texts. All four sets then give the same bits: every lane
//   computes the same IEEE operations in the same order (NaN's sign and payload apart).
// - Callers run in the float mode of SetComputeFloatMode (to nearest, FTZ, DAZ).
// - Functions whose argument counts lanes take it from 0 to 16, or more: then it is 16.
//
// The vocabulary: Floats (16 float), Ints (16 int32, wrapping), Mask (16 bool).
//   Load Store LoadFirst StoreFirst Set1 Zero  + - * /  -a  Fma(a,b,c) = a * b + c, one rounding
//   Sqrt Abs RoundToNearest  Min Max (a < b ? a : b and a > b ? a : b; denormals come out as zero)
//   < <= > >= == !=  IsNan  Select(mask, yes, no)
//   LoadInts StoreInts LoadIntsFirst StoreIntsFirst Set1Int Iota  + - * & | ^ ~  == > <
//   ShiftLeft<n> ShiftRight<n> (logical) ShiftRightSigned<n>
//   Bits(Floats) AsFloats(Ints)   the same bits;  ToFloats(Ints) RoundToInts TruncateToInts (out of
//                                 range and NaN: INT32_MIN)
//   FirstLanes(n)  & | ~ of masks  Any All Count
//   SumOf MaxOf (over lanes: l and l + 8, then 4, 2, 1)  TreeAdd (over parts)
//   bf16: Bf16Bits PackPairs StoreBf16 StoreBf16First LoadBf16 LoadBf16First EvenOf OddOf DotPair
#ifndef TANDEM_COMMON_KERNELS_SIMD_H_
#define TANDEM_COMMON_KERNELS_SIMD_H_

#if defined(TANDEM_SIMD_PORTABLE) + defined(TANDEM_SIMD_AVX2) + defined(TANDEM_SIMD_AVX512) + \
        defined(TANDEM_SIMD_AVX512_BF16) !=                                                   \
    1
#error "define exactly one of TANDEM_SIMD_PORTABLE, _AVX2, _AVX512, _AVX512_BF16"
#endif

#include <cstdint>
#include <cstring>

#if defined(TANDEM_SIMD_PORTABLE)
#define TANDEM_ISA portable
#define TANDEM_TARGET
#elif defined(TANDEM_SIMD_AVX2)
#define TANDEM_ISA avx2
#define TANDEM_TARGET __attribute__((target("avx2,fma")))
#elif defined(TANDEM_SIMD_AVX512)
#define TANDEM_ISA avx512
#define TANDEM_TARGET __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")))
#else
#define TANDEM_ISA avx512_bf16
#define TANDEM_TARGET \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#endif
#if defined(TANDEM_SIMD_PORTABLE)
// Not forced: no target has to be inherited here, and builds with sanitizers, which check every
// lane of every operation apart, would take minutes.
#define TANDEM_INLINE inline
#else
#define TANDEM_INLINE TANDEM_TARGET __attribute__((always_inline)) inline
#endif

// In front of a loop whose count is known and whose body must lie in registers.
#define TANDEM_UNROLL _Pragma("GCC unroll 32")

// Makes the compiler forget what it knows of a pointer, so that it loads through it anew.
#define TANDEM_HIDE(pointer) asm("" : "+r"(pointer))

namespace tandem::TANDEM_ISA {
inline constexpr int kLanes = 16;
}  // namespace tandem::TANDEM_ISA

#if defined(TANDEM_SIMD_PORTABLE)
#include "common/kernels/simd_portable.inc"
#elif defined(TANDEM_SIMD_AVX2)
#include "common/kernels/simd_avx2.inc"
#else
#include "common/kernels/simd_avx512.inc"
#endif
#include "common/kernels/simd_common.inc"

#endif  // TANDEM_COMMON_KERNELS_SIMD_H_
