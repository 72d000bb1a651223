// The decoder stage on one rank: continuous batching. A finished sequence leaves and a waiting one
// joins at any step. All ranks of the group hold the same state and make the same decisions; the
// leader alone knows what waits, and says in each step's plan who joins and what is forgotten.
#ifndef TANDEM_WORKER_STAGE_DECODER_STAGE_H_
#define TANDEM_WORKER_STAGE_DECODER_STAGE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "common/parallel/layout_groups.h"
#include "worker/model/decoder.h"
#include "worker/stage/memory_store.h"
#include "worker/stage/stage.h"

namespace tandem {

class DecoderStage : public Stage {
 public:
  // Borrows decoder and pool. `progress` keeps messages moving while a member waits for states.
  DecoderStage(const LayoutGroup& group, const ModelConfig& config, int max_num_seqs,
               Decoder& decoder, KvPool& pool, const Runtime& runtime, SendFunction send);

  absl::Status Handle(const Envelope& message) override;
  bool HasWork() const override;
  absl::Status DoWork() override;

 private:
  // A sequence in the batch.
  struct Live {
    SequenceSpec spec;
    std::vector<int32_t> tokens;  // Decoder prompt, then what was generated.
    int64_t num_computed = 0;     // Tokens whose K and V are stored.
    std::vector<int32_t> pages;
    int32_t num_generated = 0;
    SequenceDone done;  // Filled as tokens come.
  };

  // What the leader tells the group before a step.
  struct Plan {
    std::vector<SequenceSpec> join;
    std::vector<MemoryKey> drop;
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

  // On every rank, in the order of a step.
  absl::Status AwaitMemory(MemoryKey key);
  absl::Status Join(const SequenceSpec& sequence);
  absl::Status MakeRoom();
  bool AllocateFor(Live& sequence, int64_t new_tokens);
  void AddRows(Live& sequence, int64_t rows, StepBatch& batch);
  absl::Status Step();
  absl::Status Choose(ConstMatrix states, const std::vector<Live*>& sampled);
  void Take(const HeadResult& result, Live& sequence);
  absl::Status Retire(Live& sequence);
  absl::Status ForwardRows(const ForwardDecode& forward);
  absl::Status ForwardOne(const ForwardRow& row, int64_t first_row, const TapSink& taps);

  const LayoutGroup group_;
  const ModelConfig& config_;
  const size_t max_num_seqs_;
  Decoder& decoder_;
  KvPool& pool_;
  const Runtime& runtime_;
  const SendFunction send_;
  MemoryStore memories_;
  std::vector<Live> live_;  // Oldest first.

  // On the leader. Bounded by the coordinator's credit.
  std::deque<SequenceSpec> waiting_;
  std::vector<MemoryKey> released_;
  // Dropped to make room before the coordinator released them: who still comes for one is sent
  // back.
  absl::flat_hash_set<MemoryKey> dropped_early_;
  std::deque<ForwardDecode> forwards_;
  ScratchMatrix sampled_states_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_DECODER_STAGE_H_
