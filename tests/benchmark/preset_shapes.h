// The products of the published presets, for benchmarks: one table. Sizes: docs/model.md.
#ifndef TANDEM_TESTS_BENCHMARK_PRESET_SHAPES_H_
#define TANDEM_TESTS_BENCHMARK_PRESET_SHAPES_H_

#include <cstdint>

namespace tandem {

struct ProductShape {
  const char* preset;
  const char* name;
  int64_t in_features;
  int64_t outputs;
  int num_leaves;  // Of in_features.
};

// q, k and v are one product, and gate and up.
inline constexpr ProductShape kProductShapes[] = {
    {"270m", "qkv", 640, 1536, 1},     {"270m", "o", 1024, 640, 8},
    {"270m", "gate_up", 640, 4096, 1}, {"270m", "down", 2048, 640, 8},
    {"270m", "head", 640, 262144, 1},  {"1b", "qkv", 1152, 1536, 1},
    {"1b", "o", 1024, 1152, 8},        {"1b", "gate_up", 1152, 13824, 1},
    {"1b", "down", 6912, 1152, 8},     {"1b", "head", 1152, 262144, 1},
    {"4b", "qkv", 2560, 4096, 1},      {"4b", "o", 2048, 2560, 8},
    {"4b", "gate_up", 2560, 20480, 1}, {"4b", "down", 10240, 2560, 8},
    {"4b", "head", 2560, 262144, 1},
};

}  // namespace tandem

#endif  // TANDEM_TESTS_BENCHMARK_PRESET_SHAPES_H_
