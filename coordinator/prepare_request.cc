#include "coordinator/prepare_request.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/kernels/kv_layout.h"

namespace tandem {
namespace {

class Preparer {
 public:
  Preparer(const PrepareOptions& options, const Request& request)
      : options_(options), request_(request) {}

  std::optional<RequestError> Run(PreparedRequest& out) {
    SequenceSpec sequence;
    if (options_.one_tensor) {
      if (auto error = OneTensor()) return error;
    }
    if (options_.form != LineForm::kEmbed) {
      if (auto error = DecoderPrompt(sequence)) return error;
      if (options_.form == LineForm::kScore) {
        if (auto error = Target(sequence)) return error;
      } else {
        if (auto error = Choice(sequence)) return error;
      }
    }
    for (size_t i = 0; i < request_.prompts.size(); ++i) {
      DispatchRequest& prompt = out.prompts.emplace_back();
      if (auto error = EncoderIds(i, prompt.encoder_ids, out.truncated)) return error;
      if (options_.form == LineForm::kEmbed) continue;
      prompt.sequence = sequence;
      prompt.num_samples = NumSamples();
      // Equal prompts of one request draw differently too.
      prompt.sequence.choice.sample = static_cast<uint32_t>(i) * prompt.num_samples;
      if (auto error = FitsKvMemory(prompt)) return error;
    }
    return std::nullopt;
  }

 private:
  std::optional<RequestError> OneTensor() const {
    if (request_.id.key == "__metadata__") return ReservedTensorNameError();
    const size_t prompts = request_.prompts.size();
    if (prompts == 1) return std::nullopt;
    return OneTensorError(PromptParam(request_, 0), prompts);
  }

  // Text to ids, or why not.
  std::optional<RequestError> CheckText(const std::string& text, absl::string_view param) const {
    if (options_.tokenizer == nullptr) return NoTokenizerError(param);
    std::string special;
    if (options_.no_special_in_prompt && options_.tokenizer->HasSpecialToken(text, &special)) {
      return SpecialTokenError(param, special);
    }
    return std::nullopt;
  }

  std::optional<RequestError> EncoderIds(size_t index, std::vector<int32_t>& ids,
                                         bool& truncated) const {
    const Prompt& prompt = request_.prompts[index];
    const std::string param = PromptParam(request_, index);
    if (prompt.text.has_value()) {
      if (auto error = CheckText(*prompt.text, param)) return error;
      ids = options_.tokenizer->EncodeWithSpecial(*prompt.text, options_.add_bos);
    } else {
      ids = prompt.token_ids;
    }
    if (ids.empty()) return EmptyPromptError(param);
    const auto length = static_cast<int64_t>(ids.size());
    if (length > options_.max_model_len) {
      if (!options_.truncate) return PromptTooLongError(param, length, options_.max_model_len);
      ids.resize(static_cast<size_t>(options_.max_model_len));
      truncated = true;
    }
    return std::nullopt;
  }

  std::optional<RequestError> DecoderPrompt(SequenceSpec& sequence) const {
    std::vector<int32_t>& ids = sequence.prompt;
    if (request_.decoder_prompt.has_value()) {
      if (auto error = CheckText(*request_.decoder_prompt, "decoder_prompt")) return error;
      ids = options_.tokenizer->Encode(*request_.decoder_prompt);
    } else if (request_.decoder_prompt_token_ids.has_value()) {
      ids = *request_.decoder_prompt_token_ids;
    }
    if (ids.empty() || ids.front() != options_.decoder_start_token_id) {
      ids.insert(ids.begin(), options_.decoder_start_token_id);
    }
    const auto length = static_cast<int64_t>(ids.size());
    if (length >= options_.max_decoder_len) {
      return DecoderTooLongError(
          request_.decoder_prompt.has_value() ? "decoder_prompt" : "decoder_prompt_token_ids",
          length, /*behind=*/0, options_.max_decoder_len - 1);
    }
    return std::nullopt;
  }

  std::optional<RequestError> Target(SequenceSpec& sequence) const {
    const bool text = request_.target.has_value();
    const absl::string_view param = text ? "target" : "target_token_ids";
    if (text) {
      if (auto error = CheckText(*request_.target, param)) return error;
      sequence.target = options_.tokenizer->Encode(*request_.target);
    } else {
      sequence.target = *request_.target_token_ids;
    }
    if (request_.add_eos && !options_.eos_token_ids.empty()) {
      sequence.target.push_back(options_.eos_token_ids.front());
    }
    if (sequence.target.empty()) return EmptyPromptError(param);
    const auto behind = static_cast<int64_t>(sequence.prompt.size());
    const auto length = static_cast<int64_t>(sequence.target.size());
    const int64_t room = options_.max_decoder_len - behind;
    if (length > room) return DecoderTooLongError(param, length, behind, room);
    sequence.num_logprobs = 0;
    return std::nullopt;
  }

