// Owned memory for numbers: 64-byte aligned (2 MiB with huge pages advised when large), zeroed.
#ifndef TANDEM_COMMON_BASE_ALIGNED_BUFFER_H_
#define TANDEM_COMMON_BASE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <utility>

namespace tandem {

// Anonymous pages: untouched ones cost no memory, and the thread that first writes a page decides
// the NUMA node it lies on. Allocation failure ends the program (TANDEM_CHECK).
class PageBuffer {
 public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes);
  ~PageBuffer() { Release(); }
  PageBuffer(PageBuffer&& other) noexcept { *this = std::move(other); }
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
    return *this;
  }
  PageBuffer(const PageBuffer&) = delete;
  PageBuffer& operator=(const PageBuffer&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void Release();

  void* data_ = nullptr;
  size_t bytes_ = 0;
  size_t mapped_bytes_ = 0;
};

// `count` elements of T, all zero bytes.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t count)
      : pages_(static_cast<size_t>(count) * sizeof(T)), count_(count) {}

  T* data() const { return static_cast<T*>(pages_.data()); }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) const { return data()[i]; }
  // Makes room for at least `count` elements; what was in it is lost when it grows.
  void Reserve(int64_t count) {
    if (count > count_) *this = AlignedBuffer(count);
  }

 private:
  PageBuffer pages_;
  int64_t count_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_BASE_ALIGNED_BUFFER_H_
