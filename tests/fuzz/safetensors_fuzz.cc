// Any bytes as a safetensors file: the header is refused, or describes tensors that fill the file.
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/checkpoint/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view file(reinterpret_cast<const char*>(data), size);
  const auto file_bytes = static_cast<int64_t>(size);
  const absl::StatusOr<int64_t> header_bytes =
      tandem::SafetensorsHeaderBytes(file.substr(0, tandem::kSafetensorsPrefixBytes), file_bytes);
  if (!header_bytes.ok()) return 0;
  const absl::StatusOr<tandem::SafetensorsHeader> header = tandem::ParseSafetensorsHeader(
      file.substr(tandem::kSafetensorsPrefixBytes, static_cast<size_t>(*header_bytes)), file_bytes);
  if (!header.ok()) return 0;
  int64_t at = tandem::kSafetensorsPrefixBytes + *header_bytes;
  for (const tandem::SafetensorsEntry& entry : header->tensors) {
    TANDEM_CHECK(entry.begin == at && entry.begin <= entry.end && entry.end <= file_bytes);
    for (const int64_t dim : entry.shape) TANDEM_CHECK(dim >= 0);
    at = entry.end;
  }
  TANDEM_CHECK(at == file_bytes);
  return 0;
}
