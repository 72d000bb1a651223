// Ranks as threads of one process: the same calls as over MPI, for debuggers, sanitizers and tests.
//
// What a real job does by dying, a thread world does by errors: after Abort every call of every
// rank returns ABORTED (with the exit code, see exit_code.h), also calls that are blocked. A rank
// whose body has returned is gone: collectives that need it return UNAVAILABLE. Ranks that call
// different collectives, or with different sizes, get INTERNAL with both calls named.
#ifndef TANDEM_COMMON_PARALLEL_THREAD_WORLD_H_
#define TANDEM_COMMON_PARALLEL_THREAD_WORLD_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "common/parallel/world.h"

namespace tandem {

// Runs body once for each rank of a new job, each in a thread of its own; returns when all have
// returned. The World lives as long as its body runs, the communicators made from it too.
void RunRanks(int world_size, absl::FunctionRef<void(World& world)> body);

// The same for a body that can fail, as a process does whose main ends the job on an error: the
// first error aborts the job with its exit code, and is returned.
absl::Status RunRanksOrAbort(int world_size, absl::FunctionRef<absl::Status(World& world)> body);

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_THREAD_WORLD_H_
