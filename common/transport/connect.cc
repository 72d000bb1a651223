#include "common/transport/connect.h"

#include <utility>

#include "common/base/status_macros.h"
#include "common/parallel/solo_world.h"
#include "common/transport/launcher.h"
#ifdef TANDEM_HAVE_MPI
#include "common/transport/mpi_runtime.h"
#include "common/transport/mpi_world.h"
#endif

namespace tandem {

#ifdef TANDEM_HAVE_MPI

absl::StatusOr<std::unique_ptr<World>> ConnectWorld() {
  const Launcher launcher = DetectLauncher(ReadEnvironment());
  TANDEM_ASSIGN_OR_RETURN(const bool needs_mpi, NeedsMpi(launcher, MpiRuntime::Build()));
  if (!needs_mpi) return MakeSoloWorld();
  TANDEM_ASSIGN_OR_RETURN(std::unique_ptr<MpiRuntime> runtime, MpiRuntime::Start());
  TANDEM_RETURN_IF_ERROR(
      CheckWorldSize(launcher, runtime->world_size(), MpiRuntime::HeaderVersion()));
  return MpiWorld::Connect(std::move(runtime));
}

MpiVersions GetMpiVersions() {
  return {.header = MpiRuntime::HeaderVersion(), .library = MpiRuntime::LibraryVersion()};
}

#else

absl::StatusOr<std::unique_ptr<World>> ConnectWorld() {
  const Launcher launcher = DetectLauncher(ReadEnvironment());
  if (absl::StatusOr<bool> alone = NeedsMpi(launcher, MpiBuild::kNone); !alone.ok()) {
    return alone.status();
  }
  return MakeSoloWorld();
}

MpiVersions GetMpiVersions() { return {.header = "none", .library = ""}; }

#endif

}  // namespace tandem
