#include "common/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/exit_code.h"
#include "common/base/json_text.h"

namespace tandem {
namespace {

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kTrace:
      return spdlog::level::trace;
  }
  return spdlog::level::info;
}

// The one place of logs: every thread of the process writes to the same standard error.
struct LogState {
  LogState() : logger("tandem", std::make_shared<spdlog::sinks::stderr_sink_st>()) {
    // Lines are put together here: spdlog's patterns escape nothing.
    logger.set_pattern("%v");
    options.host = HostName();
  }
  std::mutex mutex;  // Guards all below; the sink has none of its own.
  LogOptions options;
  spdlog::logger logger;
  std::function<void()> before;
};

LogState& State() {
  static auto* state = new LogState;  // Never destroyed: threads may log while the program ends.
  return *state;
}

std::string JsonLine(const LogOptions& options, LogLevel level, absl::string_view message) {
  std::string line = "{\"time\":";
  AppendJsonString(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()),
                   &line);
  absl::StrAppend(&line, ",\"level\":\"", NameOf(level), "\",\"rank\":", options.rank,
                  ",\"host\":");
  AppendJsonString(options.host, &line);
  line.append(",\"message\":");
  AppendJsonString(message, &line);
  line.push_back('}');
  return line;
}

std::string TextLines(const LogOptions& options, LogLevel level, absl::string_view message) {
  absl::string_view word;
  if (level == LogLevel::kError) word = "error: ";
  if (level == LogLevel::kWarn) word = "warning: ";
  std::string lines;
  for (const absl::string_view line : absl::StrSplit(message, '\n')) {
    absl::StrAppend(&lines, lines.empty() ? "" : "\n", "[", options.rank, "/", options.host, "] ",
                    word, line);
    word = "";
  }
  return lines;
}

}  // namespace

absl::string_view NameOf(LogLevel level) {
  constexpr absl::string_view kNames[] = {"error", "warn", "info", "debug", "trace"};
  return kNames[static_cast<size_t>(level)];
}

absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view name) {
  for (const LogLevel level :
       {LogLevel::kError, LogLevel::kWarn, LogLevel::kInfo, LogLevel::kDebug, LogLevel::kTrace}) {
    if (name == NameOf(level)) return level;
  }
  return WithExitCode(
      absl::InvalidArgumentError(absl::StrCat(
          "log level must be error, warn, info, debug or trace, not ", JsonString(name))),
      ExitCode::kUsage);
}

absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view name) {
  if (name == "text") return LogFormat::kText;
  if (name == "json") return LogFormat::kJson;
  return WithExitCode(absl::InvalidArgumentError(
                          absl::StrCat("log format must be text or json, not ", JsonString(name))),
                      ExitCode::kUsage);
}

void InitLog(const LogOptions& options) {
  LogState& state = State();
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.options = options;
  if (state.options.host.empty()) state.options.host = HostName();
  if (options.quiet) state.options.level = LogLevel::kError;
  state.logger.set_level(SpdlogLevel(state.options.level));
}

bool LogEnabled(LogLevel level) { return State().logger.should_log(SpdlogLevel(level)); }

void Log(LogLevel level, absl::string_view message) {
  if (!LogEnabled(level)) return;
  LogState& state = State();
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (state.before) state.before();
  message = absl::StripSuffix(message, "\n");
  const std::string line = state.options.format == LogFormat::kJson
                               ? JsonLine(state.options, level, message)
                               : TextLines(state.options, level, message);
  state.logger.log(SpdlogLevel(level), spdlog::string_view_t(line.data(), line.size()));
}

void SetBeforeLog(std::function<void()> before) {
  LogState& state = State();
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.before = std::move(before);
}

}  // namespace tandem
