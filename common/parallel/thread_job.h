// The state that the ranks of a thread world share. Internal to thread_world.cc.
#ifndef TANDEM_COMMON_PARALLEL_THREAD_JOB_H_
#define TANDEM_COMMON_PARALLEL_THREAD_JOB_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/parallel/world.h"

namespace tandem {

// What a rank announces when it enters a collective. Peers read `input` and `output` between the
// call's first and last meeting.
struct CollectiveCall {
  const char* operation = "";
  const std::byte* input = nullptr;
  std::byte* output = nullptr;  // Where the others read results from, if the call has such a step.
  size_t bytes = 0;             // Equal on all ranks, unless sizes_differ.
  int root = -1;                // Equal on all ranks.
  bool sizes_differ = false;
};

// The meeting place of one group. All of it is guarded by the job's mutex; `calls` may be read
// without it by a member that has passed a call's first meeting and not yet come to its last.
struct ThreadGroup {
  explicit ThreadGroup(absl::Span<const int> members)
      : ranks(members.begin(), members.end()),
        joined(ranks.size(), false),
        arrived(ranks.size(), false),
        calls(ranks.size()) {}

  const std::vector<int> ranks;  // World ranks.
  std::vector<bool> joined;      // Members whose MakeGroup has found this group.
  std::vector<bool> arrived;     // Members at the meeting under way.
  size_t num_arrived = 0;
  uint64_t meetings = 0;  // Completed ones.
  std::vector<CollectiveCall> calls;
  std::condition_variable changed;
};

// One mutex guards everything: ranks as threads are for tests, where right is worth more than fast.
class ThreadJob {
 public:
  explicit ThreadJob(int world_size);

  int world_size() const { return static_cast<int>(inboxes_.size()); }
  ThreadGroup& world_group() { return world_group_; }

  // Enters a collective: waits until all members have, then checks that they made the same call.
  // Fails where the job is aborted or a member has left; then no member passes. A member that has
  // passed touches its peers' memory, and must come to the call's further meetings (Meet), which
  // therefore end whatever happens to the job.
  absl::Status Enter(ThreadGroup& group, int member, const CollectiveCall& call);
  void Meet(ThreadGroup& group, int member);

  absl::Status Send(int source, int destination, uint16_t kind, std::vector<std::byte> payload);
  absl::StatusOr<std::optional<Envelope>> Poll(int rank);
  absl::Status CheckAlive();  // ABORTED once the job is aborted.

  // The group of these ranks that `member` has not joined yet; made by the first to come.
  ThreadGroup& JoinGroup(absl::Span<const int> ranks, int member);

  void Abort(int rank, int exit_code);
  void Leave(int rank);  // The rank's thread makes no call any more.

 private:
  absl::Status AbortedStatusLocked() const;
  // The status that ends a first meeting which cannot complete; OK where it still can.
  absl::Status FailureLocked(const ThreadGroup& group) const;
  void WakeAllLocked();

  std::mutex mutex_;
  std::vector<std::deque<Envelope>> inboxes_;
  std::vector<bool> left_;
  bool aborted_ = false;
  int aborting_rank_ = -1;
  int abort_exit_code_ = 0;
  ThreadGroup world_group_;
  // In the order made; a rank joins the first that it has not joined.
  std::map<std::vector<int>, std::vector<std::unique_ptr<ThreadGroup>>> groups_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_THREAD_JOB_H_
