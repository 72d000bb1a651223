// Results as lines: what is in one, and its exact bytes.
#ifndef TANDEM_COORDINATOR_IO_RESULT_H_
#define TANDEM_COORDINATOR_IO_RESULT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/io/request.h"

namespace tandem {

enum class FinishReason : uint8_t { kStop, kLength };
absl::string_view NameOf(FinishReason reason);  // "stop", "length"

struct TokenAlternative {
  int32_t token_id = 0;
  std::string token;
  float logprob = 0.0f;
};

struct TokenLogprob {
  int32_t token_id = 0;
  std::string token;
  float logprob = 0.0f;
  std::vector<TokenAlternative> top;
};

struct ResultOutput {
  int index = 0;
  std::optional<std::string> text;  // Not set (null): the model folder has no tokenizer.
  std::vector<int32_t> token_ids;   // Without the stop token.
  FinishReason finish_reason = FinishReason::kStop;
  // The stop token's id or the stop string; neither (null) with kLength.
  std::variant<std::monostate, int32_t, std::string> stop_reason;
  std::optional<float> cumulative_logprob;            // The stop token's included; with logprobs.
  std::optional<float> score;                         // A beam's length-normalised score.
  std::optional<std::vector<TokenLogprob>> logprobs;  // One a token of token_ids, where asked for.
};

// Of each result: whose it is and what it cost. Made by AnswerTo.
struct ResultHead {
  RequestId id;
  int64_t prompt_tokens = 0;  // Of all prompts.
  bool truncated = false;
  std::string metadata_json;                 // Empty: none.
  std::shared_ptr<const OpenAiLine> openai;  // Null: in tandem's own form.
};

// generate. The outputs of the i-th of several prompts are numbered from i * n on.
struct Result : ResultHead {
  std::vector<ResultOutput> outputs;
  int64_t completion_tokens = 0;  // The stop tokens count.
};

// score
struct ScoreResult : ResultHead {
  std::vector<int32_t> token_ids;  // The target's; the eos where it was added.
  std::vector<float> logprobs;     // One a token.
  float sum_logprob = 0.0f;
};

// embed: a vector for each prompt.
struct EmbedResult : ResultHead {
  std::vector<std::vector<float>> embeddings;
};

// An empty result with what it takes over from its request.
template <typename ResultT>
ResultT AnswerTo(const Request& request) {
  ResultT result;
  result.id = request.id;
  result.metadata_json = request.metadata_json;
  result.openai = request.openai;
  return result;
}

// Each is one line without its newline. Valid UTF-8 and JSON whatever the strings hold. In OpenAI's
// form where the request was.
std::string FormatResult(const Result& result);
std::string FormatScore(const ScoreResult& result);
std::string FormatEmbedding(const EmbedResult& result);
std::string FormatError(const RejectedLine& rejected);

// --format text: the answers' texts, one after the other with newlines between them (ids where
// there is no text).
std::string FormatResultAsText(const Result& result);

// The shortest decimal that reads back as the same float; null where it is not finite.
void AppendFloat(float value, std::string* out);
// "[0.5,-1]"
void AppendFloats(absl::Span<const float> values, std::string* out);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_RESULT_H_
