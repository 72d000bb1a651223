#include "common/parallel/thread_world.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/parallel/group_ranks.h"
#include "common/parallel/thread_job.h"
#include "common/parallel/tree_sum.h"

namespace tandem {
namespace {

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadJob> job, ThreadGroup& group, int member)
      : job_(std::move(job)), group_(group), member_(member) {}

  int rank() const override { return member_; }
  int size() const override { return static_cast<int>(group_.ranks.size()); }

  absl::Status AllReduceSum(absl::Span<float> data) override {
    return ReduceInSlices<float>("AllReduceSum", data, TreeSum);
  }

  absl::Status MergeDisjoint(absl::Span<uint32_t> data) override {
    return ReduceInSlices<uint32_t>("MergeDisjoint", data, MergeWords);
  }

  absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) override {
    TANDEM_CHECK(all.size() == mine.size() * group_.ranks.size());
    TANDEM_RETURN_IF_ERROR(
        Enter({.operation = "AllGather", .input = mine.data(), .bytes = mine.size()}));
    for (size_t i = 0; i < group_.calls.size(); ++i) {
      CopyBytes(group_.calls[i].input, mine.size(), all.data() + i * mine.size());
    }
    job_->Meet(group_, member_);
    return absl::OkStatus();
  }

  absl::Status Broadcast(absl::Span<std::byte> data, int root) override {
    TANDEM_CHECK(root >= 0 && root < size());
    TANDEM_RETURN_IF_ERROR(Enter(
        {.operation = "Broadcast", .input = data.data(), .bytes = data.size(), .root = root}));
    CopyBytes(group_.calls[static_cast<size_t>(root)].input, data.size(), data.data());
    job_->Meet(group_, member_);
    return absl::OkStatus();
  }

  absl::Status Barrier() override {
    TANDEM_RETURN_IF_ERROR(Enter({.operation = "Barrier"}));
    job_->Meet(group_, member_);  // As in every call: `calls` is read until here.
    return absl::OkStatus();
  }

 private:
  static void MergeWords(absl::Span<const uint32_t* const> parts, int64_t count, uint32_t* out) {
    for (int64_t i = 0; i < count; ++i) {
      uint32_t word = 0;
      for (const uint32_t* part : parts) word |= part[i];
      out[i] = word;
    }
  }

  // `mine` may be its own place in `all`.
  static void CopyBytes(const std::byte* from, size_t bytes, std::byte* to) {
    if (bytes > 0 && from != to) std::memcpy(to, from, bytes);
  }

  absl::Status Enter(const CollectiveCall& call) {
    ++sequence_;
    return Annotate(job_->Enter(group_, member_, call),
                    absl::StrCat(call.operation, " #", sequence_, " of rank ",
                                 group_.ranks[static_cast<size_t>(member_)]));
  }

  // Each member reduces one slice of all members' data into its own, then all copy the slices.
  // In place: between two meetings a slice of a member's data is written by nobody who is not the
  // only one to read it.
  template <class T, class Reduce>
  absl::Status ReduceInSlices(const char* operation, absl::Span<T> data, const Reduce& reduce) {
    auto* bytes = reinterpret_cast<std::byte*>(data.data());
    TANDEM_RETURN_IF_ERROR(Enter({.operation = operation,
                                  .input = bytes,
                                  .output = bytes,
                                  .bytes = data.size() * sizeof(T)}));
    const auto count = static_cast<int64_t>(data.size());
    const auto slice_begin = [&](int64_t member) { return member * count / size(); };
    const int64_t begin = slice_begin(member_);
    std::vector<const T*> parts;
    for (const CollectiveCall& call : group_.calls) {
      parts.push_back(reinterpret_cast<const T*>(call.input) + begin);
    }
    reduce(absl::MakeConstSpan(parts), slice_begin(member_ + 1) - begin, data.data() + begin);
    job_->Meet(group_, member_);
    for (int i = 0; i < size(); ++i) {
      if (i == member_) continue;
      const auto* result = reinterpret_cast<const T*>(group_.calls[static_cast<size_t>(i)].output);
      std::copy(result + slice_begin(i), result + slice_begin(i + 1), data.data() + slice_begin(i));
    }
    job_->Meet(group_, member_);
    return absl::OkStatus();
  }

  const std::shared_ptr<ThreadJob> job_;
  ThreadGroup& group_;
  const int member_;
  int64_t sequence_ = 0;
};

class ThreadWorld final : public World {
 public:
  ThreadWorld(std::shared_ptr<ThreadJob> job, int rank) : job_(std::move(job)), rank_(rank) {}
  ~ThreadWorld() override { job_->Leave(rank_); }

  int rank() const override { return rank_; }
  int size() const override { return job_->world_size(); }

  absl::Status Send(int destination, uint16_t kind, std::vector<std::byte> payload) override {
    return job_->Send(rank_, destination, kind, std::move(payload));
  }

  absl::StatusOr<std::optional<Envelope>> Poll() override { return job_->Poll(rank_); }

  absl::Status Flush() override { return job_->CheckAlive(); }

  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(absl::Span<const int> ranks) override {
    TANDEM_ASSIGN_OR_RETURN(const int member, FindInGroup(ranks, rank_, size()));
    ThreadGroup& group = job_->JoinGroup(ranks, member);
    TANDEM_RETURN_IF_ERROR(
        Annotate(job_->Enter(group, member, {.operation = "MakeGroup"}), "MakeGroup"));
    job_->Meet(group, member);
    return std::make_unique<ThreadCommunicator>(job_, group, member);
  }

  absl::StatusOr<std::vector<std::vector<std::byte>>> Gather(
      absl::Span<const std::byte> mine) override {
    ThreadGroup& group = job_->world_group();
    TANDEM_RETURN_IF_ERROR(Annotate(job_->Enter(group, rank_,
                                                {.operation = "Gather",
                                                 .input = mine.data(),
                                                 .bytes = mine.size(),
                                                 .sizes_differ = true}),
                                    "Gather"));
    std::vector<std::vector<std::byte>> all;
    for (const CollectiveCall& call : group.calls) {
      all.emplace_back(call.input, call.input + call.bytes);
    }
    job_->Meet(group, rank_);
    return all;
  }

  void Abort(int exit_code) override { job_->Abort(rank_, exit_code); }

 private:
  const std::shared_ptr<ThreadJob> job_;
  const int rank_;
};

}  // namespace

void RunRanks(int world_size, absl::FunctionRef<void(World& world)> body) {
  TANDEM_CHECK(world_size > 0);
  const auto job = std::make_shared<ThreadJob>(world_size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadWorld world(job, rank);
      body(world);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

absl::Status RunRanksOrAbort(int world_size, absl::FunctionRef<absl::Status(World& world)> body) {
  std::mutex mutex;
  absl::Status first_error;
  RunRanks(world_size, [&](World& world) {
    absl::Status status = body(world);
    if (status.ok()) return;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (first_error.ok()) first_error = status;
    }
    world.Abort(static_cast<int>(ExitCodeOf(status)));
  });
  return first_error;
}

}  // namespace tandem
