// The sequences that a decoder group works on, on one rank: a step gives each of them a token (or
// its beams theirs), or, where tokens are given, their log-probabilities. All ranks of the group
// hold the same sequences and come to the same decisions.
#ifndef TANDEM_WORKER_STAGE_SEQUENCE_BATCH_H_
#define TANDEM_WORKER_STAGE_SEQUENCE_BATCH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "worker/model/decoder.h"
#include "worker/stage/beam_search.h"
#include "worker/stage/memory_store.h"
#include "worker/stage/sampler.h"
#include "worker/stage/stage.h"

namespace tandem {

// Rows of a step beside one for each sequence that decodes: how long given tokens are cut.
inline constexpr int64_t kPrefillRows = 512;

class SequenceBatch {
 public:
  // What the rest of the group's leader has to know; called on every rank.
  struct Events {
    std::function<absl::Status(SequenceId)> evicted;        // Put back: it was computed in vain.
    std::function<absl::Status(MemoryKey)> memory_dropped;  // To make room.
    std::function<absl::Status(const SequenceDone&)> done;
    std::function<absl::Status(const StreamedTokens&)> streamed;
  };

  // Borrows decoder, pool, memories and tp.
  SequenceBatch(Decoder& decoder, KvPool& pool, MemoryStore& memories, Communicator& tp,
                Events events);

  bool empty() const { return live_.empty(); }
  // Rows of a decoding step: a beam search counts with all its beams.
  int64_t num_rows() const;
  bool Has(SequenceId id) const;

  // Its memory is stored.
  void Join(const SequenceSpec& spec);
  // It ends with what it has.
  absl::Status Finish(SequenceId id);
  absl::Status Step();

 private:
  // A run of tokens and their K and V: a sequence, or one of its beams.
  struct Branch {
    std::vector<int32_t> tokens;  // Decoder prompt, then the answer (or the target).
    int64_t num_computed = 0;     // Tokens whose K and V are stored.
    std::vector<int32_t> pages;   // The last may be another beam's too until it is written to.
  };
  struct Live {
    SequenceSpec spec;
    std::vector<Branch> branches;  // One; a beam search's running beams.
    std::unique_ptr<BeamSearch> beams;
    SequenceOutput output;  // Without beams: filled as tokens come.
    SequenceDone done;
    bool ended = false;
    bool broken = false;  // Without an answer: output says why.
  };
  // A row of the step whose states are asked for.
  struct Asked {
    Live* live = nullptr;
    size_t branch = 0;
    int64_t row = 0;      // Of the batch.
    int32_t target = -1;  // As in RowQuestion.
  };

  static int64_t NumToCompute(const Live& live, const Branch& branch);
  absl::Status AllocateRows(std::vector<std::vector<int64_t>>& rows);
  bool Allocate(Live& live, Branch& branch, int64_t new_tokens);
  absl::Status MakeRoom();
  void AddRows(Live& live, size_t branch, int64_t rows, StepBatch& batch,
               std::vector<Asked>& asked);
  absl::StatusOr<std::vector<RowAnswer>> Ask(ConstMatrix states, const std::vector<Asked>& asked);
  void Take(Live& live, absl::Span<const RowAnswer> answers);
  void TakeToken(Live& live, const RowAnswer& answer);
  void TakeTargets(Live& live, absl::Span<const RowAnswer> answers);
  void TakeBeams(Live& live, absl::Span<const RowAnswer> answers);
  absl::Status Stream();
  absl::Status RetireEnded();
  void Release(Live& live);

  Decoder& decoder_;
  KvPool& pool_;
  MemoryStore& memories_;
  const Events events_;
  Sampler sampler_;
  std::vector<std::unique_ptr<Live>> live_;  // Oldest first.
  ScratchMatrix asked_states_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_SEQUENCE_BATCH_H_
