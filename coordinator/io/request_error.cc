#include "coordinator/io/request_error.h"

#include "absl/strings/str_cat.h"
#include "common/base/json_text.h"

namespace tandem {
namespace {

constexpr RequestErrorInfo kTable[] = {
    {"invalid_json", "the line is not one JSON object, or a field is in it twice"},
    {"invalid_utf8", "the line is not UTF-8"},
    {"line_too_long", "the line has more bytes than --max-line-bytes"},
    {"unknown_field", "a field that requests do not have (see --ignore-unknown-fields)"},
    {"missing_field",
     "a field that the line must have: the prompt, the target to score, an OpenAI body"},
    {"invalid_value",
     "a value of the wrong type or out of range, or fields that exclude each other"},
    {"duplicate_id", "an earlier line of the job has the same id"},
    {"unsupported", "a value that this version cannot serve"},
    {"no_tokenizer", "text, and the model folder has no tokenizer"},
    {"empty_prompt", "a prompt without a single token"},
    {"prompt_too_long", "more tokens than the model takes (see --truncate and --max-model-len)"},
    {"invalid_token", "a token id outside the vocabulary"},
    {"special_token_in_prompt",
     "text that names a special token, refused by --no-special-in-prompt"},
    {"kv_memory", "more K/V memory than a decoder rank has (see --kv-cache-mb)"},
    {"nonfinite", "the model's logits were NaN or infinite"},
    {"no_token", "the request's own options forbade every token"},
};
static_assert(std::size(kTable) == kNumRequestErrorCodes);

}  // namespace

absl::Span<const RequestErrorInfo> RequestErrorTable() { return kTable; }

absl::string_view NameOf(RequestErrorCode code) { return kTable[static_cast<size_t>(code)].name; }

RequestError DuplicateIdError(absl::string_view id_json) {
  return {RequestErrorCode::kDuplicateId,
          absl::StrCat("id ", Shorten(id_json, 80), " was used by an earlier line"), "id"};
}

RequestError NoTokenizerError(absl::string_view param) {
  // Of OpenAI's fields none has a twin for ids.
  const bool has_twin = param == "prompt" || param == "decoder_prompt" || param == "target";
  return {RequestErrorCode::kNoTokenizer,
          absl::StrCat(param,
                       " is text, but the model folder has neither tokenizer.json nor "
                       "tokenizer.model; give ",
                       has_twin ? absl::StrCat(param, "_token_ids") : "token ids"),
          std::string(param)};
}

RequestError EmptyPromptError(absl::string_view param) {
  return {RequestErrorCode::kEmptyPrompt,
          absl::StrCat(param, " has no tokens; at least one is needed"), std::string(param)};
}

RequestError PromptTooLongError(absl::string_view param, int64_t tokens, int64_t limit) {
  return {RequestErrorCode::kPromptTooLong,
          absl::StrCat("prompt has ", WithCommas(tokens), " tokens; the model takes ",
                       WithCommas(limit), " (use --truncate to cut it)"),
          std::string(param)};
}

RequestError DecoderTooLongError(absl::string_view param, int64_t tokens, int64_t behind,
                                 int64_t limit) {
  const std::string place =
      behind > 0 ? absl::StrCat("behind a decoder prompt of ", WithCommas(behind), " ") : "";
  return {RequestErrorCode::kPromptTooLong,
          absl::StrCat(param, " has ", WithCommas(tokens), " tokens; ", place,
                       "the model's decoder takes ", WithCommas(limit)),
          std::string(param)};
}

RequestError InvalidTokenError(absl::string_view param, int64_t index, int64_t token,
                               int64_t vocab_size) {
  return {RequestErrorCode::kInvalidToken,
          absl::StrCat(param, "[", index, "] is ", token, "; the vocabulary has ids from 0 to ",
                       vocab_size - 1),
          std::string(param)};
}

RequestError SpecialTokenError(absl::string_view param, absl::string_view token) {
  return {RequestErrorCode::kSpecialTokenInPrompt,
          absl::StrCat(param, " holds the special token ", JsonString(Shorten(token, 80)),
                       ", which --no-special-in-prompt refuses"),
          std::string(param)};
}

RequestError KvMemoryError(int64_t needed_tokens, int64_t available_tokens) {
  return {
      RequestErrorCode::kKvMemory,
      absl::StrCat("the request needs K/V memory for ", WithCommas(needed_tokens),
                   " tokens (prompt, decoder prompt and max_tokens); a decoder rank has room for ",
                   WithCommas(available_tokens), " (raise --kv-cache-mb or lower max_tokens)"),
      ""};
}

RequestError NonFiniteError(int64_t token_index) {
  return {RequestErrorCode::kNonFinite,
          absl::StrCat("the model's logits were NaN or infinite at token ", token_index,
                       " of the answer; the weights or the computation are damaged"),
          ""};
}

RequestError NoTokenError(int64_t token_index) {
  return {RequestErrorCode::kNoToken,
          absl::StrCat("every token is forbidden at token ", token_index,
                       " of the answer: ask for less with no_repeat_ngram_size, bad_words or "
                       "min_tokens"),
          ""};
}

RequestError NonFiniteStatesError() {
  return {RequestErrorCode::kNonFinite,
          "the encoder's states were NaN or infinite; the weights or the computation are damaged",
          ""};
}

RequestError ReservedTensorNameError() {
  return {RequestErrorCode::kInvalidValue,
          "id is \"__metadata__\", a name that safetensors files keep for themselves; "
          "--pooling none needs another id",
          "id"};
}

RequestError OneTensorError(absl::string_view param, size_t num_prompts) {
  return {RequestErrorCode::kInvalidValue,
          absl::StrCat(param, " has ", num_prompts,
                       " prompts; --pooling none writes one tensor for each id: give each prompt a "
                       "line of its own"),
          std::string(param)};
}

}  // namespace tandem
