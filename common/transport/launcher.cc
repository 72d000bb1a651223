#include "common/transport/launcher.h"

#include <unistd.h>

#include <initializer_list>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/exit_code.h"

extern char** environ;

namespace tandem {
namespace {

// The first of these variables that holds a number >= 0.
std::optional<int> NumberOf(const Environment& environment,
                            std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const auto found = environment.find(name);
    int value = 0;
    if (found != environment.end() && absl::SimpleAtoi(found->second, &value) && value >= 0) {
      return value;
    }
  }
  return std::nullopt;
}

bool Has(const Environment& environment, const char* name) {
  return environment.find(name) != environment.end();
}

absl::Status LaunchError(absl::string_view message) {
  return WithExitCode(absl::InvalidArgumentError(message), ExitCode::kUsage);
}

constexpr char kSrunRemedy[] =
    "use 'srun --mpi=pmix' ('srun --mpi=list' shows what this Slurm has), or mpirun inside the "
    "allocation";

std::string NameOf(const Launcher& launcher) {
  switch (launcher.kind) {
    case LauncherKind::kNone:
      return "no launcher";
    case LauncherKind::kOpenMpi:
      return "Open MPI's mpirun";
    case LauncherKind::kPmi:
      return "a PMI launcher (mpiexec of MPICH or Intel MPI)";
    case LauncherKind::kPmix:
      return "a PMIx launcher";
    case LauncherKind::kSlurm:
      return "srun";
  }
  return "?";
}

std::string StartedTasks(const Launcher& launcher) {
  return absl::StrCat(NameOf(launcher), " started ",
                      launcher.kind == LauncherKind::kPmix ? "at least " : "", launcher.num_tasks,
                      " tasks");
}

}  // namespace

Environment ReadEnvironment() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const absl::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals == absl::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

Launcher DetectLauncher(const Environment& environment) {
  const auto found = [&](LauncherKind kind, int num_tasks, int task, bool offers_wire_up) {
    return Launcher{
        .kind = kind, .num_tasks = num_tasks, .task = task, .offers_wire_up = offers_wire_up};
  };
  const std::optional<int> pmix_rank = NumberOf(environment, {"PMIX_RANK"});

  if (const auto size = NumberOf(environment, {"OMPI_COMM_WORLD_SIZE"})) {
    return found(LauncherKind::kOpenMpi, *size,
                 NumberOf(environment, {"OMPI_COMM_WORLD_RANK"}).value_or(0), true);
  }
  // MPICH, Intel MPI, Cray, Flux and srun --mpi=pmi2 set PMI_SIZE; MVAPICH and jsrun their own.
  if (const auto size =
          NumberOf(environment, {"PMI_SIZE", "MV2_COMM_WORLD_SIZE", "JSM_NAMESPACE_SIZE"})) {
    return found(LauncherKind::kPmi, *size,
                 NumberOf(environment, {"PMI_RANK", "MV2_COMM_WORLD_RANK", "JSM_NAMESPACE_RANK"})
                     .value_or(0),
                 true);
  }
  // Only a job step has all three: SLURM_NTASKS alone is set in every allocation, and a batch
  // script has SLURM_PROCID 0 but no step. The count is the step's: SLURM_NTASKS may be the
  // allocation's.
  const auto step = NumberOf(environment, {"SLURM_STEP_ID", "SLURM_STEPID"});
  const auto task = NumberOf(environment, {"SLURM_PROCID"});
  const auto step_tasks = NumberOf(environment, {"SLURM_STEP_NUM_TASKS"});
  if (step.has_value() && task.has_value() && step_tasks.has_value()) {
    const bool pmi = pmix_rank.has_value() || Has(environment, "PMI_RANK") ||
                     Has(environment, "PMI_FD") || Has(environment, "PMI_JOBID");
    return found(LauncherKind::kSlurm, *step_tasks, *task, pmi);
  }
  if (pmix_rank.has_value()) {
    return found(LauncherKind::kPmix, *pmix_rank + 1, *pmix_rank, true);
  }
  return {};
}

absl::StatusOr<bool> NeedsMpi(const Launcher& launcher, MpiBuild build) {
  const bool maybe_more = launcher.kind == LauncherKind::kPmix;
  if (launcher.num_tasks <= 1 && !maybe_more) return false;
  if (build == MpiBuild::kNone) {
    if (launcher.num_tasks <= 1) return false;
    return LaunchError(absl::StrCat(StartedTasks(launcher),
                                    ", but this tandem was built without MPI and runs as one rank; "
                                    "start it alone, or build it with -DTANDEM_ENABLE_MPI=ON"));
  }
  // Open MPI ends the process inside MPI_Init here, with an exit code of its own.
  if (launcher.kind == LauncherKind::kSlurm && !launcher.offers_wire_up &&
      build == MpiBuild::kOpenMpi) {
    return LaunchError(absl::StrCat(StartedTasks(launcher),
                                    " without PMIx, so that they cannot find each other; ",
                                    kSrunRemedy));
  }
  return true;
}

absl::Status CheckWorldSize(const Launcher& launcher, int world_size,
                            absl::string_view mpi_library) {
  if (world_size > 1 || launcher.num_tasks <= 1) return absl::OkStatus();
  const std::string what = absl::StrCat(StartedTasks(launcher), ", but MPI sees one; ");
  switch (launcher.kind) {
    case LauncherKind::kSlurm:
      return LaunchError(absl::StrCat(what, kSrunRemedy));
    case LauncherKind::kOpenMpi:
    case LauncherKind::kPmi:
      return LaunchError(absl::StrCat(what, "this mpirun belongs to another MPI: tandem uses ",
                                      mpi_library, ", start it with that MPI's mpirun"));
    case LauncherKind::kPmix:
    case LauncherKind::kNone:
      return LaunchError(absl::StrCat(what, "tandem uses ", mpi_library,
                                      ", which did not understand the launcher: start it with that "
                                      "MPI's mpirun"));
  }
  return absl::OkStatus();
}

}  // namespace tandem
