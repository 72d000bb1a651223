// Collectives of one tensor-parallel group. Implementations: ThreadCommunicator (ranks are threads
// of one process), MpiCommunicator.
//
// All ranks of the group make the same calls in the same order with the same sizes. Calls block.
// Errors: UNAVAILABLE (a peer or the transport failed, with operation and sequence number); the
// group is then broken and the job must end. One thread a rank.
#ifndef TANDEM_COMMON_PARALLEL_COMMUNICATOR_H_
#define TANDEM_COMMON_PARALLEL_COMMUNICATOR_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace tandem {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;  // In the group.
  virtual int size() const = 0;

  // data[i] = the sum over ranks, in fp32, in the order of the fixed binary tree over ranks (ranks
  // r and r + step join for step = 1, 2, 4...; the lower rank is the left operand), so that every
  // rank gets the bits that one rank holding all leaves computes. Never a library's own reduction.
  virtual absl::Status AllReduceSum(absl::Span<float> data) = 0;

  // all = the ranks' `mine`, in rank order; all.size() == size() * mine.size().
  // `mine` may be this rank's own place in `all`.
  virtual absl::Status AllGather(absl::Span<const std::byte> mine, absl::Span<std::byte> all) = 0;

  // data[i] = bitwise or over ranks: the exact copy of the one rank's word that is not zero.
  virtual absl::Status MergeDisjoint(absl::Span<uint32_t> data) = 0;

  // Root's data to all.
  virtual absl::Status Broadcast(absl::Span<std::byte> data, int root) = 0;

  virtual absl::Status Barrier() = 0;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_COMMUNICATOR_H_
