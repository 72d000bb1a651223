// One rank's whole part in a job: open the session, load, run the worker's loop, with the
// coordinator on a thread of its own on rank 0. The verbs that compute and the in-process tests
// share it.
#ifndef TANDEM_COORDINATOR_CLI_RUN_JOB_H_
#define TANDEM_COORDINATOR_CLI_RUN_JOB_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "common/parallel/world.h"
#include "common/protocol/coordinator_port.h"
#include "coordinator/cli/session.h"

namespace tandem {

// Where a job's error came from: known to every rank (each returns it, and the job ends in order),
// or to this rank alone (the others wait for it in vain: the job must be aborted).
struct JobOutcome {
  absl::Status status;
  bool agreed = true;
};

// Called on rank 0's coordinator thread, when all ranks are ready. Its error aborts the job.
using Coordinate = absl::FunctionRef<absl::Status(Session& session, CoordinatorPort& port)>;

// Collective. `rank_status`: what this rank found wrong before (its input, its tokenizer); any
// rank's ends the job for all.
JobOutcome RunJob(World& world, const SessionSettings& settings, const absl::Status& rank_status,
                  Coordinate coordinate);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_RUN_JOB_H_
