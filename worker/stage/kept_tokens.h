// top-k, top-p and min-p: which tokens a choice at random is made among, exactly, over a vocabulary
// that is split among ranks. Order is by logit / temperature, then by the lower id. In
// transformers' order:
//   top_k   keeps every token whose value is at least the k-th largest (ties stay)
//   top_p   of those, keeps a token while the mass of the better ones is below top_p of their mass
//   min_p   of those, keeps a token whose probability is at least min_p of the largest
// The mass of a token is floor(2^40 exp(value - max)), an integer: sums of them do not depend on
// their order, so any split of the vocabulary finds the same tokens. 2^-40 of the largest
// probability is far below fp32's own error in a sum of probabilities. What top_p is a share of is
// the integers' sum behind top_k; without it, the softmax's sum over the whole vocabulary, which is
// added up the vocabulary's tree and so is one number in any split, too.
//
// Two ways lead to the same tokens. The best few hundred are at hand anyway (Candidates); where the
// borders lie among them, all is known. Where they do not, ranks search the borders over their
// whole shards (SearchKept): histograms of a digit at a time are added up, never logits gathered.
#ifndef TANDEM_WORKER_STAGE_KEPT_TOKENS_H_
#define TANDEM_WORKER_STAGE_KEPT_TOKENS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/kernels/ops.h"
#include "common/parallel/communicator.h"
#include "common/protocol/messages.h"

namespace tandem {

// Candidates of a row from the head's scan: at most so many are asked for.
inline constexpr int kMaxCandidates = 1024;

bool Truncates(const ChoiceSpec& choice);
// How many candidates make it likely that the borders lie among them.
int NumCandidates(const ChoiceSpec& choice);
// Whether the mass of the whole vocabulary is needed (HeadRequest::scaled_sum).
bool NeedsTotalMass(const ChoiceSpec& choice);

// In units of the largest token's mass; `max`: the largest logit / temperature.
double TotalMass(const LogSumExp& scaled_sum, absl::Span<const float> edited_values, float max);

// The kept ones of `tokens` (logit holds logit / temperature), which are in order and hold every
// token whose value is above `floor` (-inf: they are the whole vocabulary). None where the borders
// lie at or below the floor. total_mass as from TotalMass, where NeedsTotalMass.
std::optional<std::vector<Candidate>> KeptOf(const ChoiceSpec& choice,
                                             absl::Span<const Candidate> tokens, float floor,
                                             double total_mass);

// The same tokens, out of this rank's shard: values [i] is logit / temperature of token
// first_id + i (-inf: it may not come). Collective. `max` is the largest of all ranks.
absl::StatusOr<std::vector<Candidate>> SearchKept(const ChoiceSpec& choice,
                                                  absl::Span<const float> values, int32_t first_id,
                                                  float max, double total_mass, Communicator& tp);

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_KEPT_TOKENS_H_
