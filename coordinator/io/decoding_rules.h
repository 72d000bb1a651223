// Which decoding options exclude each other, and who gives way.
//
// Settings come from several places; the nearer to the request, the stronger. Ways of decoding that
// exclude each other (sampling, beams, stop strings, best_of) are settled by that: the weaker one
// is put back to its neutral value, so that `num_beams: 4` in a request searches with beams
// although the model's generation_config.json asks for sampling, and `temperature: 0.7` draws
// although the job has --num-beams 4. Two from the same place are an error. Numbers that do not fit
// one another (min_tokens above max_tokens, n above num_beams) are an error wherever they come
// from: neither can be switched off.
#ifndef TANDEM_COORDINATOR_IO_DECODING_RULES_H_
#define TANDEM_COORDINATOR_IO_DECODING_RULES_H_

#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "coordinator/io/decoding_options.h"
#include "coordinator/io/request_error.h"
#include "coordinator/io/request_fields.h"

namespace tandem {

// How strong the place is that a field's value comes from: smaller is stronger.
using StrengthOf = absl::FunctionRef<int(Field)>;

// Applies the rule above. `reset` (may be null) gets the fields that were put back.
std::optional<RequestError> SettleContradictions(StrengthOf strength, DecodingOptions* options,
                                                 std::vector<Field>* reset);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_DECODING_RULES_H_
