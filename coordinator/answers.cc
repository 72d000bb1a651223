#include "coordinator/answers.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "coordinator/answer_text.h"
#include "coordinator/io/result.h"
#include "coordinator/io/states_file.h"

namespace tandem {
namespace {

// A sequence's output as the request wants it.
struct Answer {
  ResultOutput output;
  float cumulative_logprob = 0;
  int64_t completion_tokens = 0;
};

class AnswerMaker {
 public:
  AnswerMaker(const DecodingOptions& decoding, const Tokenizer* tokenizer)
      : decoding_(decoding), tokenizer_(tokenizer) {}

  Answer Make(const SequenceOutput& sequence) const {
    Answer answer;
    answer.output.token_ids = sequence.token_ids;
    answer.output.finish_reason =
        sequence.reason == SequenceEnd::kStop ? FinishReason::kStop : FinishReason::kLength;
    if (sequence.reason == SequenceEnd::kStop) answer.output.stop_reason = sequence.stop_token;
    answer.completion_tokens = sequence.completion_tokens();
    if (tokenizer_ != nullptr) SetText(answer);
    SetLogprobs(sequence, answer);
    if (decoding_.num_beams > 1) answer.output.score = sequence.score;
    return answer;
  }

 private:
  void SetText(Answer& answer) const {
    std::vector<int32_t>& ids = answer.output.token_ids;
    AnswerText text(*tokenizer_, decoding_);
    for (const int32_t id : ids) {
      if (text.Push(id)) break;
    }
    text.End();
    answer.output.text = text.text();
    if (text.stop() == nullptr) return;
    // With the token that completed the stop string, and without what came after it.
    ids.resize(static_cast<size_t>(text.num_tokens()));
    answer.output.finish_reason = FinishReason::kStop;
    answer.output.stop_reason = *text.stop();
    answer.completion_tokens = text.num_tokens();
  }

  std::string TextOf(int32_t id) const {
    return tokenizer_ == nullptr ? std::string() : tokenizer_->TokenText(id);
  }

  // One entry a token; a stop token behind them counts in the sum alone.
  void SetLogprobs(const SequenceOutput& sequence, Answer& answer) const {
    if (sequence.logprobs.empty()) return;
    for (int64_t i = 0; i < answer.completion_tokens; ++i) {
      answer.cumulative_logprob += sequence.logprobs[static_cast<size_t>(i)].logprob;
    }
    if (!decoding_.logprobs.has_value()) return;
    answer.output.cumulative_logprob = answer.cumulative_logprob;
    std::vector<TokenLogprob>& entries = answer.output.logprobs.emplace();
    for (size_t i = 0; i < answer.output.token_ids.size(); ++i) {
      const int32_t id = answer.output.token_ids[i];
      TokenLogprob entry{
          .token_id = id, .token = TextOf(id), .logprob = sequence.logprobs[i].logprob, .top = {}};
      for (const Candidate& candidate : sequence.logprobs[i].top) {
        entry.top.push_back(
            {.token_id = candidate.id, .token = TextOf(candidate.id), .logprob = candidate.logit});
      }
      entries.push_back(std::move(entry));
    }
  }

