// One function a verb: does what the options say and returns the process's exit code. Errors are
// logged once, by the rank that has them (rank 0 where all have the same).
#ifndef TANDEM_COORDINATOR_CLI_VERBS_H_
#define TANDEM_COORDINATOR_CLI_VERBS_H_

#include <string>
#include <vector>

#include "common/base/exit_code.h"
#include "common/parallel/world.h"
#include "coordinator/cli/options.h"
#include "coordinator/cli/run_job.h"
#include "coordinator/cli/session.h"

namespace tandem {

// Collective.
// generate, score and embed.
ExitCode RunRequests(World& world, Options options, const std::vector<std::string>& command);
ExitCode RunForward(World& world, const Options& options);
ExitCode RunEnv(World& world);

// On one rank.
ExitCode RunTokenize(const Options& options);
ExitCode RunInspect(const Options& options);
ExitCode RunInit(const Options& options);

// Helpers of the above.
SessionSettings MakeSessionSettings(const Options& options);
// Ends this rank's part: logs an error (all ranks know an agreed one: rank 0 logs it), and aborts
// the job where this rank alone has it.
ExitCode Conclude(World& world, const JobOutcome& outcome);
// What is printed when a job starts, on rank 0.
void LogSession(const Session& session);

// "0.1.0", "0.1.0 (commit)", and a paragraph of versions and instruction sets.
std::string VersionText();
std::string CommitText();
std::string FullVersionText();

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_VERBS_H_
