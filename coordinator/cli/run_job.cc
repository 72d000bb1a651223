#include "coordinator/cli/run_job.h"

#include <memory>
#include <thread>

#include "coordinator/request_job.h"

namespace tandem {

JobOutcome RunJob(World& world, const SessionSettings& settings, const absl::Status& rank_status,
                  Coordinate coordinate) {
  absl::StatusOr<std::unique_ptr<Session>> opened = Session::Open(world, settings, rank_status);
  if (!opened.ok()) return {.status = opened.status(), .agreed = true};
  Session& session = **opened;
  const bool coordinates = world.rank() == kCoordinatorRank;
  CoordinatorPort port;
  absl::Status loaded = session.LoadWeights(coordinates ? &port : nullptr);
  if (!loaded.ok()) return {.status = loaded, .agreed = true};
  std::thread coordinator;
  if (coordinates) {
    coordinator = std::thread([&] {
      const absl::Status status = coordinate(session, port);
      if (status.ok()) {
        SendShutdown(session.layout(), port);
      } else {
        port.Fail(status);
      }
    });
  }
  const absl::Status status = session.Run();
  if (coordinator.joinable()) {
    if (!status.ok()) port.Fail(status);  // It may wait for messages that never come.
    coordinator.join();
  }
  return {.status = status, .agreed = status.ok()};
}

}  // namespace tandem
