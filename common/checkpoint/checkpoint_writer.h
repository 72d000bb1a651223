// Writes checkpoints of random weights to files.
#ifndef TANDEM_COMMON_CHECKPOINT_CHECKPOINT_WRITER_H_
#define TANDEM_COMMON_CHECKPOINT_CHECKPOINT_WRITER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/config/model_config.h"

namespace tandem {

// As the published checkpoints are cut.
inline constexpr int64_t kMaxShardBytes = int64_t{4} << 30;

// Writes a checkpoint folder as Hugging Face publishes them: config.json (the text given),
// generation_config.json and all tensors, vision's too, in shards of at most max_shard_bytes.
// Opening it gives the bits of Checkpoint::Random(config, seed). `directory` may exist if it is
// empty; what a failure leaves behind is removed. Errors: FAILED_PRECONDITION, and as the system
// reports them.
absl::Status WriteRandomCheckpoint(const ModelConfig& config, const std::string& config_json,
                                   uint64_t seed, const std::string& directory,
                                   int64_t max_shard_bytes = kMaxShardBytes);

}  // namespace tandem

#endif  // TANDEM_COMMON_CHECKPOINT_CHECKPOINT_WRITER_H_
