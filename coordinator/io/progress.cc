#include "coordinator/io/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/json_text.h"
#include "common/base/log.h"

namespace tandem {
namespace {

constexpr absl::Duration kBarInterval = absl::Milliseconds(200);
constexpr absl::Duration kLineInterval = absl::Seconds(10);
constexpr absl::string_view kEraseLine = "\r\x1b[K";
constexpr int kMaxBarCells = 30;

void WriteToStderr(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(STDERR_FILENO, text.data(), text.size());
    if (wrote <= 0) return;  // A progress bar is not worth an error.
    text.remove_prefix(static_cast<size_t>(wrote));
  }
}

// 45.2, 0.031, 1,234: three digits, for a rate.
std::string RateText(double rate) {
  if (rate >= 100.0) return WithCommas(std::llround(rate));
  const int decimals = rate >= 10.0 ? 1 : rate >= 1.0 ? 2 : 3;
  return absl::StrFormat("%.*f", decimals, rate);
}

// 0:07, 2:13, 1:02:03.
std::string ClockText(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration + absl::Milliseconds(500));
  if (seconds < 3600) return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

// Finished of all, from 0 to 1.
double Share(const ProgressState& state) {
  if (state.total <= 0) return 0.0;
  return std::min(1.0, static_cast<double>(state.finished) / static_cast<double>(state.total));
}

// Whole percents, rounded down: 100% is said when all is done.
int Percent(const ProgressState& state) { return static_cast<int>(Share(state) * 100.0); }

std::string CountText(const ProgressState& state) {
  if (state.total <= 0) return absl::StrCat(WithCommas(state.finished), " requests");
  return absl::StrCat(WithCommas(state.finished), " of ", state.total_is_estimate ? "about " : "",
                      WithCommas(std::max(state.total, state.finished)), " requests");
}

// What stands behind the count: failed, rates, time left.
std::string RestText(const ProgressState& state, absl::Duration elapsed) {
  std::string out;
  if (state.failed > 0) absl::StrAppend(&out, ", ", WithCommas(state.failed), " failed");
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (seconds <= 0.0 || state.finished == 0) return out;
  const double rate = static_cast<double>(state.finished) / seconds;
  absl::StrAppend(&out, ", ", RateText(rate), " requests/s, ",
                  RateText(static_cast<double>(state.tokens) / seconds), " tokens/s");
  if (state.total > state.finished) {
    const double left = static_cast<double>(state.total - state.finished) / rate;
    absl::StrAppend(&out, ", ", ClockText(absl::Seconds(left)), " left");
  }
  return out;
}

}  // namespace

std::string ProgressText(const ProgressState& state, absl::Duration elapsed) {
  std::string out = CountText(state);
  if (state.total > 0) absl::StrAppend(&out, " (", Percent(state), "%)");
  return out + RestText(state, elapsed);
}

ProgressOptions ProgressForStderr(bool quiet) {
  ProgressOptions options;
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal != nullptr && absl::string_view(terminal) == "dumb";
  const bool bar = isatty(STDERR_FILENO) != 0 && !dumb;
  options.style = quiet ? ProgressOptions::Style::kNone
                  : bar ? ProgressOptions::Style::kBar
                        : ProgressOptions::Style::kLines;
  const char* no_color = std::getenv("NO_COLOR");
  options.color = bar && (no_color == nullptr || *no_color == '\0');
  struct winsize size = {};
  if (bar && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    options.width = size.ws_col;
  }
  return options;
}

Progress::Progress(ProgressOptions options) : options_(std::move(options)) {
  if (!options_.now) options_.now = absl::Now;
  if (!options_.bar) options_.bar = WriteToStderr;
  if (!options_.line) options_.line = LogInfo;
  start_ = last_ = options_.now();
  if (options_.style == ProgressOptions::Style::kBar) {
    SetBeforeLog([this] {
      const std::lock_guard<std::mutex> lock(mutex_);
      EraseBar();
    });
  }
}

Progress::~Progress() {
  if (options_.style != ProgressOptions::Style::kBar) return;
  SetBeforeLog(nullptr);
  const std::lock_guard<std::mutex> lock(mutex_);
  EraseBar();
}

void Progress::EraseBar() {
  if (bar_shown_) options_.bar(kEraseLine);
  bar_shown_ = false;
}

void Progress::DrawBar(const std::string& text) {
  options_.bar(absl::StrCat(kEraseLine, text));
  bar_shown_ = true;
}

// "[=====>    ] 50% 5 of 10 requests, ...", cut to the terminal's width: a longer line would wrap,
// and could not be erased.
std::string Progress::BarText(const ProgressState& state, absl::Duration elapsed) const {
  const std::string words = CountText(state) + RestText(state, elapsed);
  const int width = std::max(options_.width - 1, 1);
  if (state.total <= 0) return words.substr(0, static_cast<size_t>(width));
  const std::string percent = absl::StrFormat("%3d%% ", Percent(state));
  const int room = width - static_cast<int>(words.size() + percent.size()) - 3;
  const int cells = std::min(room, kMaxBarCells);
  if (cells < 5) return (percent + words).substr(0, static_cast<size_t>(width));
  const auto full = static_cast<size_t>(Share(state) * cells);
  const std::string done(full, '=');
  const std::string rest(static_cast<size_t>(cells) - full, ' ');
  return absl::StrCat("[", options_.color ? "\x1b[32m" : "", done, options_.color ? "\x1b[0m" : "",
                      rest, "] ", percent, words);
}

void Progress::Update(const ProgressState& state) {
  if (options_.style == ProgressOptions::Style::kNone) return;
  const bool bar = options_.style == ProgressOptions::Style::kBar;
  std::string line;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const absl::Time now = options_.now();
    if (finished_ || now - last_ < (bar ? kBarInterval : kLineInterval)) return;
    last_ = now;
    if (bar) return DrawBar(BarText(state, now - start_));
    line = ProgressText(state, now - start_);
  }
  options_.line(line);
}

void Progress::Finish(const ProgressState& state) {
  if (options_.style == ProgressOptions::Style::kNone) return;
  std::string line;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (std::exchange(finished_, true)) return;
    EraseBar();
    line = ProgressText(state, options_.now() - start_);
  }
  options_.line(line);
}

StatusLine::StatusLine(absl::string_view text, ProgressOptions options)
    : options_(std::move(options)) {
  if (options_.style != ProgressOptions::Style::kBar) return;
  if (!options_.bar) options_.bar = WriteToStderr;
  SetBeforeLog([this] { Erase(); });
  const std::lock_guard<std::mutex> lock(mutex_);
  // One column less than there are: in the last one the cursor would wrap.
  const auto width = static_cast<size_t>(std::max(options_.width - 1, 0));
  options_.bar(absl::StrCat(kEraseLine, text.substr(0, width)));
  shown_ = true;
}

StatusLine::~StatusLine() {
  if (options_.style != ProgressOptions::Style::kBar) return;
  SetBeforeLog(nullptr);
  Erase();
}

void StatusLine::Erase() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (shown_) options_.bar(kEraseLine);
  shown_ = false;
}

}  // namespace tandem
