// Results of OpenAI batch lines, in OpenAI's form. Used by result.cc alone.
#ifndef TANDEM_COORDINATOR_IO_OPENAI_RESULT_H_
#define TANDEM_COORDINATOR_IO_OPENAI_RESULT_H_

#include <string>

#include "coordinator/io/result.h"

namespace tandem {

// Each is one line without its newline; `openai` is set. Nothing depends on time or place: ids are
// made of the request's hash, and `created` is 0.
std::string FormatOpenAiResult(const Result& result);
std::string FormatOpenAiEmbedding(const EmbedResult& result);
std::string FormatOpenAiError(const RejectedLine& rejected);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_OPENAI_RESULT_H_
