// Element types of tensors, in files and in memory, and scalar conversions between them.
#ifndef TANDEM_COMMON_TENSOR_DTYPE_H_
#define TANDEM_COMMON_TENSOR_DTYPE_H_

#include <bit>
#include <cstdint>

namespace tandem {

enum class DType : uint8_t {
  kF32,
  kBF16,
  kF16,
  kF64,
  kI8,
  kU8,
  kI16,
  kU16,
  kI32,
  kU32,
  kI64,
  kU64,
  kBool
};

constexpr int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      return 1;
    case DType::kBF16:
    case DType::kF16:
    case DType::kI16:
    case DType::kU16:
      return 2;
    case DType::kF32:
    case DType::kI32:
    case DType::kU32:
      return 4;
    case DType::kF64:
    case DType::kI64:
    case DType::kU64:
      return 8;
  }
  return 0;
}

// As safetensors spells it: "F32", "BF16", "I64", "BOOL", ...
constexpr const char* NameOf(DType dtype) {
  constexpr const char* kNames[] = {"F32", "BF16", "F16", "F64", "I8",  "U8",  "I16",
                                    "U16", "I32",  "U32", "I64", "U64", "BOOL"};
  return kNames[static_cast<int>(dtype)];
}

// A bf16 is the upper half of a float.
constexpr float Bf16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// To nearest even, as vcvtneps2bf16: denormals become zero (sign kept), NaN turns quiet.
constexpr uint16_t FloatToBf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  if (magnitude < 0x00800000u) return static_cast<uint16_t>((bits >> 16) & 0x8000u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// IEEE half to float, exact (denormal halves are normal floats).
constexpr float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  if (mantissa == 0) return std::bit_cast<float>(sign);
  int shift = 0;
  while ((mantissa & 0x400u) == 0) {
    mantissa <<= 1;
    ++shift;
  }
  return std::bit_cast<float>(sign | (static_cast<uint32_t>(113 - shift) << 23) |
                              ((mantissa & 0x3ffu) << 13));
}

}  // namespace tandem

#endif  // TANDEM_COMMON_TENSOR_DTYPE_H_