  std::optional<RequestError> Choice(SequenceSpec& sequence) const {
    const DecodingOptions& decoding = request_.decoding;
    // The answer ends at the model's last position, with finish reason "length".
    const int64_t room = options_.max_decoder_len - static_cast<int64_t>(sequence.prompt.size());
    sequence.max_tokens = static_cast<int32_t>(std::min<int64_t>(decoding.max_tokens, room));
    sequence.min_tokens = std::min(decoding.min_tokens, sequence.max_tokens);
    sequence.num_logprobs = decoding.logprobs.value_or(-1);
    // Which samples are best is told by their log-probabilities.
    if (decoding.best_of.value_or(decoding.n) > decoding.n) {
      sequence.num_logprobs = std::max(sequence.num_logprobs, 0);
    }
    StopTokens(sequence.stop_token_ids);
    sequence.choice.temperature = decoding.temperature;
    sequence.choice.top_k = decoding.top_k;
    sequence.choice.top_p = decoding.top_p;
    sequence.choice.min_p = decoding.min_p;
    sequence.choice.seed = decoding.seed.value_or(0);
    sequence.choice.repetition_penalty = decoding.repetition_penalty;
    sequence.choice.presence_penalty = decoding.presence_penalty;
    sequence.choice.frequency_penalty = decoding.frequency_penalty;
    sequence.choice.no_repeat_ngram_size = decoding.no_repeat_ngram_size;
    for (const auto& [id, bias] : decoding.logit_bias) {
      sequence.choice.logit_bias.push_back({.id = id, .bias = bias});
    }
    sequence.beams = {.num_beams = decoding.num_beams,
                      .num_outputs = decoding.n,
                      .length_penalty = decoding.length_penalty,
                      .early_stopping = EarlyStopOf(decoding.early_stopping)};
    if (!decoding.stop.empty() && options_.tokenizer == nullptr) return NoTokenizerError("stop");
    sequence.streams = decoding.stop.empty() ? 0 : 1;
    return BadWords(sequence.choice.bad_words);
  }

  void StopTokens(std::vector<int32_t>& ids) const {
    ids = request_.decoding.stop_token_ids;
    if (!request_.decoding.ignore_eos) {
      ids.insert(ids.end(), options_.eos_token_ids.begin(), options_.eos_token_ids.end());
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  }

  // A word may stand at the start of a text or behind a space: both ways of writing it.
  std::optional<RequestError> BadWords(std::vector<BadWord>& words) const {
    for (const std::string& word : request_.decoding.bad_words) {
      if (options_.tokenizer == nullptr) return NoTokenizerError("bad_words");
      const std::vector<int32_t> plain = options_.tokenizer->Encode(word);
      const std::vector<int32_t> spaced = options_.tokenizer->Encode(absl::StrCat(" ", word));
      if (!plain.empty()) words.push_back({plain});
      if (!spaced.empty() && spaced != plain) words.push_back({spaced});
    }
    return std::nullopt;
  }

  static EarlyStop EarlyStopOf(EarlyStopping value) {
    if (value == EarlyStopping::kNever) return EarlyStop::kNever;
    return value == EarlyStopping::kTrue ? EarlyStop::kTrue : EarlyStop::kFalse;
  }

  // Without sampling all answers are equal: one is computed.
  uint32_t NumSamples() const {
    const DecodingOptions& decoding = request_.decoding;
    if (options_.form != LineForm::kGenerate || decoding.num_beams > 1 ||
        decoding.temperature == 0.0f) {
      return 1;
    }
    return static_cast<uint32_t>(decoding.best_of.value_or(decoding.n));
  }

  std::optional<RequestError> FitsKvMemory(const DispatchRequest& prompt) const {
    const int64_t pages = Dispatcher::PagesAtMost(prompt.encoder_ids.size(), prompt.sequence);
    if (options_.kv_pages == 0 || pages <= options_.kv_pages) return std::nullopt;
    return KvMemoryError(pages * kPageTokens, options_.kv_pages * kPageTokens);
  }

  const PrepareOptions& options_;
  const Request& request_;
};

}  // namespace

std::variant<PreparedRequest, RejectedLine> PrepareRequest(Request request,
                                                           const PrepareOptions& options) {
  PreparedRequest out;
  if (std::optional<RequestError> error = Preparer(options, request).Run(out)) {
    return Reject(request, *std::move(error));
  }
  out.request = std::move(request);
  // The text is tokens now, and a job may hold thousands of requests.
  out.request.prompts.clear();
  out.request.decoder_prompt.reset();
  out.request.decoder_prompt_token_ids.reset();
  out.request.target.reset();
  out.request.target_token_ids.reset();
  out.request.decoding.logit_bias = {};
  out.request.decoding.bad_words = {};
  return out;
}

}  // namespace tandem
