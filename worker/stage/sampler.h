// From the hidden states of a step to what each row is asked for: the next token, a beam's best
// extensions, or the log-probability of a given token. Over a vocabulary split among ranks; every
// rank of the group comes to the same result.
#ifndef TANDEM_WORKER_STAGE_SAMPLER_H_
#define TANDEM_WORKER_STAGE_SAMPLER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/kernels/ops.h"
#include "common/parallel/communicator.h"
#include "common/parallel/leaves.h"
#include "common/protocol/messages.h"
#include "worker/stage/logit_edits.h"

namespace tandem {

// What one row is asked.
struct RowQuestion {
  const SequenceSpec* spec = nullptr;
  absl::Span<const int32_t> tokens;  // Decoder prompt and answer so far.
  size_t num_prompt = 0;
  int32_t target = -1;     // Not -1: this token's log-probability, nothing else.
  int num_extensions = 0;  // Not 0: so many, for a beam search.
};

// A token behind a beam.
struct Extension {
  int32_t id = -1;
  float score = 0;    // Its log-probability after the processors: what beams are chosen by.
  float logprob = 0;  // In the raw distribution.
};

struct RowAnswer {
  bool nonfinite = false;  // A logit is NaN or infinite: there is no answer.
  bool no_token = false;   // Every token is forbidden: neither.
  int32_t token = -1;
  float logprob = 0;                  // In the raw distribution, where the spec asks for one.
  std::vector<Candidate> top;         // num_logprobs alternatives; logit holds the log-probability.
  std::vector<Extension> extensions;  // Best first.
};

class Sampler {
 public:
  // Runs HeadScan over this rank's shard of the vocabulary.
  using ScanFunction = std::function<void(ConstMatrix states, absl::Span<const HeadRequest>,
                                          absl::Span<HeadResult>)>;

  Sampler(ScanFunction scan, const LeafShard& vocabulary, Communicator& tp);

  // Collective; states [questions.size(), hidden], the same on every rank.
  absl::StatusOr<std::vector<RowAnswer>> Answer(ConstMatrix states,
                                                absl::Span<const RowQuestion> questions);

  // Rows whose kept tokens did not lie among the candidates.
  int64_t num_searches() const { return num_searches_; }

 private:
  // A question on its way.
  struct Row {
    const RowQuestion* question = nullptr;
    LogitEdits edits;
    std::vector<float> logits;  // Of this shard, where the kept tokens may have to be searched.
  };
  struct Pick {
    Candidate token;  // logit holds logit / temperature + noise.
    float logit = 0;
  };

  absl::Status AnswerSome(ConstMatrix states, absl::Span<const RowQuestion> questions,
                          std::vector<RowAnswer>& answers);
  HeadRequest RequestOf(Row& row) const;
  absl::StatusOr<RowAnswer> AnswerOf(const Row& row, const HeadResult& found);
  std::vector<Extension> Extend(const Row& row, const HeadResult& found, float log_sum) const;
  absl::StatusOr<Candidate> TokenOf(const Row& row, const HeadResult& found);
  Candidate Best(const Row& row, const HeadResult& found) const;
  absl::StatusOr<Candidate> Draw(const Row& row, const HeadResult& found);
  absl::StatusOr<Candidate> DrawFromKept(const Row& row, const HeadResult& found,
                                         const std::vector<float>& edited_values);
  absl::StatusOr<Candidate> DrawFromSearch(const Row& row, const std::vector<float>& edited_values,
                                           float max, double total_mass);

  const ScanFunction scan_;
  const LeafShard vocabulary_;
  Communicator& tp_;
  int64_t num_searches_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_SAMPLER_H_
