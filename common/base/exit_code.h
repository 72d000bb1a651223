// The program's exit codes, and how a Status carries the one it should end the program with.
#ifndef TANDEM_COMMON_BASE_EXIT_CODE_H_
#define TANDEM_COMMON_BASE_EXIT_CODE_H_

#include "absl/status/status.h"

namespace tandem {

enum class ExitCode : int {
  kOk = 0,
  kBug = 1,
  kUsage = 2,           // Usage, configuration or layout, before any rank computes.
  kFailedRequests = 3,  // Done, with failed requests.
  kModel = 4,           // Model or tokenizer.
  kLostRank = 5,        // A rank or host lost, or stalled.
  kFile = 6,            // Input, output or journal.
  kStopped = 75,        // Stopped on request; run again to go on.
};

// Marks an error with the code the program ends with; OK stays OK. A mark that is there stays:
// the place nearest to the cause knows best.
absl::Status WithExitCode(absl::Status status, ExitCode code);

// The mark of an error; kBug where none was set, kOk for an OK status.
ExitCode ExitCodeOf(const absl::Status& status);

// As status, with `context` and ": " in front of its message; code and marks are kept.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace tandem

#endif  // TANDEM_COMMON_BASE_EXIT_CODE_H_
