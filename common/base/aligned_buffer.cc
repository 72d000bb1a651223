#include "common/base/aligned_buffer.h"

#include <sys/mman.h>

#include "common/base/check.h"

namespace tandem {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;

}  // namespace

PageBuffer::PageBuffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const bool large = bytes >= 2 * kHugePage;
  const size_t unit = large ? kHugePage : kPage;
  const size_t rounded = (bytes + unit - 1) / unit * unit;
  // mmap aligns to 4 KiB only: for huge pages take one unit more and give back both ends.
  const size_t asked = large ? rounded + kHugePage : rounded;
  void* mapped = mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TANDEM_CHECK(mapped != MAP_FAILED);
  auto* begin = static_cast<std::byte*>(mapped);
  if (large) {
    const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (head > 0) munmap(begin, head);
    if (asked - head > rounded) munmap(begin + head + rounded, asked - head - rounded);
    begin += head;
    madvise(begin, rounded, MADV_HUGEPAGE);  // Advice: refused where the kernel has none.
  }
  data_ = begin;
  mapped_bytes_ = rounded;
}

void PageBuffer::Release() {
  if (data_ != nullptr) munmap(data_, mapped_bytes_);
  data_ = nullptr;
  bytes_ = mapped_bytes_ = 0;
}

}  // namespace tandem
