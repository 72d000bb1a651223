// Where a forward pass shows its intermediates: `forward --taps`, and the golden tests.
#ifndef TANDEM_WORKER_MODEL_TAP_H_
#define TANDEM_WORKER_MODEL_TAP_H_

#include <functional>
#include <string>

#include "common/tensor/matrix.h"

namespace tandem {

// Called with the tensor's name ("decoder.layers.3"), the batch's row its first row is, and the
// rows. Empty: nobody looks.
using TapSink = std::function<void(const std::string& name, int64_t first_row, ConstMatrix rows)>;

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_TAP_H_
