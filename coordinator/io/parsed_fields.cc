#include "coordinator/io/parsed_fields.h"

#include <utility>

#include "common/base/check.h"

namespace tandem {
namespace {

Prompt& OnlyPrompt(ParsedFields* out) {
  if (out->request.prompts.empty()) out->request.prompts.emplace_back();
  return out->request.prompts.front();
}

}  // namespace

void StoreInteger(Field field, int64_t value, ParsedFields* out) {
  DecodingOptions& decoding = out->request.decoding;
  if (field == Field::kSeed) {
    decoding.seed = static_cast<uint64_t>(value);  // Its bits: -1 is a seed, too.
    return;
  }
  const auto narrow = static_cast<int32_t>(value);  // Fits: see the table.
  switch (field) {
    case Field::kMaxTokens:
      decoding.max_tokens = narrow;
      return;
    case Field::kMaxCompletionTokens:
      decoding.max_tokens = out->max_completion_tokens = narrow;
      return;
    case Field::kMinTokens:
      decoding.min_tokens = narrow;
      return;
    case Field::kTopK:
      decoding.top_k = narrow;
      return;
    case Field::kN:
      decoding.n = narrow;
      return;
    case Field::kBestOf:
      decoding.best_of = narrow;
      return;
    case Field::kNumBeams:
      decoding.num_beams = narrow;
      return;
    case Field::kNoRepeatNgramSize:
      decoding.no_repeat_ngram_size = narrow;
      return;
    case Field::kLogprobs:
    case Field::kCompletionsLogprobs:
      decoding.logprobs = narrow;
      return;
    case Field::kTopLogprobs:
      out->top_logprobs = narrow;
      return;
    case Field::kDimensions:
      out->dimensions = narrow;
      return;
    default:
      TANDEM_CHECK(false);
  }
}

void StoreNumber(Field field, double value, ParsedFields* out) {
  DecodingOptions& decoding = out->request.decoding;
  const auto number = static_cast<float>(value);
  switch (field) {
    case Field::kTemperature:
      decoding.temperature = number;
      return;
    case Field::kTopP:
      decoding.top_p = number;
      return;
    case Field::kMinP:
      decoding.min_p = number;
      return;
    case Field::kLengthPenalty:
      decoding.length_penalty = number;
      return;
    case Field::kRepetitionPenalty:
      decoding.repetition_penalty = number;
      return;
    case Field::kPresencePenalty:
      decoding.presence_penalty = number;
      return;
    case Field::kFrequencyPenalty:
      decoding.frequency_penalty = number;
      return;
    default:
      TANDEM_CHECK(false);
  }
}

void StoreBoolean(Field field, bool value, ParsedFields* out) {
  DecodingOptions& decoding = out->request.decoding;
  switch (field) {
    case Field::kIgnoreEos:
      decoding.ignore_eos = value;
      return;
    case Field::kEarlyStopping:
      decoding.early_stopping = value ? EarlyStopping::kTrue : EarlyStopping::kFalse;
      return;
    case Field::kIncludeStopStrInOutput:
      decoding.include_stop_str_in_output = value;
      return;
    case Field::kSkipSpecialTokens:
      decoding.skip_special_tokens = value;
      return;
    case Field::kAddEos:
      out->request.add_eos = value;
      return;
    case Field::kChatLogprobs:
      out->chat_logprobs = value;
      return;
    default:
      TANDEM_CHECK(false);
  }
}

void StoreString(Field field, std::string value, ParsedFields* out) {
  switch (field) {
    case Field::kPrompt:
      OnlyPrompt(out).text = std::move(value);
      return;
    case Field::kDecoderPrompt:
      out->request.decoder_prompt = std::move(value);
      return;
    case Field::kTarget:
      out->request.target = std::move(value);
      return;
    case Field::kEarlyStopping:
      out->request.decoding.early_stopping = EarlyStopping::kNever;
      return;
    case Field::kStop:
      out->request.decoding.stop = {std::move(value)};
      return;
    case Field::kCustomId:
      out->custom_id = std::move(value);
      return;
    case Field::kMethod:
      out->method = std::move(value);
      return;
    case Field::kUrl:
      out->url = std::move(value);
      return;
    case Field::kModel:
      out->model = std::move(value);
      return;
    case Field::kEncodingFormat:
      out->encoding_format = std::move(value);
      return;
    default:
      TANDEM_CHECK(false);
  }
}

std::vector<int32_t>* TokenIdsOf(Field field, ParsedFields* out) {
  switch (field) {
    case Field::kPromptTokenIds:
      return &OnlyPrompt(out).token_ids;
    case Field::kDecoderPromptTokenIds:
      return &*out->request.decoder_prompt_token_ids;
    case Field::kTargetTokenIds:
      return &*out->request.target_token_ids;
    case Field::kStopTokenIds:
      return &out->request.decoding.stop_token_ids;
    default:
      return nullptr;
  }
}

std::vector<std::string>* StringsOf(Field field, ParsedFields* out) {
  if (field == Field::kStop) return &out->request.decoding.stop;
  if (field == Field::kBadWords) return &out->request.decoding.bad_words;
  return nullptr;
}

void BeginList(Field field, ParsedFields* out) {
  if (field == Field::kDecoderPromptTokenIds) out->request.decoder_prompt_token_ids.emplace();
  if (field == Field::kTargetTokenIds) out->request.target_token_ids.emplace();
  if (field == Field::kLogitBias) out->request.decoding.logit_bias.clear();
  if (std::vector<std::string>* strings = StringsOf(field, out)) strings->clear();
  if (std::vector<int32_t>* ids = TokenIdsOf(field, out)) ids->clear();
}

void FillSeed(const RequestDefaults& defaults, Request* request) {
  std::optional<uint64_t>& seed = request->decoding.seed;
  if (!seed.has_value()) seed = DerivedSeed(defaults.job_seed, request->id.key);
}

}  // namespace tandem
