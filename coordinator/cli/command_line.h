// From argv, the environment and a --config file to settings, or to what should be printed instead.
#ifndef TANDEM_COORDINATOR_CLI_COMMAND_LINE_H_
#define TANDEM_COORDINATOR_CLI_COMMAND_LINE_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/cli/options.h"

namespace tandem {

struct CommandLine {
  enum class Action : uint8_t {
    kRun,      // Do what `options` says.
    kPrint,    // Write `text` to standard output and end with 0: help, settings.
    kVersion,  // The same with the version, which only main can put together.
  };
  Action action = Action::kRun;
  std::string text;
  Options options = Options(Verb::kEnv);
  std::vector<std::string> warnings;  // For the log, once there is one.
};

// What the outside says besides argv; for tests.
struct CommandLineSources {
  std::vector<std::string> environment;  // "NAME=value"
  // The text of a file; an error's message says why it cannot be read.
  std::function<absl::StatusOr<std::string>(const std::string& path)> read_file;
};
CommandLineSources SystemSources();  // The process's environment, and the disk.

// `args` without the program's name. Errors: INVALID_ARGUMENT (exit code kUsage), in one line that
// says what to do. Combinations are checked, too: what the verb needs is there, and nothing
// excludes another.
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& args,
                                             const CommandLineSources& sources);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_COMMAND_LINE_H_
