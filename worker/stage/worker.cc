#include "worker/stage/worker.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

// Waits between polls that found nothing: yields for 20 us, then sleeps, longer after a while, so
// that an idle rank costs well under 1 % of a core.
class IdleWait {
 public:
  void Reset() { since_ = Clock::now(); }
  void Wait() const {
    const auto idle = Clock::now() - since_;
    if (idle < std::chrono::microseconds(20)) {
      std::this_thread::yield();
    } else if (idle < std::chrono::milliseconds(5)) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point since_ = Clock::now();
};

}  // namespace

Worker::Worker(World& world, const Layout& layout, CoordinatorPort* port)
    : world_(world),
      port_(port),
      groups_(AllGroups(layout)),
      scheduler_(IslandSchedulers(layout)[static_cast<size_t>(world.rank())]),
      stages_(groups_.size()) {
  if (!schedules()) return;
  const std::vector<int> schedulers = IslandSchedulers(layout);
  for (const LayoutGroup& group : groups_) {
    if (schedulers[static_cast<size_t>(group.leader())] != scheduler_) continue;
    island_.push_back({.group = &group});
  }
  for (int rank = 0; rank < layout.world_size; ++rank) {
    if (rank != scheduler_ && schedulers[static_cast<size_t>(rank)] == scheduler_) {
      island_ranks_.push_back(rank);
    }
  }
}

void Worker::SetStage(int group_id, std::unique_ptr<Stage> stage) {
  stages_[static_cast<size_t>(group_id)] = std::move(stage);
}

absl::Status Worker::Send(int destination, MessageKind kind, std::vector<std::byte> payload) {
  return world_.Send(destination, static_cast<uint16_t>(kind), std::move(payload));
}

absl::Status Worker::Pump() {
  if (port_ != nullptr) {
    TANDEM_ASSIGN_OR_RETURN(std::vector<CoordinatorPort::Outgoing> messages, port_->TakeOutgoing());
    for (CoordinatorPort::Outgoing& message : messages) {
      TANDEM_RETURN_IF_ERROR(Send(message.destination, message.kind, std::move(message.payload)));
    }
  }
  while (true) {
    TANDEM_ASSIGN_OR_RETURN(std::optional<Envelope> message, world_.Poll());
    if (!message.has_value()) return absl::OkStatus();
    TANDEM_RETURN_IF_ERROR(Route(*std::move(message)));
  }
}

absl::Status Worker::Route(Envelope message) {
  switch (static_cast<MessageKind>(message.kind)) {
    case MessageKind::kShutdown:
      shutdown_ = true;
      return absl::OkStatus();
    case MessageKind::kOrder: {
      TANDEM_ASSIGN_OR_RETURN(const Order order, Order::Decode(message.payload));
      orders_.push_back(order.group);
      return absl::OkStatus();
    }
    case MessageKind::kGroupStatus: {
      TANDEM_ASSIGN_OR_RETURN(const GroupStatus status, GroupStatus::Decode(message.payload));
      for (GroupState& state : island_) {
        if (state.group->id != status.group) continue;
        if (status.completed != 0) state.busy = false;
        state.has_work = status.has_work != 0;
      }
      return absl::OkStatus();
    }
    case MessageKind::kEncodeBatch: {
      TANDEM_ASSIGN_OR_RETURN(const EncodeBatch batch, EncodeBatch::Decode(message.payload));
      return RouteToStage(batch.encoder_group, message);
    }
    case MessageKind::kForwardEncode: {
      TANDEM_ASSIGN_OR_RETURN(const ForwardEncode work, ForwardEncode::Decode(message.payload));
      return RouteToStage(work.batch.encoder_group, message);
    }
    case MessageKind::kEncoderOutput:
    case MessageKind::kAdmit:
    case MessageKind::kReleaseMemory:
    case MessageKind::kFinishSequence:
    case MessageKind::kForwardDecode: {
      // All of them begin with the group.
      return RouteToStage(ByteReader(message.payload).Get<GroupId>(), message);
    }
    case MessageKind::kEncoded:
    case MessageKind::kSequenceStarted:
    case MessageKind::kSequenceDone:
    case MessageKind::kSequenceEvicted:
    case MessageKind::kTokens:
    case MessageKind::kEmbedded:
    case MessageKind::kForwardTensor:
      if (port_ == nullptr) return absl::InternalError("a coordinator's message at another rank");
      port_->Deliver(std::move(message));
      return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("unknown message kind ", message.kind));
}

