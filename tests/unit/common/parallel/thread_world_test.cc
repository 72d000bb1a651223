#include "common/parallel/thread_world.h"

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "common/base/exit_code.h"
#include "common/parallel/solo_world.h"
#include "tests/testing/world_contract.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

std::vector<WorldRunner> Runners() {
  std::vector<WorldRunner> runners;
  for (int size : {1, 2, 3, 4, 8}) {
    runners.push_back(
        {.name = "Threads" + std::to_string(size),
         .world_size = size,
         .run = [size](absl::FunctionRef<void(World&)> body) { RunRanks(size, body); }});
  }
  runners.push_back({.name = "Solo",
                     .run = [](absl::FunctionRef<void(World&)> body) { body(*MakeSoloWorld()); }});
  return runners;
}

INSTANTIATE_TEST_SUITE_P(ThreadAndSolo, WorldContractTest, ::testing::ValuesIn(Runners()),
                         [](const auto& info) { return info.param.name; });

TEST(ThreadWorldTest, BarrierHoldsAllUntilTheLast) {
  std::atomic<int> arrived{0};
  RunRanks(4, [&](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    for (int round = 1; round <= 50; ++round) {
      ++arrived;
      ASSERT_TRUE(group->Barrier().ok());
      EXPECT_GE(arrived.load(), 4 * round);
    }
  });
}

TEST(ThreadWorldTest, AbortEndsBlockedAndLaterCalls) {
  RunRanks(4, [](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    if (world.rank() == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // Let the others block.
      world.Abort(5);
    }
    std::vector<float> data(100, 1.0f);
    const absl::Status blocked = group->AllReduceSum(absl::MakeSpan(data));
    EXPECT_EQ(blocked.code(), absl::StatusCode::kAborted);
    EXPECT_EQ(ExitCodeOf(blocked), ExitCode::kLostRank);
    EXPECT_THAT(std::string(blocked.message()),
                HasSubstr("AllReduceSum #1 of rank " + std::to_string(world.rank()) +
                          ": the job was aborted by rank 2 with exit code 5"));
    EXPECT_EQ(world.Send(0, 1, {}).code(), absl::StatusCode::kAborted);
    EXPECT_EQ(world.Poll().status().code(), absl::StatusCode::kAborted);
    EXPECT_EQ(world.Flush().code(), absl::StatusCode::kAborted);
    EXPECT_EQ(world.Gather({}).status().code(), absl::StatusCode::kAborted);
    EXPECT_EQ(world.MakeGroup({world.rank()}).status().code(), absl::StatusCode::kAborted);
    EXPECT_EQ(group->Barrier().code(), absl::StatusCode::kAborted);
  });
}

// Peers read a rank's data during a collective: an abort at any moment must not let the rank go
// (and free the data) before they are done. The sanitizers see it when it does.
TEST(ThreadWorldTest, AbortInTheMiddleOfCollectivesFreesNothingInUse) {
  for (int round = 0; round < 30; ++round) {
    RunRanks(4, [round](World& world) {
      if (world.rank() == 3) {
        std::this_thread::sleep_for(std::chrono::microseconds(50 * round));
        world.Abort(1);
        return;
      }
      const auto group = world.MakeGroup({0, 1, 2});
      while (group.ok()) {
        std::vector<float> data(20000, 1.0f);
        if (!(*group)->AllReduceSum(absl::MakeSpan(data)).ok()) return;
        EXPECT_EQ(data.back(), 3.0f);
      }
    });
  }
}

TEST(ThreadWorldTest, ACollectiveWithoutARankThatHasLeftFails) {
  RunRanks(3, [](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    if (world.rank() == 1) return;
    const absl::Status status = group->Barrier();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kLostRank);
    EXPECT_THAT(std::string(status.message()), HasSubstr("has left the job"));
  });
}

TEST(ThreadWorldTest, NamesCallsThatDiffer) {
  RunRanks(2, [](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    std::vector<float> data(world.rank() == 0 ? 4 : 5);
    const absl::Status status = group->AllReduceSum(absl::MakeSpan(data));
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("rank 0 calls AllReduceSum(16 bytes), rank 1 calls "
                          "AllReduceSum(20 bytes)"));
    EXPECT_TRUE(group->Barrier().ok());  // All ranks saw it; none is left behind.
  });
}

TEST(ThreadWorldTest, RunRanksOrAbortReturnsTheFirstError) {
  const absl::Status status = RunRanksOrAbort(3, [](World& world) {
    if (world.rank() == 1) {
      return WithExitCode(absl::NotFoundError("no model"), ExitCode::kModel);
    }
    const auto group = world.MakeGroup({0, 2});
    if (!group.ok()) return group.status();
    while (true) {
      const absl::Status barrier = (*group)->Barrier();
      if (!barrier.ok()) return barrier;
    }
  });
  EXPECT_EQ(status.message(), "no model");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kModel);
  EXPECT_TRUE(RunRanksOrAbort(2, [](World&) { return absl::OkStatus(); }).ok());
}

TEST(SoloWorldDeathTest, AbortEndsTheProcessWithTheCode) {
  EXPECT_EXIT(MakeSoloWorld()->Abort(6), ::testing::ExitedWithCode(6), "");
}

}  // namespace
}  // namespace tandem
