#include "coordinator/prepare_request.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "common/kernels/kv_layout.h"

namespace tandem {
namespace {

class Preparer {
 public:
  Preparer(const PrepareOptions& options, const Request& request)
      : options_(options), request_(request) {}

  std::optional<RequestError> Run(PreparedRequest& out) {
    std::optional<RequestError> error = EncoderIds(out);
    if (!error.has_value()) error = DecoderPrompt(out.dispatch.sequence);
    if (!error.has_value()) error = Limits(out);
    return error;
  }

 private:
  // Text to ids, or why not.
  std::optional<RequestError> CheckText(const std::string& text, absl::string_view param) const {
    if (options_.tokenizer == nullptr) return NoTokenizerError(param);
    std::string special;
    if (options_.no_special_in_prompt && options_.tokenizer->HasSpecialToken(text, &special)) {
      return SpecialTokenError(param, special);
    }
    return std::nullopt;
  }

  std::optional<RequestError> EncoderIds(PreparedRequest& out) const {
    std::vector<int32_t>& ids = out.dispatch.encoder_ids;
    const Prompt& prompt = request_.prompts.front();
    const std::string param = PromptParam(request_, 0);
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
      out.truncated = true;
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
      return PromptTooLongError(
          request_.decoder_prompt.has_value() ? "decoder_prompt" : "decoder_prompt_token_ids",
          length, options_.max_decoder_len - 1);
    }
    return std::nullopt;
  }

  std::optional<RequestError> Limits(PreparedRequest& out) const {
    SequenceSpec& sequence = out.dispatch.sequence;
    // The answer ends at the model's last position, with finish reason "length".
    const int64_t room = options_.max_decoder_len - static_cast<int64_t>(sequence.prompt.size());
    sequence.max_tokens =
        static_cast<int32_t>(std::min<int64_t>(request_.decoding.max_tokens, room));
    sequence.min_tokens = std::min(request_.decoding.min_tokens, sequence.max_tokens);
    sequence.num_logprobs = request_.decoding.logprobs.value_or(-1);
    sequence.stop_token_ids = request_.decoding.stop_token_ids;
    if (!request_.decoding.ignore_eos) {
      sequence.stop_token_ids.insert(sequence.stop_token_ids.end(), options_.eos_token_ids.begin(),
                                     options_.eos_token_ids.end());
    }
    std::sort(sequence.stop_token_ids.begin(), sequence.stop_token_ids.end());
    sequence.stop_token_ids.erase(
        std::unique(sequence.stop_token_ids.begin(), sequence.stop_token_ids.end()),
        sequence.stop_token_ids.end());
    const int64_t pages = Dispatcher::PagesAtMost(out.dispatch);
    if (options_.kv_pages > 0 && pages > options_.kv_pages) {
      return KvMemoryError(pages * kPageTokens, options_.kv_pages * kPageTokens);
    }
    return std::nullopt;
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
  return out;
}

}  // namespace tandem
