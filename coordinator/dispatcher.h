// Decides what is computed where and when: a state machine without threads, clocks or I/O. Requests
// and the ranks' messages go in; messages to the ranks and finished sequences come out.
//
// Encoder work is batched by token budget and similar length. A decoder group gets new sequences
// while few of its own have not started, so that its memory for encoded prompts stays bounded and
// no group idles. Requests with equal prompts are encoded once while one of them is in flight.
#ifndef TANDEM_COORDINATOR_DISPATCHER_H_
#define TANDEM_COORDINATOR_DISPATCHER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "common/parallel/layout_groups.h"
#include "common/parallel/world.h"
#include "common/protocol/coordinator_port.h"
#include "common/protocol/messages.h"
#include "coordinator/dispatch_request.h"
#include "coordinator/encoder_batches.h"

namespace tandem {

struct DispatcherConfig {
  std::vector<LayoutGroup> groups;
  int max_num_seqs = 32;
  int64_t max_batch_tokens = 4096;
};

class Dispatcher {
 public:
  explicit Dispatcher(DispatcherConfig config);

  // K/V pages that a sequence can need at most; more than the smallest decoder group has (any may
  // get it) never fits.
  static int64_t PagesAtMost(size_t encoder_tokens, const SequenceSpec& sequence);

  // Whether more requests help to form batches: the pool is not full.
  bool WantsRequests() const { return pending_.size() < kPoolRequests; }
  void Add(DispatchRequest request);

  // Takes a rank's message. INTERNAL / DATA_LOSS when it makes no sense.
  absl::Status Handle(const Envelope& message);
  // Sends what can be sent now; call after Add and Handle.
  std::vector<CoordinatorPort::Outgoing> Dispatch();
  std::vector<SequenceDone> TakeDone() { return std::exchange(done_, {}); }
  // What happened to sequences that stream, in order.
  struct StreamEvent {
    SequenceId id = 0;
    int32_t token = -1;  // -1: it was put back and begins anew.
  };
  std::vector<StreamEvent> TakeStreamed() { return std::exchange(streamed_, {}); }
  // All that is wanted of it has come; it may end early. Nothing where it has left already.
  void Finish(SequenceId id);

  bool idle() const { return pending_.empty() && in_flight_.empty() && encoders_.idle(); }
  const DispatchCounts& counts() const { return counts_; }

 private:
  static constexpr size_t kPoolRequests = 512;

  struct Memory {
    MemoryKey key = 0;
    int decoder_group = 0;
    int64_t users = 0;      // Sequences in flight.
    bool shareable = true;  // Not evicted.
    std::vector<int32_t> ids;
  };
  struct InFlight {
    SequenceSpec sequence;
    int64_t encoder_tokens = 0;
    int decoder_group = 0;
    bool started = false;
  };
  struct DecoderState {
    int64_t in_flight = 0;
    int64_t unstarted = 0;
    int64_t unstarted_tokens = 0;
  };

  bool HasRoom(const DecoderState& decoder) const;
  int RoomiestDecoder() const;
  void ShareEncodings();
  bool SendBatch();
  std::vector<size_t> ChooseBatch(const DecoderState& decoder) const;
  Memory* FindShareable(const std::vector<int32_t>& ids) const;
  void Launch(const DispatchRequest& request, Memory& memory);
  absl::Status Leave(SequenceId id, bool evicted);
  void Send(int group, MessageKind kind, std::vector<std::byte> payload);

  const DispatcherConfig config_;
  EncoderCredit encoders_;
  std::vector<DecoderState> decoders_;  // By group id.
  std::deque<DispatchRequest> pending_;
  absl::flat_hash_map<SequenceId, InFlight> in_flight_;
  absl::flat_hash_map<MemoryKey, std::unique_ptr<Memory>> memories_;
  absl::flat_hash_map<uint64_t, MemoryKey> newest_by_hash_;  // XXH3 of the ids.
  MemoryKey last_key_ = 0;
  uint64_t last_batch_ = 0;
  std::vector<CoordinatorPort::Outgoing> outgoing_;
  std::vector<SequenceDone> done_;
  std::vector<StreamEvent> streamed_;
  DispatchCounts counts_;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_DISPATCHER_H_
