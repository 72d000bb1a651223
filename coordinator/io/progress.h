// Shows how far a job is: a bar on a terminal, a line every ten seconds elsewhere, nothing when
// quiet.
#ifndef TANDEM_COORDINATOR_IO_PROGRESS_H_
#define TANDEM_COORDINATOR_IO_PROGRESS_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace tandem {

struct ProgressState {
  int64_t finished = 0;  // Failed ones too.
  int64_t failed = 0;
  int64_t tokens = 0;  // Of the answers so far.
  int64_t total = 0;   // 0: not known.
  bool total_is_estimate = false;
};

// All of the outside world, for tests.
struct ProgressOptions {
  enum class Style : uint8_t { kNone, kLines, kBar };
  Style style = Style::kLines;
  bool color = false;
  int width = 80;                               // Of the terminal.
  std::function<absl::Time()> now;              // Empty: absl::Now.
  std::function<void(absl::string_view)> bar;   // Takes a bar's characters; empty: standard error.
  std::function<void(absl::string_view)> line;  // Takes a plain line; empty: LogInfo.
};

// What standard error is: a bar where it is a terminal (with color unless NO_COLOR is set), lines
// where it is not or TERM is "dumb", none with `quiet`.
ProgressOptions ProgressForStderr(bool quiet);

// While a bar is shown, log lines take it off first (SetBeforeLog). Thread-safe. One at a time.
class Progress {
 public:
  explicit Progress(ProgressOptions options);  // The clock starts.
  ~Progress();                                 // Takes an unfinished bar off.
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Cheap; draws at most five times a second, or one line every ten seconds. To be called now and
  // then even when nothing happens.
  void Update(const ProgressState& state);

  // The last word: a full line.
  void Finish(const ProgressState& state);

 private:
  void EraseBar();
  void DrawBar(const std::string& text);
  std::string BarText(const ProgressState& state, absl::Duration elapsed) const;

  ProgressOptions options_;
  std::mutex mutex_;
  absl::Time start_;
  absl::Time last_;  // When something was shown.
  bool bar_shown_ = false;
  bool finished_ = false;
};

// A word on what takes its time before there is progress to show ("loading DIR"), on a terminal
// alone: a log line takes it off, and so does the end of its life. Not beside a Progress.
class StatusLine {
 public:
  StatusLine(absl::string_view text, ProgressOptions options);
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

 private:
  void Erase();

  ProgressOptions options_;
  std::mutex mutex_;
  bool shown_ = false;
};

// "1,234 of 10,000 requests (12%), 3 failed, 45.2 requests/s, 1,234 tokens/s, 2:13 left".
std::string ProgressText(const ProgressState& state, absl::Duration elapsed);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_PROGRESS_H_
