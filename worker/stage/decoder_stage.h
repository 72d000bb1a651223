// The decoder stage on one rank: continuous batching. A finished sequence leaves and a waiting one
// joins at any step. All ranks of the group hold the same state and make the same decisions; the
// leader alone knows what waits, and says in each step's plan who joins, who ends early and what is
// forgotten.
#ifndef TANDEM_WORKER_STAGE_DECODER_STAGE_H_
#define TANDEM_WORKER_STAGE_DECODER_STAGE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "worker/model/decoder.h"
#include "worker/stage/decoder_forward.h"
#include "worker/stage/memory_store.h"
#include "worker/stage/sequence_batch.h"
#include "worker/stage/stage.h"

namespace tandem {

class DecoderStage : public Stage {
 public:
  // Borrows decoder and pool. `progress` keeps messages moving while a member waits for states.
  DecoderStage(const ModelConfig& config, int max_num_seqs, Decoder& decoder, KvPool& pool,
               const Runtime& runtime, SendFunction send);

  absl::Status Handle(const Envelope& message) override;
  bool HasWork() const override;
  absl::Status DoWork() override;

 private:
  // What the leader tells the group before a step.
  struct Plan {
    std::vector<SequenceSpec> join;
    std::vector<MemoryKey> drop;
    std::vector<SequenceId> finish;
    std::optional<ForwardDecode> forward;

    std::vector<std::byte> Encode() const;
    static absl::StatusOr<Plan> Decode(absl::Span<const std::byte> bytes);
  };

  bool leads() const { return runtime_.tp->rank() == 0; }

  // On the leader.
  absl::StatusOr<Plan> MakePlan();
  bool Arrived(const ForwardDecode& forward) const;
  std::deque<SequenceSpec>::iterator FirstArrived();
  bool Fits(const SequenceSpec& sequence, int64_t free_pages) const;
  absl::Status ReturnToCoordinator(SequenceId id);
  absl::Status ForgetEarly(MemoryKey key);

  // On every rank.
  absl::Status AwaitMemory(MemoryKey key);
  absl::Status Join(const SequenceSpec& sequence);
  SequenceBatch::Events BatchEvents();

  const int64_t max_num_seqs_;  // Rows of a step.
  KvPool& pool_;
  const Runtime& runtime_;
  const SendFunction send_;
  MemoryStore memories_;
  SequenceBatch batch_;
  DecoderForward forward_;

  // On the leader. Bounded by the coordinator's credit.
  std::deque<SequenceSpec> waiting_;
  std::vector<MemoryKey> released_;
  std::vector<SequenceId> finish_;
  // Dropped to make room before the coordinator released them: who still comes for one is sent
  // back.
  absl::flat_hash_set<MemoryKey> dropped_early_;
  std::deque<ForwardDecode> forwards_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_DECODER_STAGE_H_
