// One line of the input as a request, or the reason why it is none.
#ifndef TANDEM_COORDINATOR_IO_REQUEST_H_
#define TANDEM_COORDINATOR_IO_REQUEST_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/io/decoding_options.h"
#include "coordinator/io/request_error.h"
#include "coordinator/io/request_fields.h"

namespace tandem {

struct RequestId {
  std::string json;  // As the line has it: `7`, `"7"`, `"caf\u00e9"`; what results give back.
  std::string key;   // What must be unique: `7` for the first two.
};

// One of the two; text is UTF-8 and may hold NUL, ids are not empty where there is no text.
struct Prompt {
  std::optional<std::string> text;
  std::vector<int32_t> token_ids;
};

// What the answer to an OpenAI batch line needs of it. Shared: it is as long as the answer is
// waited for.
struct OpenAiLine {
  LineForm body = LineForm::kCompletions;  // kCompletions, kChat or kEmbeddings.
  // 32 hexadecimal digits, of custom_id and the body's bytes: every id in the answer is made of it.
  std::string hash;
  std::string custom_id_json;  // As the line has it; "null" where it has none.
  std::string model;
  bool base64 = false;  // Embeddings.
};

struct Request {
  int64_t line = 0;  // From 1.
  RequestId id;
  std::vector<Prompt> prompts;  // tandem's own lines have exactly one.
  // generate. At most one of the two; as given, without the start token.
  std::optional<std::string> decoder_prompt;
  std::optional<std::vector<int32_t>> decoder_prompt_token_ids;
  DecodingOptions decoding;
  // score. Exactly one of the two; ids as given, without start token and eos.
  std::optional<std::string> target;
  std::optional<std::vector<int32_t>> target_token_ids;
  bool add_eos = true;
  std::string metadata_json;                 // The line's own bytes; empty: none was given.
  std::shared_ptr<const OpenAiLine> openai;  // Null: one of tandem's own lines.
};

// What messages about the i-th prompt call it: "prompt", "prompt_token_ids", "messages", ...
std::string PromptParam(const Request& request, size_t i);

// What a request gets where its line says nothing.
struct RequestDefaults {
  DecodingOptions decoding;
  // At most one of the two.
  std::optional<std::string> decoder_prompt;
  std::optional<std::vector<int32_t>> decoder_prompt_token_ids;
  uint64_t job_seed = 0;
  // Somebody said them: OpenAI's own defaults (16 tokens, temperature 1) don't apply.
  bool max_tokens_given = false;
  bool temperature_given = false;
};

struct RequestOptions {
  LineForm form = LineForm::kGenerate;  // kGenerate, kScore or kEmbed.
  bool ignore_unknown_fields = false;
  // Token ids must be below these; 0: not checked.
  int64_t encoder_vocab_size = 0;  // prompt_token_ids
  int64_t decoder_vocab_size = 0;  // decoder_prompt_token_ids, stop_token_ids, targets, biases
  int64_t embedding_dim = 0;       // What `dimensions` may be; 0: not checked.
};

// A line that gets an error result.
struct RejectedLine {
  int64_t line = 0;
  RequestId id;           // The line's own where it could be read, else the default.
  bool id_given = false;  // It is the line's own: it takes part in the search for duplicates.
  RequestError error;
  std::string metadata_json;                 // Empty: none, or not readable.
  std::shared_ptr<const OpenAiLine> openai;  // Null: the answer has tandem's own form.
};

// The id of a line that gives none: its number from 0, as a string.
RequestId DefaultId(int64_t line_number);

// `line` without its newline; line_number from 1. The whole line is checked before its fields are:
// text that is not JSON is invalid_json whatever stands in it. Of several faults in the fields
// the first in the line is told. A null is a field that is not given (metadata's is a value). Where
// an integer is wanted, 2.0 is one and 2.5 is not; an id has no fraction or exponent. A line with a
// custom_id, or with url and body, is an OpenAI batch line, whatever the form. Pure; any bytes are
// allowed; memory is bounded by a small multiple of the line.
std::variant<Request, RejectedLine> ParseRequest(absl::string_view line, int64_t line_number,
                                                 const RequestDefaults& defaults,
                                                 const RequestOptions& options);

// What a request without a seed draws from: it depends on the job's seed and the id alone, not on
// where the line stands. XXH3-64 of the id's key, seeded with the job's.
uint64_t DerivedSeed(uint64_t job_seed, absl::string_view id_key);

// For a line that was skipped because it has more than max_bytes.
RejectedLine RejectTooLongLine(int64_t line_number, int64_t bytes, int64_t max_bytes);

// For a request that is refused after parsing.
RejectedLine Reject(const Request& request, RequestError error);

// The line that --prompt or --prompt-token-ids stands for.
std::string RequestLineFor(absl::string_view prompt);
std::string RequestLineFor(absl::Span<const int32_t> prompt_token_ids);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_REQUEST_H_
