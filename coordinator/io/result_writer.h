// Writes result lines to a file, whole or not at all, in the order of the input or as they come.
#ifndef TANDEM_COORDINATOR_IO_RESULT_WRITER_H_
#define TANDEM_COORDINATOR_IO_RESULT_WRITER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tandem {

// Where results do not become lines: takes them in their order, and writes the file at the end.
class ResultSink {
 public:
  virtual ~ResultSink() = default;
  virtual absl::Status Add(absl::string_view result) = 0;
  virtual absl::Status Finish(int fd) = 0;
};

struct ResultWriterOptions {
  std::string path;   // "-": standard output.
  std::string input;  // The job's input; it must not be the same file. Empty or "-": not checked.
  bool overwrite = false;
  bool ordered = true;
  int64_t reorder_window = 4096;              // Results, >= 1.
  int64_t reorder_bytes = int64_t{32} << 20;  // Of results that wait for an earlier one.
  ResultSink* sink = nullptr;                 // Null: lines. An empty result is left out of a sink.
};

// Not thread-safe. Every error has exit code kFile and says where what was written lies.
//
// A file is written as PATH.partial (locked against a second job) and renamed by Finish. What is no
// regular file (a device, a pipe) is written to directly. An existing PATH is refused without
// `overwrite`.
class ResultWriter {
 public:
  // The part of Open's refusals that can be told without writing: the path is a folder, the input,
  // or a file that is not to be replaced.
  static absl::Status Check(const ResultWriterOptions& options);
  static absl::StatusOr<std::unique_ptr<ResultWriter>> Open(const ResultWriterOptions& options);
  // Without Finish: PATH.partial stays, with what was written; nothing, where nothing was.
  ~ResultWriter();
  ResultWriter(const ResultWriter&) = delete;
  ResultWriter& operator=(const ResultWriter&) = delete;

  // Requests are numbered from 0 in the order of the input, without gaps: every line that gets
  // a result is one, blank lines are none.
  //
  // Whether the request of this number may be admitted: its result would fit into the window.
  // Always true for the one whose result is due next, and with ordered = false.
  bool MayAdmit(int64_t sequence) const;

  // Takes the result of an admitted request, once each; `line` has no newline.
  absl::Status Write(int64_t sequence, std::string line);

  // Passes on what is buffered (standard output gets it with each Write that has something to
  // write).
  absl::Status Flush();

  // All results are there (TANDEM_CHECK): flush, fsync, rename.
  absl::Status Finish();

  int64_t written() const { return written_; }  // Results passed on, buffered ones too.
  int64_t waiting() const { return waiting_; }  // Results held for an earlier one.

 private:
  ResultWriter() = default;
  absl::Status OpenFile();
  absl::Status Append(absl::string_view line);
  absl::Status Failed(absl::string_view what, int error) const;

  ResultWriterOptions options_;
  int fd_ = -1;
  bool direct_ = false;           // No .partial: standard output, a device, a pipe.
  bool partial_is_ours_ = false;  // Locked and emptied.
  std::string file_;              // What is written to: PATH.partial, or PATH.
  std::string buffer_;
  std::vector<std::optional<std::string>> window_;  // Slot: sequence modulo its size.
  int64_t next_ = 0;                                // Ordered: the sequence whose result is due.
  int64_t written_ = 0;
  int64_t waiting_ = 0;
  int64_t waiting_bytes_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_RESULT_WRITER_H_
