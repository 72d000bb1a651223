#include "common/parallel/thread_job.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

std::vector<int> AllRanks(int world_size) {
  std::vector<int> ranks(static_cast<size_t>(world_size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

std::string Describe(const CollectiveCall& call) {
  std::string text = absl::StrCat(call.operation, "(");
  if (!call.sizes_differ) absl::StrAppend(&text, call.bytes, " bytes");
  if (call.root >= 0) absl::StrAppend(&text, ", root ", call.root);
  return absl::StrCat(text, ")");
}

// INTERNAL where two members made different calls; every member finds the same pair.
absl::Status CheckSameCalls(const ThreadGroup& group) {
  const std::string first = Describe(group.calls[0]);
  for (size_t i = 1; i < group.calls.size(); ++i) {
    const std::string other = Describe(group.calls[i]);
    if (other == first) continue;
    return absl::InternalError(absl::StrCat("ranks disagree on a collective: rank ", group.ranks[0],
                                            " calls ", first, ", rank ", group.ranks[i], " calls ",
                                            other));
  }
  return absl::OkStatus();
}

// Marks a member as there; true where it was the last, and the meeting is over.
bool ArriveLocked(ThreadGroup& group, size_t index) {
  group.arrived[index] = true;
  ++group.num_arrived;
  if (group.num_arrived < group.ranks.size()) return false;
  group.arrived.assign(group.ranks.size(), false);
  group.num_arrived = 0;
  ++group.meetings;
  group.changed.notify_all();
  return true;
}

}  // namespace

ThreadJob::ThreadJob(int world_size)
    : inboxes_(static_cast<size_t>(world_size)),
      left_(static_cast<size_t>(world_size), false),
      world_group_(AllRanks(world_size)) {}

absl::Status ThreadJob::AbortedStatusLocked() const {
  return WithExitCode(
      absl::AbortedError(absl::StrCat("the job was aborted by rank ", aborting_rank_,
                                      " with exit code ", abort_exit_code_)),
      static_cast<ExitCode>(abort_exit_code_));
}

absl::Status ThreadJob::FailureLocked(const ThreadGroup& group) const {
  if (aborted_) return AbortedStatusLocked();
  for (size_t i = 0; i < group.ranks.size(); ++i) {
    if (!group.arrived[i] && left_[static_cast<size_t>(group.ranks[i])]) {
      return WithExitCode(
          absl::UnavailableError(absl::StrCat("rank ", group.ranks[i], " has left the job")),
          ExitCode::kLostRank);
    }
  }
  return absl::OkStatus();
}

absl::Status ThreadJob::Enter(ThreadGroup& group, int member, const CollectiveCall& call) {
  const auto index = static_cast<size_t>(member);
  {
    std::unique_lock<std::mutex> lock(mutex_);
    TANDEM_RETURN_IF_ERROR(FailureLocked(group));
    group.calls[index] = call;
    const uint64_t meeting = group.meetings;
    if (!ArriveLocked(group, index)) {
      absl::Status failure;
      group.changed.wait(lock, [&] {
        if (group.meetings != meeting) return true;
        failure = FailureLocked(group);
        return !failure.ok();
      });
      // Passed is passed, even if the job has been aborted since: the others count on this member.
      if (group.meetings == meeting) {
        group.arrived[index] = false;
        --group.num_arrived;
        return failure;
      }
    }
  }
  absl::Status same = CheckSameCalls(group);
  if (!same.ok()) Meet(group, member);  // All have read the calls before one makes the next.
  return same;
}

void ThreadJob::Meet(ThreadGroup& group, int member) {
  std::unique_lock<std::mutex> lock(mutex_);
  const uint64_t meeting = group.meetings;
  if (ArriveLocked(group, static_cast<size_t>(member))) return;
  group.changed.wait(lock, [&] { return group.meetings != meeting; });
}

absl::Status ThreadJob::Send(int source, int destination, uint16_t kind,
                             std::vector<std::byte> payload) {
  if (destination < 0 || destination >= world_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("Send to rank ", destination, ": the job has ", world_size(), " ranks"));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (aborted_) return AbortedStatusLocked();
  inboxes_[static_cast<size_t>(destination)].push_back(
      {.source = source, .kind = kind, .payload = std::move(payload)});
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Envelope>> ThreadJob::Poll(int rank) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (aborted_) return AbortedStatusLocked();
  std::deque<Envelope>& inbox = inboxes_[static_cast<size_t>(rank)];
  std::optional<Envelope> message;
  if (!inbox.empty()) {
    message = std::move(inbox.front());
    inbox.pop_front();
  }
  return message;
}

absl::Status ThreadJob::CheckAlive() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return aborted_ ? AbortedStatusLocked() : absl::OkStatus();
}

ThreadGroup& ThreadJob::JoinGroup(absl::Span<const int> ranks, int member) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto& made = groups_[std::vector<int>(ranks.begin(), ranks.end())];
  for (const std::unique_ptr<ThreadGroup>& group : made) {
    if (!group->joined[static_cast<size_t>(member)]) {
      group->joined[static_cast<size_t>(member)] = true;
      return *group;
    }
  }
  made.push_back(std::make_unique<ThreadGroup>(ranks));
  made.back()->joined[static_cast<size_t>(member)] = true;
  return *made.back();
}

void ThreadJob::Abort(int rank, int exit_code) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (aborted_) return;  // The first cause is the one that counts.
  aborted_ = true;
  aborting_rank_ = rank;
  abort_exit_code_ = exit_code;
  WakeAllLocked();
}

void ThreadJob::Leave(int rank) {
  const std::lock_guard<std::mutex> lock(mutex_);
  left_[static_cast<size_t>(rank)] = true;
  WakeAllLocked();
}

void ThreadJob::WakeAllLocked() {
  world_group_.changed.notify_all();
  for (auto& [ranks, made] : groups_) {
    for (const std::unique_ptr<ThreadGroup>& group : made) group->changed.notify_all();
  }
}

}  // namespace tandem
