#include "worker/model/kv_pool.h"

#include <cstring>

#include "common/base/check.h"

namespace tandem {

KvPool::KvPool(const KvLayout& layout, int64_t num_layers, int64_t num_pages)
    : layout_(layout),
      num_pages_(num_pages),
      page_stride_bytes_(PageBytes(layout, num_layers)),
      memory_(num_pages * page_stride_bytes_),
      num_owners_(static_cast<size_t>(num_pages), 0) {
  for (int64_t page = num_pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

bool KvPool::Allocate(int64_t count, std::vector<int32_t>& pages) {
  if (count > num_free()) return false;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t page = free_.back();
    free_.pop_back();
    std::memset(memory_.data() + page * page_stride_bytes_, 0,
                static_cast<size_t>(page_stride_bytes_));
    num_owners_[static_cast<size_t>(page)] = 1;
    pages.push_back(page);
  }
  return true;
}

void KvPool::Share(const std::vector<int32_t>& pages) {
  for (const int32_t page : pages) ++num_owners_[static_cast<size_t>(page)];
}

void KvPool::Free(const std::vector<int32_t>& pages) {
  for (const int32_t page : pages) {
    TANDEM_CHECK(page >= 0 && page < num_pages_);
    int32_t& owners = num_owners_[static_cast<size_t>(page)];
    TANDEM_CHECK(owners > 0);
    if (--owners == 0) free_.push_back(page);
  }
}

void KvPool::Copy(int32_t from, int32_t to) {
  ++num_copies_;
  std::memcpy(memory_.data() + to * page_stride_bytes_, memory_.data() + from * page_stride_bytes_,
              static_cast<size_t>(page_stride_bytes_));
}

KvView KvPool::Layer(int64_t layer) const {
  return {.layout = layout_,
          .base = memory_.data() + layer * layout_.page_bytes(),
          .page_stride_bytes = page_stride_bytes_};
}

std::vector<KvSlot> SlotsOf(const std::vector<int32_t>& pages,
                            const std::vector<int32_t>& positions) {
  std::vector<KvSlot> slots;
  slots.reserve(positions.size());
  for (const int32_t position : positions) {
    slots.push_back({.page = pages[static_cast<size_t>(position / kPageTokens)],
                     .slot = static_cast<int32_t>(position % kPageTokens)});
  }
  return slots;
}

}  // namespace tandem
