#include "common/parallel/solo_world.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/parallel/group_ranks.h"

namespace tandem {
namespace {

class SoloCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  absl::Status AllReduceSum(absl::Span<float>) override { return absl::OkStatus(); }
  absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) override {
    TANDEM_CHECK(mine.size() == all.size());
    if (!mine.empty() && mine.data() != all.data()) {
      std::memcpy(all.data(), mine.data(), mine.size());
    }
    return absl::OkStatus();
  }
  absl::Status MergeDisjoint(absl::Span<uint32_t>) override { return absl::OkStatus(); }
  absl::Status Broadcast(absl::Span<std::byte>, int root) override {
    TANDEM_CHECK(root == 0);
    return absl::OkStatus();
  }
  absl::Status Barrier() override { return absl::OkStatus(); }
};

class SoloWorld final : public World {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }

  absl::Status Send(int destination, uint16_t kind, std::vector<std::byte> payload) override {
    if (destination != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("Send to rank ", destination, ": the job has 1 rank"));
    }
    inbox_.push_back({.source = 0, .kind = kind, .payload = std::move(payload)});
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Envelope>> Poll() override {
    std::optional<Envelope> message;
    if (!inbox_.empty()) {
      message = std::move(inbox_.front());
      inbox_.pop_front();
    }
    return message;
  }

  absl::Status Flush() override { return absl::OkStatus(); }

  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(absl::Span<const int> ranks) override {
    if (absl::StatusOr<int> index = FindInGroup(ranks, 0, 1); !index.ok()) return index.status();
    return std::make_unique<SoloCommunicator>();
  }

  absl::StatusOr<std::vector<std::vector<std::byte>>> Gather(
      absl::Span<const std::byte> mine) override {
    return std::vector<std::vector<std::byte>>{{mine.begin(), mine.end()}};
  }

  void Abort(int exit_code) override {
    std::fflush(nullptr);
    std::_Exit(exit_code);  // No destructors: they may wait for what will never come.
  }

 private:
  std::deque<Envelope> inbox_;
};

}  // namespace

std::unique_ptr<World> MakeSoloWorld() { return std::make_unique<SoloWorld>(); }

}  // namespace tandem
