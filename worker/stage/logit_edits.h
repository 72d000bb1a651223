// Which tokens' logits a request changes at a step, and how: bias, repetition, presence and
// frequency penalties, and what may not come at all (repeated n-grams, bad words, stop tokens of an
// answer that is too short). Few tokens of a vocabulary are touched, so the head is scanned as if
// there were none, and these are judged beside it.
// Source: the logits processors of transformers, in their order (docs/decoding.md).
#ifndef TANDEM_WORKER_STAGE_LOGIT_EDITS_H_
#define TANDEM_WORKER_STAGE_LOGIT_EDITS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/protocol/messages.h"

namespace tandem {

struct LogitEdit {
  float bias = 0;
  int32_t count = 0;  // Of the token in the answer.
  bool forbidden = false;
};

struct LogitEdits {
  std::vector<int32_t> ids;  // Sorted, each once.
  std::vector<LogitEdit> edits;
};

// `tokens`: the decoder's tokens, of which the first num_prompt are its prompt and the rest the
// answer so far. Penalties count the answer's tokens alone; n-grams and bad words see all.
LogitEdits CollectEdits(const SequenceSpec& spec, absl::Span<const int32_t> tokens,
                        size_t num_prompt);

// The logit (beam search: the log-probability) that the token is chosen by; -inf: it may not come.
float Apply(const LogitEdit& edit, const ChoiceSpec& choice, float logit);

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_LOGIT_EDITS_H_
