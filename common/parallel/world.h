// A rank's view of the whole job: messages between any two ranks, and the making of groups.
// Implementations: ThreadWorld (ranks are threads of one process), MpiWorld, SoloWorld (one rank).
// One thread a rank calls these.
#ifndef TANDEM_COMMON_PARALLEL_WORLD_H_
#define TANDEM_COMMON_PARALLEL_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/parallel/communicator.h"

namespace tandem {

// One message: `kind` and `payload` are the protocol's (common/protocol/messages.h).
struct Envelope {
  int source = 0;
  uint16_t kind = 0;
  std::vector<std::byte> payload;
};

class World {
 public:
  virtual ~World() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Queues a message and returns at once; the payload is owned by the world until it is gone.
  // Messages between two ranks arrive in the order sent. A rank may send to itself.
  virtual absl::Status Send(int destination, uint16_t kind, std::vector<std::byte> payload) = 0;

  // The next message that has arrived, if any; never blocks. Also makes progress on sends.
  virtual absl::StatusOr<std::optional<Envelope>> Poll() = 0;

  // Blocks until all messages sent by this rank have left it.
  virtual absl::Status Flush() = 0;

  // The group of these world ranks (sorted, this rank among them), whose group rank is the index.
  // Collective over the members; members make their common groups in the same order.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(absl::Span<const int> ranks) = 0;

  // Every rank's bytes, by rank; sizes may differ. Collective over all ranks; for start-up.
  virtual absl::StatusOr<std::vector<std::vector<std::byte>>> Gather(
      absl::Span<const std::byte> mine) = 0;

  // Ends every process of the job with this exit code, at once. Does not return (a ThreadWorld
  // marks the job as failed: every later call of any rank returns ABORTED).
  virtual void Abort(int exit_code) = 0;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_WORLD_H_
