// How a process joins its job. The only header of this room that programs need; it does not show
// MPI, and works in builds without it.
#ifndef TANDEM_COMMON_TRANSPORT_CONNECT_H_
#define TANDEM_COMMON_TRANSPORT_CONNECT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/parallel/world.h"

namespace tandem {

// The job that this process was started in. Without a launcher, or with one that started one task,
// that is a job of one rank, and MPI is not initialised at all. Called once, by main's thread,
// which is the one that may use the world. The world's end (its destructor) ends MPI and waits for
// the other ranks: a rank that cannot go on calls Abort() instead. Errors: INVALID_ARGUMENT
// (kUsage) for a launch that went wrong, with the remedy; UNAVAILABLE.
absl::StatusOr<std::unique_ptr<World>> ConnectWorld();

struct MpiVersions {
  std::string header;   // What the program was built with: "MPI 3.1, Open MPI 4.1.4"; "none".
  std::string library;  // What it runs with, in the library's own words; empty without MPI.
};

// Works before and without ConnectWorld.
MpiVersions GetMpiVersions();

}  // namespace tandem

#endif  // TANDEM_COMMON_TRANSPORT_CONNECT_H_
