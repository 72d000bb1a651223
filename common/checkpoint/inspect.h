// What `tandem inspect` says of a model: from its configuration alone, and of its weights where
// there are any.
#ifndef TANDEM_COMMON_CHECKPOINT_INSPECT_H_
#define TANDEM_COMMON_CHECKPOINT_INSPECT_H_

#include <cstdint>
#include <string>

#include "common/checkpoint/checkpoint.h"
#include "common/config/model_config.h"
#include "common/parallel/shard.h"
#include "common/tensor/dtype.h"
#include "nlohmann/json.hpp"

namespace tandem {

// The configuration of both stacks and of vision, special tokens, parameter counts, and for each
// stage and tensor-parallel degree the bytes of weights that its largest rank holds, in the compute
// type that --dtype auto chooses (matrices in it, norms and biases in fp32; packing adds a little).
nlohmann::ordered_json InspectConfig(const ModelConfig& config);

// Number of tensors, their bytes and types.
nlohmann::ordered_json InspectWeights(const Checkpoint& checkpoint);

// InspectConfig's facts as lines for people. Objects that the caller added ("weights", "tokenizer")
// follow, a line for each entry.
std::string InspectText(const nlohmann::ordered_json& facts);

// Bytes of the weights that a rank of a text stack holds: of its layers, and of its rows of
// `num_tables` token tables or heads.
int64_t LayerWeightBytes(const TextStackConfig& stack, TpRank rank, DType dtype);
int64_t TableWeightBytes(const TextStackConfig& stack, int64_t num_tables, TpRank rank,
                         DType dtype);

// "953.80M", "2.42B".
std::string CountText(int64_t count);
// "1.46 GiB".
std::string BytesText(int64_t bytes);

}  // namespace tandem

#endif  // TANDEM_COMMON_CHECKPOINT_INSPECT_H_
