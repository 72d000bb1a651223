// What a checkpoint's tensors are called, and which of them a configuration asks for.
// Source: docs/model.md, "HF safetensors".
#ifndef TANDEM_COMMON_CHECKPOINT_TENSOR_NAMES_H_
#define TANDEM_COMMON_CHECKPOINT_TENSOR_NAMES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/config/model_config.h"

namespace tandem {

// The one name for all spellings: without a leading "model.", "encoder.text_model." as "encoder.",
// "encoder.vision_tower.vision_model." as "encoder.vision_tower.".
std::string CanonicalTensorName(absl::string_view name);

// As the published checkpoints spell a canonical name:
// "model.encoder.vision_tower.vision_model....".
std::string PublishedTensorName(absl::string_view canonical_name);

struct ExpectedTensor {
  std::string name;  // Canonical.
  std::vector<int64_t> shape;
  bool required = true;  // False for what only images need.
};

// Every tensor of the model, in the order of the computation.
std::vector<ExpectedTensor> ExpectedTensors(const ModelConfig& config);

// True for copies of tied weights, which files may have beside the one that counts.
bool IsTiedCopy(absl::string_view canonical_name, const ModelConfig& config);

}  // namespace tandem

#endif  // TANDEM_COMMON_CHECKPOINT_TENSOR_NAMES_H_
