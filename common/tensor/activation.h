// The gate's nonlinearity. Its formulas: docs/model.md.
#ifndef TANDEM_COMMON_TENSOR_ACTIVATION_H_
#define TANDEM_COMMON_TENSOR_ACTIVATION_H_

#include <cstdint>

namespace tandem {

enum class Activation : uint8_t { kGeluTanh, kGeluErf, kSilu, kRelu };

}  // namespace tandem

#endif  // TANDEM_COMMON_TENSOR_ACTIVATION_H_
