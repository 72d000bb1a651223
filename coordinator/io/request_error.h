// Why a request has no answer: a code for programs, a sentence for people, the field at fault.
#ifndef TANDEM_COORDINATOR_IO_REQUEST_ERROR_H_
#define TANDEM_COORDINATOR_IO_REQUEST_ERROR_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tandem {

enum class RequestErrorCode : uint8_t {
  kInvalidJson,
  kInvalidUtf8,
  kLineTooLong,
  kUnknownField,
  kMissingField,
  kInvalidValue,
  kDuplicateId,
  kUnsupported,
  kNoTokenizer,
  kEmptyPrompt,
  kPromptTooLong,
  kInvalidToken,
  kSpecialTokenInPrompt,
  kKvMemory,
  kNonFinite,
  kNoToken,
};
inline constexpr int kNumRequestErrorCodes = static_cast<int>(RequestErrorCode::kNoToken) + 1;

// One row of the table of codes, in the enum's order; the reference page is made of it.
struct RequestErrorInfo {
  absl::string_view name;     // As results have it: "invalid_json".
  absl::string_view meaning;  // Half a sentence.
};
absl::Span<const RequestErrorInfo> RequestErrorTable();
absl::string_view NameOf(RequestErrorCode code);

struct RequestError {
  RequestErrorCode code = RequestErrorCode::kInvalidJson;
  std::string message;
  std::string param;  // The field; empty: none (null in the result).
};

// The errors that are found after parsing. Their texts are part of the interface: scripts match
// them.
RequestError DuplicateIdError(absl::string_view id_json);
RequestError NoTokenizerError(absl::string_view param);
RequestError EmptyPromptError(absl::string_view param);
RequestError PromptTooLongError(absl::string_view param, int64_t tokens, int64_t limit);
// The same of what the decoder is given, which is never cut. `behind`: tokens in front of it.
RequestError DecoderTooLongError(absl::string_view param, int64_t tokens, int64_t behind,
                                 int64_t limit);
RequestError InvalidTokenError(absl::string_view param, int64_t index, int64_t token,
                               int64_t vocab_size);
RequestError SpecialTokenError(absl::string_view param, absl::string_view token);
// What can never fit: the K/V memory a request needs against what a decoder rank has, in tokens.
RequestError KvMemoryError(int64_t needed_tokens, int64_t available_tokens);
// `token_index`: the answer's token, from 0, at which a logit was NaN or infinite.
RequestError NonFiniteError(int64_t token_index);
// The same where the request's own options left no token to choose.
RequestError NoTokenError(int64_t token_index);
// embed: a state of the prompt was.
RequestError NonFiniteStatesError();
// embed --pooling none: a request that makes no tensor of its own in a safetensors file.
RequestError ReservedTensorNameError();
RequestError OneTensorError(absl::string_view param, size_t num_prompts);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_REQUEST_ERROR_H_
