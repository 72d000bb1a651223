#include "common/transport/mpi_runtime.h"

#include <mpi.h>

#include <cstdio>
#include <cstdlib>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/transport/mpi_status.h"

namespace tandem {

absl::StatusOr<std::unique_ptr<MpiRuntime>> MpiRuntime::Start() {
  // A rank that waits in Open MPI spins; told so, it yields its core between turns. mpirun tells it
  // where it starts more ranks than cores itself, but it does not know of other jobs on the host.
  // Measured on 2 cores (allreduce_benchmark, 40 rounds): two jobs of 2 ranks at once take 3.4 s
  // with yielding and 25.6 s without; one job alone pays 0.3 to 4 us a call. A value that is set,
  // as by 'mpirun --mca mpi_yield_when_idle 0', stays.
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", /*overwrite=*/0);

  int provided = MPI_THREAD_SINGLE;
  TANDEM_RETURN_IF_ERROR(
      MpiStatus(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided),
                {.operation = "MPI_Init_thread"}));
  auto runtime = absl::WrapUnique(new MpiRuntime());  // From here on, MPI is finalised.
  if (provided < MPI_THREAD_FUNNELED) {
    return WithExitCode(absl::FailedPreconditionError(absl::StrCat(
                            "this MPI allows no threads beside the one that calls it (",
                            HeaderVersion(), "); tandem needs MPI_THREAD_FUNNELED")),
                        ExitCode::kUsage);
  }
  for (MPI_Comm comm : {MPI_COMM_WORLD, MPI_COMM_SELF}) {
    TANDEM_RETURN_IF_ERROR(MpiStatus(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN),
                                     {.operation = "MPI_Comm_set_errhandler"}));
  }
  TANDEM_RETURN_IF_ERROR(MpiStatus(MPI_Comm_rank(MPI_COMM_WORLD, &runtime->world_rank_),
                                   {.operation = "MPI_Comm_rank"}));
  TANDEM_RETURN_IF_ERROR(MpiStatus(MPI_Comm_size(MPI_COMM_WORLD, &runtime->world_size_),
                                   {.operation = "MPI_Comm_size"}));
  return runtime;
}

MpiRuntime::~MpiRuntime() { MPI_Finalize(); }

void MpiRuntime::Abort(int exit_code) {
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);  // MPI_Abort may return where it cannot reach the launcher.
}

MpiBuild MpiRuntime::Build() {
#ifdef OPEN_MPI
  return MpiBuild::kOpenMpi;
#else
  return MpiBuild::kOther;
#endif
}

std::string MpiRuntime::HeaderVersion() {
  std::string version = absl::StrCat("MPI ", MPI_VERSION, ".", MPI_SUBVERSION);
#if defined(OPEN_MPI)
  absl::StrAppend(&version, ", Open MPI ", OMPI_MAJOR_VERSION, ".", OMPI_MINOR_VERSION, ".",
                  OMPI_RELEASE_VERSION);
#elif defined(MPICH_VERSION)
  absl::StrAppend(&version, ", MPICH ", MPICH_VERSION);
#endif
  return version;
}

std::string MpiRuntime::LibraryVersion() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "unknown";
  const std::string version(text);
  return version.substr(0, version.find('\n'));
}

}  // namespace tandem
