// The job as MPI sees it.
#ifndef TANDEM_COMMON_TRANSPORT_MPI_WORLD_H_
#define TANDEM_COMMON_TRANSPORT_MPI_WORLD_H_

#include <mpi.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/parallel/world.h"
#include "common/transport/mpi_communicator.h"
#include "common/transport/mpi_messenger.h"
#include "common/transport/mpi_runtime.h"

namespace tandem {

class MpiWorld final : public World {
 public:
  struct Limits {
    MpiMessageLimits messages;
    MpiCollectiveLimits collectives;
  };

  // Collective over all ranks. Keeps MPI alive; communicators made from it end before it.
  static absl::StatusOr<std::unique_ptr<MpiWorld>> Connect(std::unique_ptr<MpiRuntime> runtime,
                                                           const Limits& limits);
  static absl::StatusOr<std::unique_ptr<MpiWorld>> Connect(std::unique_ptr<MpiRuntime> runtime) {
    return Connect(std::move(runtime), Limits{});
  }

  int rank() const override { return runtime_->world_rank(); }
  int size() const override { return runtime_->world_size(); }
  absl::Status Send(int destination, uint16_t kind, std::vector<std::byte> payload) override {
    return messenger_.Send(destination, kind, std::move(payload));
  }
  absl::StatusOr<std::optional<Envelope>> Poll() override { return messenger_.Poll(); }
  absl::Status Flush() override { return messenger_.Flush(); }
  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(absl::Span<const int> ranks) override;
  absl::StatusOr<std::vector<std::vector<std::byte>>> Gather(
      absl::Span<const std::byte> mine) override;
  void Abort(int exit_code) override { MpiRuntime::Abort(exit_code); }

 private:
  // A communicator that is freed before MPI ends.
  class OwnedComm {
   public:
    explicit OwnedComm(MPI_Comm comm) : comm_(comm) {}
    ~OwnedComm() { MPI_Comm_free(&comm_); }
    OwnedComm(const OwnedComm&) = delete;
    OwnedComm& operator=(const OwnedComm&) = delete;
    MPI_Comm get() const { return comm_; }

   private:
    MPI_Comm comm_;
  };

  MpiWorld(std::unique_ptr<MpiRuntime> runtime, MPI_Comm comm, const Limits& limits)
      : runtime_(std::move(runtime)),
        comm_(comm),
        limits_(limits),
        messenger_(comm, runtime_->world_rank(), runtime_->world_size(), limits.messages) {}

  MpiCallSite NextCall(const char* operation) {
    return {.operation = operation, .world_rank = rank(), .sequence = ++num_calls_};
  }

  const std::unique_ptr<MpiRuntime> runtime_;
  const OwnedComm comm_;  // All ranks: the messages', and Gather's.
  const Limits limits_;
  MpiMessenger messenger_;
  int64_t num_calls_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TRANSPORT_MPI_WORLD_H_
