// Bytes of a message and back: fixed-width little-endian fields, lengths before variable parts.
// Reading never goes past the end and allocates nothing that the bytes left cannot fill.
#ifndef TANDEM_COMMON_PROTOCOL_CODEC_H_
#define TANDEM_COMMON_PROTOCOL_CODEC_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace tandem {

static_assert(std::endian::native == std::endian::little, "the wire format is little-endian");

class ByteWriter {
 public:
  template <class T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    Append(&value, sizeof value);
  }
  template <class T>
  void PutVector(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    Put(static_cast<uint64_t>(values.size()));
    Append(values.data(), values.size() * sizeof(T));
  }
  void PutString(const std::string& text) {
    Put(static_cast<uint64_t>(text.size()));
    Append(text.data(), text.size());
  }
  void PutBytes(absl::Span<const std::byte> bytes) { Append(bytes.data(), bytes.size()); }

  std::vector<std::byte> Take() { return std::move(bytes_); }

 private:
  void Append(const void* data, size_t size);

  std::vector<std::byte> bytes_;
};

// Reads in the order of writing. The first read past the end, or a length that the rest cannot
// hold, makes every later read yield zeros; Finish() reports it.
class ByteReader {
 public:
  explicit ByteReader(absl::Span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  T Get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    Copy(&value, sizeof value);
    return value;
  }
  template <class T>
  std::vector<T> GetVector() {
    const auto count = Get<uint64_t>();
    if (count > (bytes_.size() - at_) / sizeof(T)) failed_ = true;
    if (failed_) return {};
    std::vector<T> values(count);
    Copy(values.data(), count * sizeof(T));
    return values;
  }
  std::string GetString() {
    const auto count = Get<uint64_t>();
    if (count > bytes_.size() - at_) failed_ = true;
    if (failed_) return {};
    std::string text(count, '\0');
    Copy(text.data(), count);
    return text;
  }
  // How many elements follow; checked to need at least `min_bytes` each.
  uint64_t GetCount(size_t min_bytes) {
    const auto count = Get<uint64_t>();
    if (count > (bytes_.size() - at_) / min_bytes) failed_ = true;
    return failed_ ? 0 : count;
  }
  // The next `size` bytes, borrowed from the message.
  absl::Span<const std::byte> GetBytes(size_t size) {
    if (size > bytes_.size() - at_) failed_ = true;
    if (failed_) return {};
    at_ += size;
    return bytes_.subspan(at_ - size, size);
  }
  size_t remaining() const { return bytes_.size() - at_; }

  // DATA_LOSS when a read failed or bytes are left over.
  absl::Status Finish() const {
    if (failed_) return absl::DataLossError("a message between ranks ends too early");
    if (at_ != bytes_.size()) return absl::DataLossError("a message between ranks is too long");
    return absl::OkStatus();
  }

 private:
  void Copy(void* to, size_t size) {
    if (size > bytes_.size() - at_) failed_ = true;
    if (failed_ || size == 0) return;
    std::memcpy(to, bytes_.data() + at_, size);
    at_ += size;
  }

  absl::Span<const std::byte> bytes_;
  size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_PROTOCOL_CODEC_H_
