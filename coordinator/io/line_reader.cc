#include "coordinator/io/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

constexpr size_t kChunk = size_t{256} << 10;
constexpr absl::string_view kByteOrderMark = "\xef\xbb\xbf";

absl::Status InputError(int error, absl::string_view name) {
  return WithExitCode(absl::ErrnoToStatus(error, absl::StrCat("cannot read the input ", name)),
                      ExitCode::kFile);
}

bool IsBlank(absl::string_view line) {
  return line.find_first_not_of(" \t\r") == absl::string_view::npos;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LineReader>> LineReader::Open(const std::string& path,
                                                             int64_t max_line_bytes) {
  if (path == "-") {
    return std::make_unique<LineReader>(STDIN_FILENO, false, "standard input", max_line_bytes);
  }
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return InputError(errno, path);
  auto reader = std::make_unique<LineReader>(fd, true, path, max_line_bytes);
  struct stat info = {};
  if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) return InputError(EISDIR, path);
  return reader;
}

LineReader::LineReader(int fd, bool owned, std::string name, int64_t max_line_bytes)
    : fd_(fd),
      owned_(owned),
      name_(std::move(name)),
      max_line_bytes_(static_cast<size_t>(std::max<int64_t>(max_line_bytes, 1))) {
  struct stat info = {};
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) total_bytes_ = info.st_size;
}

LineReader::~LineReader() {
  if (owned_) close(fd_);
}

absl::Status LineReader::ReadMore() {
  if (begin_ > 0) {
    std::copy(buffer_.begin() + static_cast<ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    scanned_ -= begin_;
    begin_ = 0;
  }
  // Grows by doubling, up to the longest line and one chunk: a limit far above what the lines need
  // costs nothing.
  if (buffer_.size() < end_ + kChunk) {
    buffer_.resize(std::min(std::max(end_ * 2, kChunk), max_line_bytes_ + 2) + kChunk);
  }
  ssize_t got = 0;
  do {
    got = read(fd_, buffer_.data() + end_, buffer_.size() - end_);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return InputError(errno, name_);
  if (got == 0) at_end_ = true;
  end_ += static_cast<size_t>(got);
  return absl::OkStatus();
}

absl::Status LineReader::FillLine() {
  scanned_ = begin_;
  while (true) {
    const void* newline =
        end_ > scanned_ ? std::memchr(buffer_.data() + scanned_, '\n', end_ - scanned_) : nullptr;
    if (newline != nullptr) {
      scanned_ = static_cast<size_t>(static_cast<const char*>(newline) - buffer_.data());
      return absl::OkStatus();
    }
    scanned_ = end_;
    // Two bytes more than the limit: "\r" and the proof that no "\n" follows it.
    if (at_end_ || end_ - begin_ > max_line_bytes_ + 1) return absl::OkStatus();
    TANDEM_RETURN_IF_ERROR(ReadMore());
  }
}

absl::StatusOr<InputLine> LineReader::SkipLongLine() {
  InputLine line;
  line.number = line_number_;
  line.too_long = true;
  char last = '\0';
  while (true) {
    // FillLine stopped at a newline (at scanned_), at the end, or with more than the limit.
    const bool at_newline = scanned_ < end_;
    if (scanned_ > begin_) last = buffer_[scanned_ - 1];
    line.bytes += static_cast<int64_t>(scanned_ - begin_);
    begin_ = scanned_ + (at_newline ? 1 : 0);
    if (at_newline || at_end_) {
      bytes_taken_ += line.bytes + (at_newline ? 1 : 0);
      if (at_newline && last == '\r') --line.bytes;
      return line;
    }
    TANDEM_RETURN_IF_ERROR(ReadMore());
    const void* newline =
        end_ > begin_ ? std::memchr(buffer_.data() + begin_, '\n', end_ - begin_) : nullptr;
    scanned_ = newline == nullptr
                   ? end_
                   : static_cast<size_t>(static_cast<const char*>(newline) - buffer_.data());
  }
}

absl::StatusOr<std::optional<InputLine>> LineReader::Next() {
  while (true) {
    TANDEM_RETURN_IF_ERROR(FillLine());
    if (begin_ == end_ && at_end_) return std::nullopt;
    ++line_number_;
    const bool at_newline = scanned_ < end_;
    absl::string_view text(buffer_.data() + begin_, scanned_ - begin_);
    if (line_number_ == 1 && absl::StartsWith(text, kByteOrderMark)) {
      begin_ += kByteOrderMark.size();
      bytes_taken_ += static_cast<int64_t>(kByteOrderMark.size());
      text.remove_prefix(kByteOrderMark.size());
    }
    const bool carriage_return = at_newline && !text.empty() && text.back() == '\r';
    if (text.size() - (carriage_return ? 1 : 0) > max_line_bytes_) {
      TANDEM_ASSIGN_OR_RETURN(InputLine line, SkipLongLine());
      return line;
    }
    bytes_taken_ += static_cast<int64_t>(text.size()) + (at_newline ? 1 : 0);
    begin_ = scanned_ + (at_newline ? 1 : 0);
    if (carriage_return) text.remove_suffix(1);
    if (IsBlank(text)) continue;
    return InputLine{
        .number = line_number_, .text = text, .bytes = static_cast<int64_t>(text.size())};
  }
}

}  // namespace tandem
