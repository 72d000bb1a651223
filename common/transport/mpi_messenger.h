// Messages between any two ranks over MPI's point-to-point calls: in order for each pair, of any
// size, never blocking.
//
// On the wire a message is one MPI message (header and payload) while it is small; else a header,
// and the payload in parts of less than 2^31 bytes under another tag. MPI keeps the order of
// messages with one tag between two ranks; the receiver posts its receives in the order of headers.
#ifndef TANDEM_COMMON_TRANSPORT_MPI_MESSENGER_H_
#define TANDEM_COMMON_TRANSPORT_MPI_MESSENGER_H_

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/parallel/world.h"
#include "common/transport/mpi_status.h"

namespace tandem {

// Equal on all ranks. Tests make them small.
struct MpiMessageLimits {
  // Payloads up to this size travel with their header. With it below 4 KiB, the size up to which
  // Open MPI sends at once (eagerly) over shared memory, without waiting for the receiver.
  size_t max_inline_bytes = 4096 - 96;
  size_t max_part_bytes = size_t{1} << 30;  // Of one MPI message; below 2^31.
};

class MpiMessenger {
 public:
  // `comm` is not owned, and used for nothing else.
  MpiMessenger(MPI_Comm comm, int rank, int size, const MpiMessageLimits& limits);
  // Messages still under way are left to MPI: their memory is not freed. Flush before.
  ~MpiMessenger();
  MpiMessenger(const MpiMessenger&) = delete;
  MpiMessenger& operator=(const MpiMessenger&) = delete;

  absl::Status Send(int destination, uint16_t kind, std::vector<std::byte> payload);
  absl::StatusOr<std::optional<Envelope>> Poll();
  absl::Status Flush();

 private:
  struct Header {
    uint32_t magic = 0;
    uint16_t kind = 0;
    uint16_t reserved = 0;
    uint64_t sequence = 0;  // Of this pair's messages, from 0.
    uint64_t payload_bytes = 0;
  };
  struct Outgoing {
    int destination = 0;
    std::vector<std::byte> head;  // The header, and an inline payload behind it.
    std::vector<std::byte> payload;
    std::vector<MPI_Request> requests;
  };
  enum class Stage { kHead, kPayload, kComplete };
  struct Incoming {
    Stage stage = Stage::kHead;
    std::vector<std::byte> head;
    Envelope envelope;
    std::vector<MPI_Request> requests;
  };
  struct Peer {
    uint64_t num_sent = 0;
    uint64_t num_headers_read = 0;
    std::deque<Incoming> incoming;  // In the order sent.
  };

  MpiCallSite Site(const char* operation) const {
    return {.operation = operation, .world_rank = rank_, .sequence = num_calls_};
  }
  absl::Status PostSends(Outgoing& out);
  // Frees what MPI has sent; gives up after `max_pending` messages that it has not. The next call
  // goes on behind those.
  absl::Status ReapSends(size_t max_pending);
  // Accepts the next header that has arrived, if any.
  absl::StatusOr<bool> AcceptHeader();
  // Moves the messages of one peer on, without waiting.
  absl::Status Advance(int source, Peer& peer);
  absl::Status ReadHeader(int source, Peer& peer, Incoming& in);
  absl::StatusOr<bool> Test(std::vector<MPI_Request>& requests, const char* operation);

  const MPI_Comm comm_;
  const int rank_;
  const MpiMessageLimits limits_;
  std::vector<Peer> peers_;  // By rank; this rank's own queue among them.
  size_t num_queued_ = 0;    // Over all peers.
  size_t next_source_ = 0;   // Whose turn it is in Poll: no rank starves another.
  std::list<Outgoing> outgoing_;
  int64_t num_calls_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TRANSPORT_MPI_MESSENGER_H_