absl::Status Worker::RouteToStage(int group_id, const Envelope& message) {
  if (group_id < 0 || group_id >= static_cast<int>(groups_.size()) ||
      stages_[static_cast<size_t>(group_id)] == nullptr) {
    return absl::InternalError(absl::StrCat("a message for group ", group_id, " at rank ",
                                            world_.rank(), ", which is no member"));
  }
  const LayoutGroup& group = groups_[static_cast<size_t>(group_id)];
  Stage& stage = *stages_[static_cast<size_t>(group_id)];
  const bool had_work = stage.HasWork();
  TANDEM_RETURN_IF_ERROR(stage.Handle(message));
  if (group.leader() != world_.rank() || had_work || !stage.HasWork()) return absl::OkStatus();
  return ReportStatus(group, /*completed=*/false);
}

absl::Status Worker::ReportStatus(const LayoutGroup& group, bool completed) {
  if (schedules()) return absl::OkStatus();  // It asks the stage itself.
  GroupStatus status;
  status.group = group.id;
  status.completed = completed ? 1 : 0;
  status.has_work = stages_[static_cast<size_t>(group.id)]->HasWork() ? 1 : 0;
  return Send(scheduler_, MessageKind::kGroupStatus, status.Encode());
}

absl::StatusOr<bool> Worker::ScheduleOne() {
  for (size_t i = 0; i < island_.size(); ++i) {
    GroupState& state = island_[(next_group_ + i) % island_.size()];
    const bool leads = state.group->leader() == world_.rank();
    // A group without a stage (vision, which has none yet) never has work.
    const Stage* stage = stages_[static_cast<size_t>(state.group->id)].get();
    const bool has_work = leads ? stage != nullptr && stage->HasWork() : state.has_work;
    if (!has_work || state.busy) continue;
    next_group_ = (next_group_ + i + 1) % island_.size();
    TANDEM_RETURN_IF_ERROR(Dispatch(state));
    return true;
  }
  return false;
}

absl::Status Worker::Dispatch(GroupState& state) {
  const LayoutGroup& group = *state.group;
  for (const int rank : group.ranks) {
    if (rank == world_.rank()) continue;
    TANDEM_RETURN_IF_ERROR(Send(rank, MessageKind::kOrder, Order{.group = group.id}.Encode()));
  }
  // The scheduler is the island's lowest rank: where it is a member it leads.
  if (group.leader() == world_.rank()) return stages_[static_cast<size_t>(group.id)]->DoWork();
  state.busy = true;
  return absl::OkStatus();
}

absl::Status Worker::ExecuteOrder(int group_id) {
  if (group_id < 0 || group_id >= static_cast<int>(stages_.size()) ||
      stages_[static_cast<size_t>(group_id)] == nullptr) {
    return absl::InternalError(absl::StrCat("an order for group ", group_id, " at rank ",
                                            world_.rank(), ", which is no member"));
  }
  const LayoutGroup& group = groups_[static_cast<size_t>(group_id)];
  TANDEM_RETURN_IF_ERROR(stages_[static_cast<size_t>(group_id)]->DoWork());
  if (group.leader() != world_.rank()) return absl::OkStatus();
  return ReportStatus(group, /*completed=*/true);
}

absl::Status Worker::ForwardShutdown() {
  for (const int rank : island_ranks_) {
    TANDEM_RETURN_IF_ERROR(Send(rank, MessageKind::kShutdown, {}));
  }
  return absl::OkStatus();
}

absl::Status Worker::Run() {
  IdleWait idle;
  while (true) {
    TANDEM_RETURN_IF_ERROR(Pump());
    bool worked = false;
    if (!orders_.empty()) {
      const int group_id = orders_.front();
      orders_.pop_front();
      TANDEM_RETURN_IF_ERROR(ExecuteOrder(group_id));
      worked = true;
    }
    // Shutdown comes when no request is left: after all orders of this rank.
    if (shutdown_ && orders_.empty()) break;
    if (schedules()) {
      TANDEM_ASSIGN_OR_RETURN(const bool scheduled, ScheduleOne());
      worked = worked || scheduled;
    }
    if (worked) {
      idle.Reset();
    } else {
      idle.Wait();
    }
  }
  if (schedules()) TANDEM_RETURN_IF_ERROR(ForwardShutdown());
  return world_.Flush();
}

}  // namespace tandem
