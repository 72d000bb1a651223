// One rank's loop: messages in and out, and the work of the groups it is in.
//
// Ranks that share groups form an island; its lowest rank schedules: it gives the island's groups
// their work in one order, so that no two groups wait for each other, and works itself. Between a
// group's orders its leader alone decides what is done. See docs/architecture.md.
#ifndef TANDEM_WORKER_STAGE_WORKER_H_
#define TANDEM_WORKER_STAGE_WORKER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/parallel/layout_groups.h"
#include "common/parallel/world.h"
#include "common/protocol/coordinator_port.h"
#include "worker/stage/stage.h"

namespace tandem {

class Worker {
 public:
  // Borrows the world and, on rank 0, the port (null elsewhere).
  Worker(World& world, const Layout& layout, CoordinatorPort* port);

  // The stage of one of this rank's groups; before Run.
  void SetStage(int group_id, std::unique_ptr<Stage> stage);

  // Sends a message to a rank (itself too).
  absl::Status Send(int destination, MessageKind kind, std::vector<std::byte> payload);
  // Moves messages; computes nothing. What stages call while they work.
  absl::Status Pump();
  // Until the coordinator says Shutdown. The first error ends it: the job must then be aborted.
  absl::Status Run();

 private:
  // What the scheduler knows of a group of its island.
  struct GroupState {
    const LayoutGroup* group = nullptr;
    bool busy = false;      // Ordered, and not completed yet (groups this rank is not in).
    bool has_work = false;  // As its leader last said (groups that another rank leads).
  };

  bool schedules() const { return scheduler_ == world_.rank(); }
  absl::Status Route(Envelope message);
  absl::Status RouteToStage(int group_id, const Envelope& message);
  absl::Status ReportStatus(const LayoutGroup& group, bool completed);
  absl::StatusOr<bool> ScheduleOne();
  absl::Status Dispatch(GroupState& state);
  absl::Status ExecuteOrder(int group_id);
  absl::Status ForwardShutdown();

  World& world_;
  CoordinatorPort* const port_;
  const std::vector<LayoutGroup> groups_;
  const int scheduler_;  // Of this rank's island; -1: idle, or the coordinator alone.
  std::vector<std::unique_ptr<Stage>> stages_;  // By group; null where this rank is no member.
  std::vector<GroupState> island_;              // On the scheduler.
  std::vector<int> island_ranks_;               // On the scheduler: all others.
  size_t next_group_ = 0;
  std::deque<int> orders_;  // Group ids, in the order given.
  bool shutdown_ = false;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_WORKER_H_
