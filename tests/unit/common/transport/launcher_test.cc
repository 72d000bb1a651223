#include "common/transport/launcher.h"

#include <cstdlib>
#include <string>

#include "common/base/exit_code.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

enum class Outcome { kAlone, kMpi, kRefused };

struct Case {
  const char* what;
  Environment environment;
  LauncherKind kind;
  int num_tasks;
  int task;
  Outcome with_open_mpi;  // Of NeedsMpi.
  Outcome without_mpi;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.what; }

// A job step's variables, as srun sets them.
Environment Srun(int tasks, int task, Environment more = {}) {
  more.insert({{"SLURM_JOB_ID", "7"},
               {"SLURM_STEP_ID", "0"},
               {"SLURM_STEPID", "0"},
               {"SLURM_NTASKS", std::to_string(tasks)},
               {"SLURM_STEP_NUM_TASKS", std::to_string(tasks)},
               {"SLURM_PROCID", std::to_string(task)},
               {"SLURM_LOCALID", "0"}});
  return more;
}

class LauncherTest : public ::testing::TestWithParam<Case> {};

TEST_P(LauncherTest, IsDetectedAndDecidesOnMpi) {
  const Case& c = GetParam();
  const Launcher launcher = DetectLauncher(c.environment);
  EXPECT_EQ(launcher.kind, c.kind);
  EXPECT_EQ(launcher.num_tasks, c.num_tasks);
  EXPECT_EQ(launcher.task, c.task);
  const auto outcome_with = [&](MpiBuild build) {
    const absl::StatusOr<bool> needs_mpi = NeedsMpi(launcher, build);
    if (!needs_mpi.ok()) {
      EXPECT_EQ(ExitCodeOf(needs_mpi.status()), ExitCode::kUsage);
      return Outcome::kRefused;
    }
    return *needs_mpi ? Outcome::kMpi : Outcome::kAlone;
  };
  EXPECT_EQ(outcome_with(MpiBuild::kOpenMpi), c.with_open_mpi);
  EXPECT_EQ(outcome_with(MpiBuild::kNone), c.without_mpi);
}

INSTANTIATE_TEST_SUITE_P(
    Launches, LauncherTest,
    ::testing::Values(
        Case{"nothing", {}, LauncherKind::kNone, 1, 0, Outcome::kAlone, Outcome::kAlone},
        Case{"mpirun -np 3",
             {{"OMPI_COMM_WORLD_SIZE", "3"}, {"OMPI_COMM_WORLD_RANK", "2"}, {"PMIX_RANK", "2"}},
             LauncherKind::kOpenMpi,
             3,
             2,
             Outcome::kMpi,
             Outcome::kRefused},
        Case{"mpirun -np 1",
             {{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"PMIX_RANK", "0"}},
             LauncherKind::kOpenMpi,
             1,
             0,
             Outcome::kAlone,
             Outcome::kAlone},
        Case{"mpiexec.hydra -n 4",
             {{"PMI_SIZE", "4"}, {"PMI_RANK", "3"}, {"PMI_FD", "9"}, {"MPI_LOCALNRANKS", "4"}},
             LauncherKind::kPmi,
             4,
             3,
             Outcome::kMpi,
             Outcome::kRefused},
        Case{"mpirun_rsh of MVAPICH",
             {{"MV2_COMM_WORLD_SIZE", "2"}, {"MV2_COMM_WORLD_RANK", "1"}},
             LauncherKind::kPmi,
             2,
             1,
             Outcome::kMpi,
             Outcome::kRefused},
        Case{"srun -n 4, --mpi=none", Srun(4, 1), LauncherKind::kSlurm, 4, 1, Outcome::kRefused,
             Outcome::kRefused},
        Case{"srun -n 1", Srun(1, 0), LauncherKind::kSlurm, 1, 0, Outcome::kAlone, Outcome::kAlone},
        Case{"srun -n 4 --mpi=pmix", Srun(4, 3, {{"PMIX_RANK", "3"}}), LauncherKind::kSlurm, 4, 3,
             Outcome::kMpi, Outcome::kRefused},
        Case{"srun -n 4 --mpi=pmi2", Srun(4, 3, {{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}}),
             LauncherKind::kPmi, 4, 3, Outcome::kMpi, Outcome::kRefused},
        Case{"plain, in salloc -n 4",
             {{"SLURM_JOB_ID", "7"},
              {"SLURM_NTASKS", "4"},
              {"SLURM_NPROCS", "4"},
              {"SLURM_TASKS_PER_NODE", "4"}},
             LauncherKind::kNone,
             1,
             0,
             Outcome::kAlone,
             Outcome::kAlone},
        Case{"plain, in the interactive step of salloc -n 4",
             {{"SLURM_JOB_ID", "7"},
              {"SLURM_NTASKS", "4"},
              {"SLURM_STEP_ID", "4294967290"},
              {"SLURM_STEPID", "4294967290"},
              {"SLURM_STEP_NUM_TASKS", "1"},
              {"SLURM_PROCID", "0"}},
             LauncherKind::kNone,
             1,
             0,
             Outcome::kAlone,
             Outcome::kAlone},
        Case{"plain, in a batch script of sbatch -n 4",
             {{"SLURM_JOB_ID", "7"},
              {"SLURM_NTASKS", "4"},
              {"SLURM_PROCID", "0"},
              {"SLURM_LOCALID", "0"},
              {"SLURM_NODEID", "0"}},
             LauncherKind::kNone,
             1,
             0,
             Outcome::kAlone,
             Outcome::kAlone},
        // orted, started by srun on 3 hosts, starts 8 ranks: the step's count is not the job's.
        Case{"mpirun -np 8 in salloc -N 3",
             Srun(3, 1,
                  {{"OMPI_COMM_WORLD_SIZE", "8"},
                   {"OMPI_COMM_WORLD_RANK", "4"},
                   {"PMIX_RANK", "4"}}),
             LauncherKind::kOpenMpi, 8, 4, Outcome::kMpi, Outcome::kRefused},
        Case{"prun, first task",
             {{"PMIX_RANK", "0"}, {"PMIX_NAMESPACE", "n"}},
             LauncherKind::kPmix,
             1,
             0,
             Outcome::kMpi,
             Outcome::kAlone},
        Case{"prun, third task",
             {{"PMIX_RANK", "2"}, {"PMIX_NAMESPACE", "n"}},
             LauncherKind::kPmix,
             3,
             2,
             Outcome::kMpi,
             Outcome::kRefused},
        Case{"nonsense",
             {{"OMPI_COMM_WORLD_SIZE", "many"}, {"PMI_SIZE", "-1"}},
             LauncherKind::kNone,
             1,
             0,
             Outcome::kAlone,
             Outcome::kAlone}));

