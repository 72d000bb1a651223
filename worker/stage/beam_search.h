// The beams of one sequence, as transformers' vectorised beam search keeps them: which answers go
// on, which have ended, and when no better one can come. A state machine on numbers: no model, no
// memory, no ranks.
// Source: GenerationMixin._beam_search of transformers 5.23 (docs/decoding.md names the points).
#ifndef TANDEM_WORKER_STAGE_BEAM_SEARCH_H_
#define TANDEM_WORKER_STAGE_BEAM_SEARCH_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/protocol/messages.h"
#include "worker/stage/sampler.h"

namespace tandem {

class BeamSearch {
 public:
  // `spec` outlives it. It begins with one beam: the decoder prompt.
  explicit BeamSearch(const SequenceSpec& spec);

  // Extensions that each beam must be asked for, so that the best of all beams are known.
  int num_extensions() const { return num_kept_; }

  // One step: what may stand behind each running beam, best first.
  void Advance(absl::Span<const RowAnswer> answers);

  bool finished() const { return finished_; }
  // Running beams after Advance, best first: the beam before it that each goes on from, and its new
  // token. None when finished.
  struct Step {
    size_t parent = 0;
    int32_t token = -1;
  };
  const std::vector<Step>& running() const { return steps_; }

  // When finished: the best answers, best first.
  std::vector<SequenceOutput> TakeOutputs();

 private:
  struct Beam {
    std::vector<int32_t> token_ids;
    std::vector<TokenLogprobs> logprobs;
    float score = 0;  // Sum of the processed log-probabilities.
  };
  struct Continuation {
    size_t parent = 0;
    Extension token;
    float score = 0;
    bool ends = false;
  };

  std::vector<Continuation> BestContinuations(absl::Span<const RowAnswer> answers) const;
  bool Ends(int32_t token) const;
  void Finish(const Continuation& continuation, const RowAnswer& parent);
  bool MayImprove(float best_running_score) const;
  Beam Extend(const Continuation& continuation, const RowAnswer& parent) const;
  float Normalised(float score, int64_t length) const;

  const SequenceSpec& spec_;
  const size_t num_beams_;
  const int num_kept_;  // Continuations looked at in a step.
  int64_t num_generated_ = 0;
  bool finished_ = false;
  std::vector<Beam> beams_;
  std::vector<Step> steps_;
  std::vector<SequenceOutput> ended_;  // At most num_beams_, best first.
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_BEAM_SEARCH_H_
