// Logs: lines on standard error, never on standard output (that belongs to results). spdlog is
// behind it; only log.cc includes it.
//
//   LogInfo(absl::StrCat("read ", count, " tensors"));
//
// As text:  [0/node1] warning: 3 ranks idle
// As JSON:
// {"time":"2025-01-31T12:00:00.123Z","level":"warn","rank":0,"host":"node1","message":"..."}
#ifndef TANDEM_COMMON_BASE_LOG_H_
#define TANDEM_COMMON_BASE_LOG_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tandem {

enum class LogLevel : uint8_t { kError, kWarn, kInfo, kDebug, kTrace };
enum class LogFormat : uint8_t { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  bool quiet = false;  // Errors only, whatever the level.
  int rank = 0;
  std::string host;  // Empty: this machine's name.
};

absl::string_view NameOf(LogLevel level);  // "error", "warn", "info", "debug", "trace"
absl::StatusOr<LogLevel> ParseLogLevel(absl::string_view name);
absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view name);

// Call it once the rank is known; before that, lines go out at level info with rank 0. Not to be
// called while other threads log.
void InitLog(const LogOptions& options);

// Whether a line of this level would be written: asks before building a costly message.
bool LogEnabled(LogLevel level);

// One message; as text, each of its lines gets the prefix. Thread-safe; lines are never mixed.
void Log(LogLevel level, absl::string_view message);
inline void LogError(absl::string_view message) { Log(LogLevel::kError, message); }
inline void LogWarn(absl::string_view message) { Log(LogLevel::kWarn, message); }
inline void LogInfo(absl::string_view message) { Log(LogLevel::kInfo, message); }
inline void LogDebug(absl::string_view message) { Log(LogLevel::kDebug, message); }
inline void LogTrace(absl::string_view message) { Log(LogLevel::kTrace, message); }

// Called before each message, under the log's lock: a progress bar takes itself off the line with
// it. An empty function removes it; on return no call is under way.
void SetBeforeLog(std::function<void()> before);

}  // namespace tandem

#endif  // TANDEM_COMMON_BASE_LOG_H_
