// Reads the wire format of protocol buffers, field by field, from bytes that nobody vouches for.
#ifndef TANDEM_COMMON_TEXT_WIRE_READER_H_
#define TANDEM_COMMON_TEXT_WIRE_READER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"

namespace tandem {

// Usage: while (reader.Next()) switch (reader.field()) ...; then ok() tells whether the end was
// reached in good order. Nothing is copied: bytes() points into the message.
class WireReader {
 public:
  enum class Type : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  // `offset` is where the message begins in its file.
  explicit WireReader(absl::string_view message, size_t offset = 0)
      : message_(message), offset_(offset) {}

  // The next field; false at the end and after damage.
  bool Next() {
    begin_ = position_;
    if (!ok_ || position_ == message_.size()) return false;
    uint64_t tag = 0;
    if (!ReadVarint(&tag)) return ok_ = false;
    field_ = tag >> 3;
    type_ = static_cast<Type>(tag & 7);
    if (field_ == 0 || field_ > kMaxField) return ok_ = false;
    switch (type_) {
      case Type::kVarint:
        return ok_ = ReadVarint(&varint_);
      case Type::kFixed64:
        return ok_ = Take(8);
      case Type::kFixed32:
        return ok_ = Take(4);
      case Type::kBytes: {
        uint64_t size = 0;
        return ok_ = ReadVarint(&size) && size <= message_.size() && Take(size);
      }
    }
    return ok_ = false;  // Groups, which no field here is.
  }

  bool ok() const { return ok_; }
  uint64_t field() const { return field_; }
  Type type() const { return type_; }
  size_t field_offset() const { return offset_ + begin_; }  // In the file.
  uint64_t varint() const { return varint_; }
  absl::string_view bytes() const { return bytes_; }
  size_t bytes_offset() const {  // In the file.
    return offset_ + static_cast<size_t>(bytes_.data() - message_.data());
  }
  float fixed32_as_float() const {
    float value;
    std::memcpy(&value, bytes_.data(), sizeof(value));
    return value;
  }

 private:
  static constexpr uint64_t kMaxField = (uint64_t{1} << 29) - 1;

  bool ReadVarint(uint64_t* value) {
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (position_ == message_.size()) return false;
      const auto byte = static_cast<uint8_t>(message_[position_++]);
      result |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) {
        *value = result;
        return true;
      }
    }
    return false;
  }

  bool Take(uint64_t size) {
    if (size > message_.size() - position_) return false;
    bytes_ = message_.substr(position_, size);
    position_ += size;
    return true;
  }

  absl::string_view message_;
  size_t offset_;
  size_t position_ = 0;
  size_t begin_ = 0;
  bool ok_ = true;
  uint64_t field_ = 0;
  Type type_ = Type::kVarint;
  uint64_t varint_ = 0;
  absl::string_view bytes_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_WIRE_READER_H_
