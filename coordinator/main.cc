// tandem: one binary, a verb each for what it does. This file knows both the coordinator and the
// worker.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/thread_pool.h"
#include "common/transport/connect.h"
#include "common/transport/launcher.h"
#include "coordinator/cli/command_line.h"
#include "coordinator/cli/verbs.h"

namespace tandem {
namespace {

bool IsCollective(Verb verb) {
  return TakesRequests(verb) || verb == Verb::kForward || verb == Verb::kEnv;
}

ExitCode RunCollective(const CommandLine& line, const std::vector<std::string>& command) {
  absl::StatusOr<std::unique_ptr<World>> world = ConnectWorld();
  if (!world.ok()) {
    LogError(world.status().message());
    return ExitCodeOf(world.status());
  }
  LogOptions log = MakeLogOptions(line.options);
  log.rank = (*world)->rank();
  InitLog(log);
  if (log.rank == 0) {
    for (const std::string& warning : line.warnings) LogWarn(warning);
  }
  SetComputeFloatMode();
  switch (line.options.verb()) {
    case Verb::kGenerate:
    case Verb::kScore:
    case Verb::kEmbed:
      return RunRequests(**world, line.options, command);
    case Verb::kForward:
      return RunForward(**world, line.options);
    default:
      return RunEnv(**world);
  }
}

ExitCode RunAlone(const CommandLine& line) {
  InitLog(MakeLogOptions(line.options));
  for (const std::string& warning : line.warnings) LogWarn(warning);
  switch (line.options.verb()) {
    case Verb::kTokenize:
      return RunTokenize(line.options);
    case Verb::kInspect:
      return RunInspect(line.options);
    default:
      return RunInit(line.options);
  }
}

ExitCode Main(int argc, char** argv) {
  const std::vector<std::string> command(argv, argv + argc);
  const absl::StatusOr<CommandLine> line =
      ParseCommandLine({command.begin() + 1, command.end()}, SystemSources());
  // Every rank of a job reads the same command line: one of them says what is wrong with it.
  const bool first = DetectLauncher(ReadEnvironment()).task == 0;
  if (!line.ok()) {
    if (first) std::fprintf(stderr, "tandem: %s\n", std::string(line.status().message()).c_str());
    return ExitCodeOf(line.status());
  }
  switch (line->action) {
    case CommandLine::Action::kPrint:
      if (first) std::fputs(line->text.c_str(), stdout);
      return ExitCode::kOk;
    case CommandLine::Action::kVersion:
      if (first) std::fputs(FullVersionText().c_str(), stdout);
      return ExitCode::kOk;
    case CommandLine::Action::kRun:
      break;
  }
  return IsCollective(line->options.verb()) ? RunCollective(*line, command) : RunAlone(*line);
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) { return static_cast<int>(tandem::Main(argc, argv)); }
