// One line of the input as a request, or the reason why it is none.
#ifndef TANDEM_COORDINATOR_IO_REQUEST_H_
#define TANDEM_COORDINATOR_IO_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/io/request_error.h"

namespace tandem {

struct RequestId {
  std::string json;  // As the line has it: `7`, `"7"`, `"caf\u00e9"`; what results give back.
  std::string key;   // What must be unique: `7` for the first two.
};

struct Request {
  int64_t line = 0;  // From 1.
  RequestId id;
  std::optional<std::string> prompt;      // Exactly one of the two; UTF-8, may hold NUL.
  std::vector<int32_t> prompt_token_ids;  // Not empty where prompt is not set.
  // At most one of the two; as given, without the start token.
  std::optional<std::string> decoder_prompt;
  std::optional<std::vector<int32_t>> decoder_prompt_token_ids;
  int32_t max_tokens = 256;
  int32_t min_tokens = 0;  // At most max_tokens.
  bool ignore_eos = false;
  std::vector<int32_t> stop_token_ids;  // Beside the model's eos ids; sorted, each once.
  std::optional<int32_t> logprobs;      // Alternatives a token; not set: no log-probabilities.
  std::string metadata_json;            // The line's own bytes; empty: none was given.
};

// What a request gets where its line says nothing.
struct RequestDefaults {
  int32_t max_tokens = 256;
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<int32_t> stop_token_ids;
  std::optional<int32_t> logprobs;
  std::optional<std::string> decoder_prompt;
};

struct RequestOptions {
  bool ignore_unknown_fields = false;
  // Token ids must be below these; 0: not checked.
  int64_t encoder_vocab_size = 0;  // prompt_token_ids
  int64_t decoder_vocab_size = 0;  // decoder_prompt_token_ids, stop_token_ids
};

// A line that gets an error result.
struct RejectedLine {
  int64_t line = 0;
  RequestId id;           // The line's own where it could be read, else the default.
  bool id_given = false;  // It is the line's own: it takes part in the search for duplicates.
  RequestError error;
  std::string metadata_json;  // Empty: none, or not readable.
};

// The id of a line that gives none: its number from 0, as a string.
RequestId DefaultId(int64_t line_number);

// `line` without its newline; line_number from 1. The whole line is checked before its fields are:
// text that is not JSON is invalid_json whatever stands in it. Of several faults in the fields
// the first in the line is told. A null is a field that is not given (metadata's is a value). Where
// an integer is wanted, 2.0 is one and 2.5 is not; an id has no fraction or exponent. Pure; any
// bytes are allowed; memory is bounded by a small multiple of the line.
std::variant<Request, RejectedLine> ParseRequest(absl::string_view line, int64_t line_number,
                                                 const RequestDefaults& defaults,
                                                 const RequestOptions& options);

// For a line that was skipped because it has more than max_bytes.
RejectedLine RejectTooLongLine(int64_t line_number, int64_t bytes, int64_t max_bytes);

// For a request that is refused after parsing.
RejectedLine Reject(const Request& request, RequestError error);

// The line that --prompt or --prompt-token-ids stands for.
std::string RequestLineFor(absl::string_view prompt);
std::string RequestLineFor(absl::Span<const int32_t> prompt_token_ids);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_REQUEST_H_
