// From what the ranks computed to result lines.
#ifndef TANDEM_COORDINATOR_ANSWERS_H_
#define TANDEM_COORDINATOR_ANSWERS_H_

#include "common/text/tokenizer.h"
#include "coordinator/decode_work.h"
#include "coordinator/embed_work.h"
#include "coordinator/request_work.h"

namespace tandem {

// The result of a generate request: texts cut at stop strings, the best of the samples, beams in
// their order; an error where a logit was NaN or infinite. `tokenizer` null: texts are null.
FinishedRequest GenerateResult(const DecodedRequest& decoded, const Tokenizer* tokenizer,
                               bool text_format);

// The result of a score request.
FinishedRequest ScoreResultOf(const DecodedRequest& decoded);

// The results of embed requests: vectors, or whole states for a StatesFile.
FinishedRequest EmbedResultOf(const EmbeddedRequest& embedded, bool normalize);
FinishedRequest StatesResultOf(const EmbeddedRequest& embedded);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_ANSWERS_H_
