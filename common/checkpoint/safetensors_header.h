// The header of a safetensors file, checked: which tensor lies where. A pure function on bytes.
//
// Format: a little-endian uint64, the header's length; the header, a JSON object that maps each
// name to {"dtype", "shape", "data_offsets": [begin, end]}, padded with blanks; the data. The
// tensors fill the data without holes or overlaps. Source: huggingface/safetensors, tensor.rs.
// Stricter here: no name twice, at most 100,000 tensors, 16 dimensions and names of 1,024 bytes.
#ifndef TANDEM_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_
#define TANDEM_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tensor/dtype.h"

namespace tandem {

inline constexpr int64_t kSafetensorsPrefixBytes = 8;
inline constexpr int64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct SafetensorsEntry {
  std::string name;
  std::string dtype_name;  // As the file has it.
  std::optional<DType>
      dtype;  // None for known types that nothing here computes with (F8_E4M3, ...).
  std::vector<int64_t> shape;
  int64_t begin = 0;  // Bytes from the start of the file.
  int64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  // In the order of their data.
  std::map<std::string, std::string> metadata;
};

// The header's length from the first 8 bytes of a file of `file_bytes`. DATA_LOSS where it cannot
// be.
absl::StatusOr<int64_t> SafetensorsHeaderBytes(absl::string_view prefix, int64_t file_bytes);

// `text`: the bytes after the prefix, of that length. DATA_LOSS says what is wrong and with which
// tensor.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view text,
                                                         int64_t file_bytes);

}  // namespace tandem

#endif  // TANDEM_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_
