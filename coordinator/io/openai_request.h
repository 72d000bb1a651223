// OpenAI batch lines as requests: {"custom_id", "method", "url", "body"}. Used by request.cc alone.
#ifndef TANDEM_COORDINATOR_IO_OPENAI_REQUEST_H_
#define TANDEM_COORDINATOR_IO_OPENAI_REQUEST_H_

#include <cstdint>
#include <variant>

#include "absl/strings/string_view.h"
#include "coordinator/io/request.h"

namespace tandem {

// Texts or lists of ids in one line, and answers to all of them together.
inline constexpr int64_t kMaxPromptsOfLine = 2048;

// `line` is valid JSON, an object.
std::variant<Request, RejectedLine> ParseBatchLine(absl::string_view line, int64_t line_number,
                                                   const RequestDefaults& defaults,
                                                   const RequestOptions& options);

// For a batch line that is not valid JSON: `id` is what could be read.
RejectedLine RejectBatchLine(absl::string_view line, RequestId id, bool id_given,
                             int64_t line_number, RequestError error);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_OPENAI_REQUEST_H_