TEST(LauncherMessagesTest, SrunWithoutPmix) {
  const absl::Status status = NeedsMpi(DetectLauncher(Srun(4, 0)), MpiBuild::kOpenMpi).status();
  EXPECT_EQ(status.message(),
            "srun started 4 tasks without PMIx, so that they cannot find each other; use 'srun "
            "--mpi=pmix' ('srun --mpi=list' shows what this Slurm has), or mpirun inside the "
            "allocation");
  // Other MPIs may find each other by Slurm's own library: they are asked.
  EXPECT_TRUE(*NeedsMpi(DetectLauncher(Srun(4, 0)), MpiBuild::kOther));
}

TEST(LauncherMessagesTest, SeveralTasksInAWorldOfOne) {
  const auto check = [](const Environment& environment, int world_size) {
    const absl::Status status =
        CheckWorldSize(DetectLauncher(environment), world_size, "MPI 3.1, Open MPI 4.1.4");
    if (!status.ok()) {
      EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
    }
    return std::string(status.message());
  };
  EXPECT_EQ(
      check({{"PMI_SIZE", "4"}}, 1),
      "a PMI launcher (mpiexec of MPICH or Intel MPI) started 4 tasks, but MPI sees one; this "
      "mpirun belongs to another MPI: tandem uses MPI 3.1, Open MPI 4.1.4, start it with that "
      "MPI's mpirun");
  EXPECT_THAT(check(Srun(4, 0, {{"PMIX_RANK", "0"}}), 1),
              HasSubstr("srun started 4 tasks, but MPI sees one; use 'srun --mpi=pmix'"));
  EXPECT_THAT(check({{"PMIX_RANK", "2"}}, 1), HasSubstr("started at least 3 tasks"));
  EXPECT_EQ(check({{"PMIX_RANK", "0"}}, 1), "");
  EXPECT_EQ(check({{"PMI_SIZE", "4"}}, 4), "");
  EXPECT_EQ(check({{"PMI_SIZE", "1"}}, 1), "");
}

TEST(LauncherMessagesTest, ABuildWithoutMpi) {
  const absl::Status status =
      NeedsMpi(DetectLauncher({{"OMPI_COMM_WORLD_SIZE", "3"}}), MpiBuild::kNone).status();
  EXPECT_EQ(status.message(),
            "Open MPI's mpirun started 3 tasks, but this tandem was built without MPI and runs as "
            "one rank; start it alone, or build it with -DTANDEM_ENABLE_MPI=ON");
}

TEST(ReadEnvironmentTest, HasThisProcessesVariables) {
  setenv("TANDEM_LAUNCHER_TEST", "a=b", 1);
  EXPECT_EQ(ReadEnvironment().at("TANDEM_LAUNCHER_TEST"), "a=b");
}

}  // namespace
}  // namespace tandem
