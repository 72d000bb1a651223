// How keys and values lie in memory: pages of kPageTokens tokens, for one layer and all KV heads of
// a rank. A page of one KV head is its K part, then its V part:
//   K: [kPageTokens / 16 panels][key_words][16 lanes = tokens]     words run along head_dim
//   V: [value_panels][value_words][16 lanes = channels]            words run along tokens
// A word is 32 bits: two bf16 (the even feature or token in the low half) or one float. So a page
// is, as it lies, the packed weight of two products: scores = q K^T and out = p V. Unused slots
// must be finite: pages are zeroed when handed out.
#ifndef TANDEM_COMMON_KERNELS_KV_LAYOUT_H_
#define TANDEM_COMMON_KERNELS_KV_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "common/kernels/linear_weight.h"

namespace tandem {

inline constexpr int64_t kPageTokens = 32;
inline constexpr int64_t kAttentionBlock = 128;  // Keys a softmax block: 4 pages.
static_assert(kAttentionBlock % kPageTokens == 0);

struct KvLayout {
  ComputeType type = ComputeType::kFloat32;
  int64_t num_kv_heads = 0;  // Of this rank.
  int64_t head_dim = 0;      // Even.

  int64_t elements_per_word() const { return type == ComputeType::kBFloat16 ? 2 : 1; }
  int64_t key_words() const { return head_dim / elements_per_word(); }
  int64_t value_panels() const { return (head_dim + kPanel - 1) / kPanel; }
  int64_t value_words() const { return kPageTokens / elements_per_word(); }
  int64_t key_part_words() const { return kPageTokens * key_words(); }
  int64_t value_part_words() const { return value_panels() * kPanel * value_words(); }
  int64_t head_page_words() const { return key_part_words() + value_part_words(); }
  // Bytes of one page of one layer.
  int64_t page_bytes() const { return num_kv_heads * head_page_words() * 4; }
};

// The pages of one layer: page p begins at base + p * page_stride_bytes. Owns nothing.
struct KvView {
  KvLayout layout;
  std::byte* base = nullptr;
  int64_t page_stride_bytes = 0;

  uint32_t* key_part(int64_t page, int64_t kv_head) const {
    return reinterpret_cast<uint32_t*>(base + page * page_stride_bytes) +
           kv_head * layout.head_page_words();
  }
  uint32_t* value_part(int64_t page, int64_t kv_head) const {
    return key_part(page, kv_head) + layout.key_part_words();
  }
};

// Where a token's K and V go.
struct KvSlot {
  int32_t page = 0;
  int32_t slot = 0;  // 0 ... kPageTokens - 1.
};

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_KV_LAYOUT_H_
