#include "common/checkpoint/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace tandem {
namespace {

absl::Status SystemError(const std::string& path, absl::string_view doing) {
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": ", doing));
}

// The kernel takes at most about 2 GiB a call.
constexpr int64_t kMaxTransferBytes = int64_t{1} << 30;

absl::StatusOr<int64_t> FileBytes(const std::string& path, int fd) {
  struct stat info = {};
  if (fstat(fd, &info) != 0) return SystemError(path, "cannot be examined");
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  }
  return int64_t{info.st_size};
}

}  // namespace

FileHandle::~FileHandle() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  SafetensorsFile file;
  file.path_ = path;
  // O_NONBLOCK: a pipe of this name is refused below, not waited for.
  file.file_ = FileHandle(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd() < 0) {
    const int error = errno;
    if (error == ENOENT) {
      return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(error)));
    }
    return SystemError(path, "cannot be opened");
  }
  TANDEM_ASSIGN_OR_RETURN(file.file_bytes_, FileBytes(path, file.fd()));
  const auto parse = [&file]() -> absl::Status {
    std::string& bytes = file.header_bytes_;
    bytes.resize(static_cast<size_t>(std::min(file.file_bytes_, kSafetensorsPrefixBytes)));
    TANDEM_RETURN_IF_ERROR(file.ReadAt(0, static_cast<int64_t>(bytes.size()), bytes.data()));
    TANDEM_ASSIGN_OR_RETURN(const int64_t size, SafetensorsHeaderBytes(bytes, file.file_bytes_));
    bytes.resize(static_cast<size_t>(kSafetensorsPrefixBytes + size));
    TANDEM_RETURN_IF_ERROR(
        file.ReadAt(kSafetensorsPrefixBytes, size, bytes.data() + kSafetensorsPrefixBytes));
    const auto text = absl::string_view(bytes).substr(static_cast<size_t>(kSafetensorsPrefixBytes));
    TANDEM_ASSIGN_OR_RETURN(file.header_, ParseSafetensorsHeader(text, file.file_bytes_));
    return absl::OkStatus();
  };
  const absl::Status parsed = parse();
  if (!parsed.ok()) return Annotate(parsed, path);
  return file;
}

absl::Status SafetensorsFile::ReadAt(int64_t begin, int64_t size, void* out) const {
  auto* bytes = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got =
        pread(fd(), bytes, static_cast<size_t>(std::min(size, kMaxTransferBytes)), begin);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(path_, "cannot be read");
    if (got == 0) {
      return absl::DataLossError(absl::StrCat(path_, ": ends at byte ", begin, ", it was ",
                                              file_bytes_, " bytes long when it was opened"));
    }
    bytes += got;
    begin += got;
    size -= got;
  }
  return absl::OkStatus();
}

absl::Status SafetensorsFile::CheckLength() const {
  TANDEM_ASSIGN_OR_RETURN(const int64_t bytes, FileBytes(path_, fd()));
  if (bytes == file_bytes_) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path_, ": has ", bytes, " bytes, it was ", file_bytes_,
                                          " bytes long when it was opened"));
}

absl::StatusOr<std::map<std::string, HostTensor>> ReadSafetensors(const std::string& path) {
  TANDEM_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  std::map<std::string, HostTensor> tensors;
  for (const SafetensorsEntry& entry : file.header().tensors) {
    if (!entry.dtype) continue;
    HostTensor tensor{*entry.dtype, entry.shape, {}};
    tensor.bytes.resize(static_cast<size_t>(entry.end - entry.begin));
    TANDEM_RETURN_IF_ERROR(file.ReadAt(entry.begin, entry.end - entry.begin, tensor.bytes.data()));
    tensors.emplace(entry.name, std::move(tensor));
  }
  return tensors;
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, std::vector<SafetensorsSpec> tensors,
    const std::map<std::string, std::string>& metadata) {
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter);
  writer->path_ = path;
  writer->partial_path_ = path + ".partial";
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsSpec& a, const SafetensorsSpec& b) {
    return std::make_tuple(-SizeOf(a.dtype), absl::string_view(a.name)) <
           std::make_tuple(-SizeOf(b.dtype), absl::string_view(b.name));
  });
  writer->tensors_ = std::move(tensors);

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t data_bytes = 0;
  for (const SafetensorsSpec& tensor : writer->tensors_) {
    int64_t bytes = SizeOf(tensor.dtype);
    for (const int64_t size : tensor.shape) {
      TANDEM_CHECK(size >= 0 && !__builtin_mul_overflow(bytes, size, &bytes));
    }
    TANDEM_CHECK(writer->extents_.emplace(tensor.name, Extent{data_bytes, bytes}).second);
    header[tensor.name] = {{"dtype", NameOf(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {data_bytes, data_bytes + bytes}}};
    data_bytes += bytes;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // The data is aligned for every type.
  const uint64_t header_bytes = text.size();
  std::string prefix(sizeof(header_bytes), '\0');
  std::memcpy(prefix.data(), &header_bytes, sizeof(header_bytes));
  text.insert(0, prefix);
  for (auto& [name, extent] : writer->extents_) extent.begin += static_cast<int64_t>(text.size());
  writer->missing_bytes_ = data_bytes;

  writer->file_ = FileHandle(
      open(writer->partial_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (writer->file_.fd() < 0) return SystemError(writer->partial_path_, "cannot be created");
  TANDEM_RETURN_IF_ERROR(
      writer->WriteAt(0, {reinterpret_cast<const std::byte*>(text.data()), text.size()}));
  return writer;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (!finished_ && file_.fd() >= 0) unlink(partial_path_.c_str());
}

absl::Status SafetensorsWriter::WriteAt(int64_t position, absl::Span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        pwrite(file_.fd(), bytes.data(),
               std::min(bytes.size(), static_cast<size_t>(kMaxTransferBytes)), position);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return SystemError(partial_path_, "cannot be written");
    bytes.remove_prefix(static_cast<size_t>(put));
    position += put;
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Write(absl::string_view name, int64_t offset,
                                      absl::Span<const std::byte> bytes) {
  const auto it = extents_.find(name);
  TANDEM_CHECK(it != extents_.end());
  const auto size = static_cast<int64_t>(bytes.size());
  TANDEM_CHECK(offset >= 0 && offset <= it->second.size && size <= it->second.size - offset);
  missing_bytes_ -= size;
  return WriteAt(it->second.begin + offset, bytes);
}

absl::Status SafetensorsWriter::Finish() {
  TANDEM_CHECK(missing_bytes_ == 0 && !finished_);
  if (fsync(file_.fd()) != 0) return SystemError(partial_path_, "cannot be made durable");
  if (rename(partial_path_.c_str(), path_.c_str()) != 0) {
    return SystemError(path_, "cannot be given its name");
  }
  finished_ = true;
  return absl::OkStatus();
}

absl::Status WriteSafetensors(const std::string& path,
                              const std::map<std::string, HostTensor>& tensors) {
  std::vector<SafetensorsSpec> specs;
  specs.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) specs.push_back({name, tensor.dtype, tensor.shape});
  TANDEM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer,
                          SafetensorsWriter::Create(path, std::move(specs)));
  for (const SafetensorsSpec& spec : writer->tensors()) {
    TANDEM_RETURN_IF_ERROR(writer->Write(spec.name, 0, tensors.at(spec.name).bytes));
  }
  return writer->Finish();
}

}  // namespace tandem
