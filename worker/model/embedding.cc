#include "worker/model/embedding.h"

#include <algorithm>
#include <cmath>

#include "common/base/status_macros.h"

namespace tandem {

float EmbeddingScale(int64_t hidden_dim, ComputeType type) {
  const auto scale = static_cast<float>(std::sqrt(static_cast<double>(hidden_dim)));
  return type == ComputeType::kBFloat16 ? Bf16ToFloat(FloatToBf16(scale)) : scale;
}

absl::Status EmbedTokens(const TokenTable& table, absl::Span<const int32_t> ids, float scale,
                         int32_t eoi_token_id, const Runtime& runtime, Matrix out) {
  runtime.ops->EmbedRows(table.rows, table.vocabulary.begin(), ids, scale, out);
  if (runtime.tp->size() > 1) {
    TANDEM_CHECK(out.stride == out.cols);
    TANDEM_RETURN_IF_ERROR(runtime.tp->MergeDisjoint(absl::MakeSpan(
        reinterpret_cast<uint32_t*>(out.data), static_cast<size_t>(out.rows * out.cols))));
  }
  if (eoi_token_id < 0 || table.eoi_embedding.empty()) return absl::OkStatus();
  for (int64_t i = 0; i < out.rows; ++i) {
    if (ids[static_cast<size_t>(i)] != eoi_token_id) continue;
    std::copy(table.eoi_embedding.begin(), table.eoi_embedding.end(), out.row(i));
  }
  return absl::OkStatus();
}

}  // namespace tandem
