// Which launcher, if any, started this process as one task of several. Pure functions of the
// environment: a launch that went wrong (N single ranks, all writing one output) is found before
// any rank works.
#ifndef TANDEM_COMMON_TRANSPORT_LAUNCHER_H_
#define TANDEM_COMMON_TRANSPORT_LAUNCHER_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tandem {

using Environment = std::map<std::string, std::string>;

// This process's.
Environment ReadEnvironment();

enum class LauncherKind {
  kNone,     // Started by hand, also inside a Slurm allocation (salloc, sbatch) without srun.
  kOpenMpi,  // mpirun of Open MPI, or prterun.
  kPmi,      // mpiexec of MPICH, Intel MPI and others that speak PMI.
  kPmix,     // A launcher that speaks PMIx; how many tasks it started is not in the environment.
  kSlurm,    // srun.
};

struct Launcher {
  LauncherKind kind = LauncherKind::kNone;
  // As the variables say; for kPmix at least so many.
  int num_tasks = 1;
  int task = 0;
  // The launcher offers what MPI needs to find the other tasks (PMI, PMIx or its own).
  bool offers_wire_up = false;
};

// The innermost launcher counts: ranks of an mpirun that itself used srun see both's variables.
Launcher DetectLauncher(const Environment& environment);

// The MPI that this program was built with.
enum class MpiBuild { kNone, kOpenMpi, kOther };

// Whether to initialise MPI; false for a process that is alone. INVALID_ARGUMENT (kUsage), with the
// remedy, where the tasks cannot find each other.
absl::StatusOr<bool> NeedsMpi(const Launcher& launcher, MpiBuild build);

// INVALID_ARGUMENT (kUsage) where the launcher started several tasks and MPI's world has one.
// `mpi_library` names the MPI in use.
absl::Status CheckWorldSize(const Launcher& launcher, int world_size,
                            absl::string_view mpi_library);

}  // namespace tandem

#endif  // TANDEM_COMMON_TRANSPORT_LAUNCHER_H_
