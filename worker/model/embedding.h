// Token ids to the rows a stack starts from, over a vocabulary split among ranks.
#ifndef TANDEM_WORKER_MODEL_EMBEDDING_H_
#define TANDEM_WORKER_MODEL_EMBEDDING_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/model/runtime.h"
#include "worker/model/weights.h"

namespace tandem {

// sqrt(hidden) rounded to the compute type: part of the numerics (25.25 for 640 in bf16).
float EmbeddingScale(int64_t hidden_dim, ComputeType type);

// out[i] = table row * scale; the row of `eoi_token_id` is the EOI vector, unscaled. Each row comes
// from the rank that owns it, copied (never added). out [ids.size(), hidden], contiguous.
absl::Status EmbedTokens(const TokenTable& table, absl::Span<const int32_t> ids, float scale,
                         int32_t eoi_token_id, const Runtime& runtime, Matrix out);

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_EMBEDDING_H_