  const DecodingOptions& decoding_;
  const Tokenizer* const tokenizer_;
};

// n answers of one prompt, in the order in which they are given back.
std::vector<Answer> AnswersOf(absl::Span<const SequenceDone> sequences,
                              const DecodingOptions& decoding, const AnswerMaker& maker) {
  std::vector<Answer> answers;
  for (const SequenceDone& done : sequences) {
    for (const SequenceOutput& output : done.outputs) answers.push_back(maker.Make(output));
  }
  const auto n = static_cast<size_t>(decoding.n);
  if (answers.size() > n) {  // best_of
    std::stable_sort(answers.begin(), answers.end(), [](const Answer& a, const Answer& b) {
      return a.cumulative_logprob > b.cumulative_logprob;
    });
    answers.resize(n);
  }
  // Without sampling there was one for all.
  if (decoding.num_beams == 1) answers.resize(n, Answer(answers.front()));
  return answers;
}

// Whether a stop string ends the answer: what was computed behind it does not count, since whether
// it is at all is a matter of time.
bool IsStopped(const SequenceOutput& output, const DecodingOptions& decoding,
               const Tokenizer* tokenizer) {
  if (tokenizer == nullptr || decoding.stop.empty()) return false;
  AnswerText text(*tokenizer, decoding);
  return std::any_of(output.token_ids.begin(), output.token_ids.end(),
                     [&](int32_t token) { return text.Push(token); });
}

// Why a sequence broke off; none: none did.
std::optional<RequestError> BrokenOff(const DecodedRequest& decoded, const Tokenizer* tokenizer) {
  for (const SequenceDone& done : decoded.sequences) {
    for (const SequenceOutput& output : done.outputs) {
      const bool nonfinite = output.reason == SequenceEnd::kNonfinite;
      if (!nonfinite && output.reason != SequenceEnd::kNoToken) continue;
      if (IsStopped(output, decoded.request.decoding, tokenizer)) continue;
      const auto token = static_cast<int64_t>(output.token_ids.size());
      return nonfinite ? NonFiniteError(token) : NoTokenError(token);
    }
  }
  return std::nullopt;
}

FinishedRequest NonFiniteStates(const EmbeddedRequest& embedded) {
  return {.number = embedded.number, .rejected = Reject(embedded.request, NonFiniteStatesError())};
}

}  // namespace

FinishedRequest GenerateResult(const DecodedRequest& decoded, const Tokenizer* tokenizer,
                               bool text_format) {
  const Request& request = decoded.request;
  if (std::optional<RequestError> error = BrokenOff(decoded, tokenizer)) {
    return {.number = decoded.number, .rejected = Reject(request, *std::move(error))};
  }
  auto result = AnswerTo<Result>(request);
  result.truncated = decoded.truncated;
  result.prompt_tokens = decoded.prompt_tokens;
  const AnswerMaker maker(request.decoding, tokenizer);
  const size_t samples = decoded.sequences.size() / static_cast<size_t>(decoded.num_prompts);
  const absl::Span<const SequenceDone> sequences = decoded.sequences;
  for (size_t first = 0; first < sequences.size(); first += samples) {
    for (Answer& answer : AnswersOf(sequences.subspan(first, samples), request.decoding, maker)) {
      answer.output.index = static_cast<int>(result.outputs.size());
      result.completion_tokens += answer.completion_tokens;
      result.outputs.push_back(std::move(answer.output));
    }
  }
  FinishedRequest finished;
  finished.number = decoded.number;
  finished.line = text_format ? FormatResultAsText(result) : FormatResult(result);
  finished.prompt_tokens = result.prompt_tokens;
  finished.completion_tokens = result.completion_tokens;
  return finished;
}

FinishedRequest ScoreResultOf(const DecodedRequest& decoded) {
  if (std::optional<RequestError> error = BrokenOff(decoded, /*tokenizer=*/nullptr)) {
    return {.number = decoded.number, .rejected = Reject(decoded.request, *std::move(error))};
  }
  auto result = AnswerTo<ScoreResult>(decoded.request);
  result.truncated = decoded.truncated;
  result.prompt_tokens = decoded.prompt_tokens;
  const SequenceOutput& output = decoded.sequences.front().outputs.front();
  result.token_ids = output.token_ids;
  double sum = 0;  // f64: a long target's sum is as good as its parts.
  for (const TokenLogprobs& token : output.logprobs) {
    result.logprobs.push_back(token.logprob);
    sum += static_cast<double>(token.logprob);
  }
  result.sum_logprob = static_cast<float>(sum);
  FinishedRequest finished;
  finished.number = decoded.number;
  finished.line = FormatScore(result);
  finished.prompt_tokens = result.prompt_tokens;
  finished.completion_tokens = static_cast<int64_t>(result.token_ids.size());
  return finished;
}

FinishedRequest EmbedResultOf(const EmbeddedRequest& embedded, bool normalize) {
  auto result = AnswerTo<EmbedResult>(embedded.request);
  result.truncated = embedded.truncated;
  result.prompt_tokens = embedded.prompt_tokens;
  for (const EmbeddedRequest::States& states : embedded.prompts) {
    std::vector<float> vector = states.data;
    double squares = 0;
    for (const float x : vector) squares += static_cast<double>(x) * x;
    if (!std::isfinite(squares)) {
      return NonFiniteStates(embedded);
    }
    if (normalize && squares > 0) {
      for (float& x : vector) x = static_cast<float>(x / std::sqrt(squares));
    }
    result.embeddings.push_back(std::move(vector));
  }
  FinishedRequest finished;
  finished.number = embedded.number;
  finished.line = FormatEmbedding(result);
  finished.prompt_tokens = embedded.prompt_tokens;
  return finished;
}

FinishedRequest StatesResultOf(const EmbeddedRequest& embedded) {
  FinishedRequest finished;
  finished.number = embedded.number;
  finished.prompt_tokens = embedded.prompt_tokens;
  const EmbeddedRequest::States& states = embedded.prompts.front();
  if (!std::all_of(states.data.begin(), states.data.end(),
                   [](float x) { return std::isfinite(x); })) {
    return NonFiniteStates(embedded);
  }
  finished.line = StatesFile::Encode(embedded.request.id.key, states.rows, states.data);
  return finished;
}

}  // namespace tandem
