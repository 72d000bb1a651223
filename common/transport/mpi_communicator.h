// A tensor-parallel group whose ranks are MPI processes.
#ifndef TANDEM_COMMON_TRANSPORT_MPI_COMMUNICATOR_H_
#define TANDEM_COMMON_TRANSPORT_MPI_COMMUNICATOR_H_

#include <mpi.h>

#include <vector>

#include "common/parallel/communicator.h"
#include "common/transport/mpi_status.h"

namespace tandem {

// Where the algorithms change; tests make them small.
struct MpiCollectiveLimits {
  // Vectors up to this size are summed whole by every rank (one exchange); longer ones in slices,
  // one a rank (two exchanges, of less volume).
  size_t max_whole_sum_bytes = size_t{32} << 10;
  // Vectors are summed in pieces of at most this many elements: it bounds the scratch memory.
  size_t max_piece_elements = size_t{4} << 20;
  // Bytes that one MPI call moves; below 2^31, MPI's counts being ints.
  size_t max_call_bytes = size_t{1} << 30;
};

// Floats are exchanged and added here, in the order of the tree: never by an MPI reduction, whose
// order is the library's choice.
class MpiCommunicator final : public Communicator {
 public:
  // Takes over `comm`. `world_rank` is for messages.
  MpiCommunicator(MPI_Comm comm, int rank, int size, int world_rank,
                  const MpiCollectiveLimits& limits);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::Status AllReduceSum(absl::Span<float> data) override;
  absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) override;
  absl::Status MergeDisjoint(absl::Span<uint32_t> data) override;
  absl::Status Broadcast(absl::Span<std::byte> data, int root) override;
  absl::Status Barrier() override;

 private:
  MpiCallSite NextCall(const char* operation) {
    return {.operation = operation, .world_rank = world_rank_, .sequence = ++sequence_};
  }
  absl::Status SumWhole(const MpiCallSite& site, absl::Span<float> piece);
  absl::Status SumInSlices(const MpiCallSite& site, absl::Span<float> piece);
  absl::Status BroadcastBytes(const MpiCallSite& site, absl::Span<std::byte> data, int root);

  const MPI_Comm comm_;
  const int rank_;
  const int size_;
  const int world_rank_;
  const MpiCollectiveLimits limits_;
  int64_t sequence_ = 0;
  std::vector<float> scratch_;  // Others' partials. Grows to the largest call's need and stays.
  std::vector<const float*> partials_;
  std::vector<MPI_Request> requests_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TRANSPORT_MPI_COMMUNICATOR_H_
