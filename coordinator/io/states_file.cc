#include "coordinator/io/states_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/json_text.h"
#include "common/base/status_macros.h"
#include "coordinator/io/folder_of.h"

namespace tandem {
namespace {

// What Hugging Face's readers take, and ours.
constexpr int64_t kMaxHeaderBytes = 100'000'000;

int WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t wrote = write(fd, data, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return wrote < 0 ? errno : ENOSPC;
    data += wrote;
    size -= static_cast<size_t>(wrote);
  }
  return 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StatesFile>> StatesFile::Open(const std::string& output) {
  std::unique_ptr<StatesFile> file(new StatesFile(output));
  std::string name = absl::StrCat(FolderOf(output), "/tandem-states-XXXXXX");
  file->fd_ = mkostemp(name.data(), O_CLOEXEC);
  if (file->fd_ < 0) return file->Failed("keep states beside", errno);
  unlink(name.c_str());  // Gone with this process, however it ends.
  return file;
}

StatesFile::~StatesFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status StatesFile::Failed(absl::string_view what, int error) const {
  return WithExitCode(absl::ErrnoToStatus(error, absl::StrCat("cannot ", what, " ", output_)),
                      ExitCode::kFile);
}

// rows and the name's length, the name, the data.
std::string StatesFile::Encode(absl::string_view name, int64_t rows, absl::Span<const float> data) {
  const std::array<int64_t, 2> sizes = {rows, static_cast<int64_t>(name.size())};
  std::string out(sizeof sizes, '\0');
  std::memcpy(out.data(), sizes.data(), sizeof sizes);
  out.append(name.data(), name.size());
  out.append(reinterpret_cast<const char*>(data.data()), data.size() * sizeof(float));
  return out;
}

absl::Status StatesFile::Add(absl::string_view result) {
  std::array<int64_t, 2> sizes;
  std::memcpy(sizes.data(), result.data(), sizeof sizes);
  result.remove_prefix(sizeof sizes);
  const absl::string_view name = result.substr(0, static_cast<size_t>(sizes[1]));
  result.remove_prefix(name.size());
  const auto bytes = static_cast<int64_t>(result.size());
  const int64_t rows = sizes[0];
  header_.append(header_.empty() ? "{" : ",");
  AppendJsonString(name, &header_);
  absl::StrAppend(&header_, ":{\"dtype\":\"F32\",\"shape\":[", rows, ",",
                  bytes / 4 / (rows > 0 ? rows : 1), "],\"data_offsets\":[", num_bytes_, ",",
                  num_bytes_ + bytes, "]}");
  if (header_.size() >= static_cast<size_t>(kMaxHeaderBytes)) {
    return WithExitCode(
        absl::ResourceExhaustedError(absl::StrCat(
            output_, " would need a header of more than ", WithCommas(kMaxHeaderBytes),
            " bytes, which readers of safetensors refuse; divide the input among several runs")),
        ExitCode::kFile);
  }
  num_bytes_ += bytes;
  const int error = WriteAll(fd_, result.data(), result.size());
  return error == 0 ? absl::OkStatus() : Failed("keep states beside", error);
}

absl::Status StatesFile::Finish(int fd) {
  std::string header = header_.empty() ? "{}" : absl::StrCat(header_, "}");
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t size = header.size();
  std::string start(sizeof size, '\0');
  std::memcpy(start.data(), &size, sizeof size);
  start += header;
  int error = WriteAll(fd, start.data(), start.size());
  std::string block(size_t{1} << 20, '\0');
  for (int64_t at = 0; error == 0 && at < num_bytes_;) {
    const ssize_t got = pread(fd_, block.data(), block.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Failed("read the states kept beside", got < 0 ? errno : EIO);
    error = WriteAll(fd, block.data(), static_cast<size_t>(got));
    at += got;
  }
  return error == 0 ? absl::OkStatus() : Failed("write", error);
}

}  // namespace tandem
