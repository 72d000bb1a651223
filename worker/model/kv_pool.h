// The K/V memory of a decoder rank: pages of kPageTokens tokens, each with all of the stack's
// layers. Sequences own pages of their past, beams of one sequence together where they are equal;
// encoded prompts own pages of encoder memory.
#ifndef TANDEM_WORKER_MODEL_KV_POOL_H_
#define TANDEM_WORKER_MODEL_KV_POOL_H_

#include <cstdint>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/kernels/kv_layout.h"

namespace tandem {

inline int64_t PagesFor(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

class KvPool {
 public:
  // Untouched pages cost no memory.
  KvPool(const KvLayout& layout, int64_t num_layers, int64_t num_pages);

  // Bytes of one page over all layers.
  static int64_t PageBytes(const KvLayout& layout, int64_t num_layers) {
    return layout.page_bytes() * num_layers;
  }

  int64_t num_pages() const { return num_pages_; }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }

  // Appends `count` zeroed pages to `pages`; false, changing nothing, where fewer are free. Which
  // pages come is a function of the calls before, so ranks that make the same calls get the same
  // pages.
  bool Allocate(int64_t count, std::vector<int32_t>& pages);
  // One more owner each.
  void Share(const std::vector<int32_t>& pages);
  // One owner less each; a page without owners is free.
  void Free(const std::vector<int32_t>& pages);

  bool IsShared(int32_t page) const { return num_owners_[static_cast<size_t>(page)] > 1; }
  // All layers of a page.
  void Copy(int32_t from, int32_t to);
  int64_t num_copies() const { return num_copies_; }

  KvView Layer(int64_t layer) const;

 private:
  KvLayout layout_;
  int64_t num_pages_;
  int64_t page_stride_bytes_;
  AlignedBuffer<std::byte> memory_;
  std::vector<int32_t> num_owners_;  // By page.
  int64_t num_copies_ = 0;
  std::vector<int32_t>
      free_;  // A stack: the page given back last is handed out first (it is warm).
};

// The slots of these positions in a list of pages.
std::vector<KvSlot> SlotsOf(const std::vector<int32_t>& pages,
                            const std::vector<int32_t>& positions);

}  // namespace tandem

#endif  // TANDEM_WORKER_MODEL_KV_POOL_H_
