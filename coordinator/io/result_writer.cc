#include "coordinator/io/result_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "coordinator/io/folder_of.h"

namespace tandem {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;

absl::Status FileError(absl::Status status) {
  return WithExitCode(std::move(status), ExitCode::kFile);
}

bool SameFile(const std::string& path, const struct stat& output) {
  struct stat info = {};
  return !path.empty() && path != "-" && stat(path.c_str(), &info) == 0 &&
         info.st_dev == output.st_dev && info.st_ino == output.st_ino;
}

// Renames without replacing what may have come to `to` in the meantime, where the file system can.
int RenameTo(const std::string& from, const std::string& to, bool overwrite) {
  if (!overwrite) {
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    if (access(to.c_str(), F_OK) == 0) return EEXIST;
  }
  return rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

// fsync, where it means something: pipes and some file systems have none.
int SyncTo(int fd) {
  if (fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS) return 0;
  return errno;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ResultWriter>> ResultWriter::Open(
    const ResultWriterOptions& options) {
  // A reader that goes away must be an error of write(), not the end of the program.
  std::signal(SIGPIPE, SIG_IGN);
  std::unique_ptr<ResultWriter> writer(new ResultWriter);
  writer->options_ = options;
  if (options.path == "-") {
    writer->fd_ = STDOUT_FILENO;
    writer->direct_ = true;
    writer->file_ = "standard output";
  } else {
    TANDEM_RETURN_IF_ERROR(writer->OpenFile());
  }
  if (options.ordered) {
    writer->window_.resize(static_cast<size_t>(std::max<int64_t>(options.reorder_window, 1)));
  }
  return writer;
}

absl::Status ResultWriter::Check(const ResultWriterOptions& options) {
  struct stat info = {};
  if (options.path == "-" || stat(options.path.c_str(), &info) != 0) return absl::OkStatus();
  if (S_ISDIR(info.st_mode)) {
    return FileError(absl::FailedPreconditionError(
        absl::StrCat("the output ", options.path, " is a folder; give --output a file")));
  }
  if (SameFile(options.input, info)) {
    return FileError(absl::FailedPreconditionError(
        absl::StrCat("the output ", options.path, " is the input itself; give another --output")));
  }
  if (S_ISREG(info.st_mode) && !options.overwrite) {
    return FileError(absl::AlreadyExistsError(
        absl::StrCat("the output ", options.path,
                     " exists; give --overwrite to replace it, or another --output")));
  }
  return absl::OkStatus();
}

absl::Status ResultWriter::OpenFile() {
  TANDEM_RETURN_IF_ERROR(Check(options_));
  struct stat info = {};
  direct_ = stat(options_.path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  file_ = direct_ ? options_.path : options_.path + ".partial";
  fd_ = open(file_.c_str(), O_WRONLY | O_CLOEXEC | (direct_ ? 0 : O_CREAT), 0666);
  if (fd_ < 0) {
    return FileError(absl::ErrnoToStatus(errno, absl::StrCat("cannot write results to ", file_)));
  }
  if (direct_) return absl::OkStatus();
  const bool locked = flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  // A job that ended between our open and our lock took the name away: this is no longer the file.
  struct stat opened;
  if (!locked || fstat(fd_, &opened) != 0 || !SameFile(file_, opened)) {
    return FileError(absl::FailedPreconditionError(
        absl::StrCat("another job is writing ", file_, "; give another --output")));
  }
  // Only now that it is ours: what is in it is an unfinished job's.
  if (ftruncate(fd_, 0) != 0) return Failed("empty", errno);
  partial_is_ours_ = true;
  return absl::OkStatus();
}

ResultWriter::~ResultWriter() {
  if (fd_ < 0) return;
  Flush().IgnoreError();
  // Before close: with the lock goes the right to touch it.
  if (partial_is_ours_ && written_ == 0) unlink(file_.c_str());
  if (fd_ != STDOUT_FILENO) close(fd_);
}

absl::Status ResultWriter::Failed(absl::string_view what, int error) const {
  std::string message = absl::StrCat("cannot ", what, " ", file_);
  absl::Status status = absl::ErrnoToStatus(error, message);
  if (!direct_) {
    status = absl::Status(status.code(),
                          absl::StrCat(status.message(), " (the results so far are in it)"));
  }
  return FileError(std::move(status));
}

bool ResultWriter::MayAdmit(int64_t sequence) const {
  if (!options_.ordered || sequence == next_) return true;
  return sequence - next_ < static_cast<int64_t>(window_.size()) &&
         waiting_bytes_ < options_.reorder_bytes;
}

absl::Status ResultWriter::Write(int64_t sequence, std::string line) {
  if (!options_.ordered) {
    TANDEM_RETURN_IF_ERROR(Append(line));
    return fd_ == STDOUT_FILENO ? Flush() : absl::OkStatus();
  }
  const auto size = static_cast<int64_t>(window_.size());
  TANDEM_CHECK(sequence >= next_ && sequence - next_ < size);
  const auto slot = [&](int64_t i) -> std::optional<std::string>& {
    return window_[static_cast<size_t>(i % size)];
  };
  TANDEM_CHECK(!slot(sequence).has_value());
  if (sequence != next_) {
    ++waiting_;
    waiting_bytes_ += static_cast<int64_t>(line.size());
    slot(sequence) = std::move(line);
    return absl::OkStatus();
  }
  ++next_;
  TANDEM_RETURN_IF_ERROR(Append(line));
  for (; slot(next_).has_value(); ++next_) {
    --waiting_;
    waiting_bytes_ -= static_cast<int64_t>(slot(next_)->size());
    TANDEM_RETURN_IF_ERROR(Append(*slot(next_)));
    slot(next_).reset();
  }
  return fd_ == STDOUT_FILENO ? Flush() : absl::OkStatus();
}

absl::Status ResultWriter::Append(absl::string_view line) {
  if (options_.sink != nullptr) {
    ++written_;
    return line.empty() ? absl::OkStatus() : options_.sink->Add(line);
  }
  absl::StrAppend(&buffer_, line, "\n");
  ++written_;
  return buffer_.size() >= kBufferBytes ? Flush() : absl::OkStatus();
}

absl::Status ResultWriter::Flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t wrote = write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      const int error = errno;
      buffer_.erase(0, done);
      return Failed("write results to", error);
    }
    done += static_cast<size_t>(wrote);
  }
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status ResultWriter::Finish() {
  TANDEM_CHECK(waiting_ == 0);
  TANDEM_RETURN_IF_ERROR(Flush());
  if (options_.sink != nullptr) TANDEM_RETURN_IF_ERROR(options_.sink->Finish(fd_));
  if (fd_ == STDOUT_FILENO) return absl::OkStatus();
  if (const int error = SyncTo(fd_); error != 0) return Failed("write results to", error);
  if (!direct_) {
    // Before close: the lock is held until the name is the final one.
    const int error = RenameTo(file_, options_.path, options_.overwrite);
    if (error != 0) {
      return Failed(absl::StrCat("give the name ", options_.path, " to"), error);
    }
    const int directory = open(FolderOf(options_.path).c_str(), O_RDONLY | O_DIRECTORY);
    if (directory >= 0) {
      SyncTo(directory);  // The results are safe; at worst their name is still the partial one.
      close(directory);
    }
  }
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0 && errno != EINTR) return Failed("write results to", errno);
  return absl::OkStatus();
}

}  // namespace tandem
