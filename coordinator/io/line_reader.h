// Lines of a file or of standard input as a stream, in bounded memory.
#ifndef TANDEM_COORDINATOR_IO_LINE_READER_H_
#define TANDEM_COORDINATOR_IO_LINE_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tandem {

struct InputLine {
  int64_t number = 0;      // From 1; blank lines are counted.
  absl::string_view text;  // Without "\n" or "\r\n"; valid until the next call. Empty if too long.
  int64_t bytes = 0;       // Of the line, without its end.
  bool too_long = false;   // More than max_line_bytes: it was read past.
};

class LineReader {
 public:
  // "-" is standard input. NOT_FOUND, PERMISSION_DENIED and the like with the path and what to do;
  // exit code kFile.
  static absl::StatusOr<std::unique_ptr<LineReader>> Open(const std::string& path,
                                                          int64_t max_line_bytes);
  // Reads from a descriptor, which it closes if `owned`. `name` is for messages.
  LineReader(int fd, bool owned, std::string name, int64_t max_line_bytes);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line that is not blank (blank: nothing but spaces, tabs and carriage returns); none at
  // the end. A last line needs no newline. A byte order mark at the very beginning is dropped.
  // Memory: the longest line so far, at most max_line_bytes, and 256 KiB.
  absl::StatusOr<std::optional<InputLine>> Next();

  int64_t lines_read() const { return line_number_; }  // Blank ones too.
  int64_t bytes_read() const { return bytes_taken_; }  // Of the lines given out so far.
  // Of a regular file; -1 where it is not known (a pipe).
  int64_t total_bytes() const { return total_bytes_; }
  const std::string& name() const { return name_; }

 private:
  // Makes sure that a whole line (or the end of the input, or more than the limit) is in the
  // buffer.
  absl::Status FillLine();
  absl::Status ReadMore();
  absl::StatusOr<InputLine> SkipLongLine();

  int fd_ = -1;
  bool owned_ = false;
  std::string name_;
  size_t max_line_bytes_ = 0;
  std::vector<char> buffer_;
  size_t begin_ = 0;    // Of the current line.
  size_t scanned_ = 0;  // No newline in [begin_, scanned_).
  size_t end_ = 0;      // Of what was read.
  bool at_end_ = false;
  int64_t line_number_ = 0;
  int64_t bytes_taken_ = 0;
  int64_t total_bytes_ = -1;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_LINE_READER_H_
