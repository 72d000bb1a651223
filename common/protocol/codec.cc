#include "common/protocol/codec.h"

namespace tandem {

// Out of line: inlined for small constant sizes, g++ 12 warns falsely of writes past the end.
void ByteWriter::Append(const void* data, size_t size) {
  if (size == 0) return;
  const size_t begin = bytes_.size();
  bytes_.resize(begin + size);
  std::memcpy(bytes_.data() + begin, data, size);
}

}  // namespace tandem
