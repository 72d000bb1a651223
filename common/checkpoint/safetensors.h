// Safetensors files: opened for piecewise reading, read whole, and written.
#ifndef TANDEM_COMMON_CHECKPOINT_SAFETENSORS_H_
#define TANDEM_COMMON_CHECKPOINT_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/check.h"
#include "common/checkpoint/safetensors_header.h"
#include "common/tensor/dtype.h"

namespace tandem {

// Owns a file descriptor.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  ~FileHandle();
  FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

// An open file whose header was checked. Its data is not read.
class SafetensorsFile {
 public:
  // NOT_FOUND, DATA_LOSS; the path is in the message.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const SafetensorsHeader& header() const { return header_; }
  // Prefix and header as they lie in the file.
  const std::string& header_bytes() const { return header_bytes_; }
  int64_t file_bytes() const { return file_bytes_; }
  int fd() const { return file_.fd(); }

  // Reads [begin, begin + size) of the file. DATA_LOSS when it has become shorter.
  absl::Status ReadAt(int64_t begin, int64_t size, void* out) const;
  // DATA_LOSS when the file no longer has the length it was opened with.
  absl::Status CheckLength() const;

 private:
  std::string path_;
  FileHandle file_;
  int64_t file_bytes_ = 0;
  std::string header_bytes_;
  SafetensorsHeader header_;
};

// A whole tensor in memory.
struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  int64_t num_elements() const { return static_cast<int64_t>(bytes.size()) / SizeOf(dtype); }
  // T must be as wide as dtype.
  template <class T>
  absl::Span<const T> As() const {
    TANDEM_CHECK(sizeof(T) == static_cast<size_t>(SizeOf(dtype)));
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

// All tensors of a file by name, for files that fit in memory. Types without a DType are left out.
absl::StatusOr<std::map<std::string, HostTensor>> ReadSafetensors(const std::string& path);

struct SafetensorsSpec {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

// Writes a file piece by piece: every tensor is declared first, its bytes come later in any order.
// The same declarations and bytes give the same file. It is PATH.partial until Finish; what was not
// finished is removed. Errors: RESOURCE_EXHAUSTED (disk full), others as the system reports them.
class SafetensorsWriter {
 public:
  // The data lies in the order of element size, largest first, then of names, so that every tensor
  // is aligned.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, std::vector<SafetensorsSpec> tensors,
      const std::map<std::string, std::string>& metadata = {});
  ~SafetensorsWriter();

  // The declarations, in the order of the data: filling them in this order writes sequentially.
  const std::vector<SafetensorsSpec>& tensors() const { return tensors_; }
  // Bytes of tensor `name` from `offset` on. No byte may be written twice.
  absl::Status Write(absl::string_view name, int64_t offset, absl::Span<const std::byte> bytes);
  // Makes the file durable and gives it its name. Every byte must have been written.
  absl::Status Finish();

 private:
  struct Extent {
    int64_t begin = 0;
    int64_t size = 0;
  };
  SafetensorsWriter() = default;
  absl::Status WriteAt(int64_t position, absl::Span<const std::byte> bytes);

  std::string path_;
  std::string partial_path_;
  FileHandle file_;
  std::vector<SafetensorsSpec> tensors_;
  absl::flat_hash_map<std::string, Extent> extents_;
  int64_t missing_bytes_ = 0;
  bool finished_ = false;
};

// Writes whole tensors. As above.
absl::Status WriteSafetensors(const std::string& path,
                              const std::map<std::string, HostTensor>& tensors);

}  // namespace tandem

#endif  // TANDEM_COMMON_CHECKPOINT_SAFETENSORS_H_
