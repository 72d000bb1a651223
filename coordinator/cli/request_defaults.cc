// The settings as what requests get where they say nothing.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/exit_code.h"
#include "coordinator/cli/options.h"
#include "coordinator/io/decoding_rules.h"

namespace tandem {
namespace {

std::string OptionOf(Field field) { return absl::StrReplaceAll(InfoOf(field).name, {{"_", "-"}}); }

EarlyStopping EarlyStoppingOf(const std::string& choice) {
  if (choice == "true") return EarlyStopping::kTrue;
  return choice == "never" ? EarlyStopping::kNever : EarlyStopping::kFalse;
}

DecodingOptions MakeDecodingOptions(const Options& options) {
  const auto integer = [&](absl::string_view name) -> std::optional<int32_t> {
    const std::optional<int64_t> value = options.Integer(name);
    if (!value.has_value()) return std::nullopt;
    return static_cast<int32_t>(*value);
  };
  const auto number = [&](absl::string_view name) {
    return static_cast<float>(options.Number(name));
  };
  DecodingOptions out;
  out.max_tokens = *integer("max-tokens");
  out.min_tokens = *integer("min-tokens");
  out.ignore_eos = options.Flag("ignore-eos");
  out.stop_token_ids = options.TokenIds("stop-token-ids");
  std::sort(out.stop_token_ids.begin(), out.stop_token_ids.end());
  out.stop_token_ids.erase(std::unique(out.stop_token_ids.begin(), out.stop_token_ids.end()),
                           out.stop_token_ids.end());
  out.temperature = number("temperature");
  out.top_k = *integer("top-k");
  out.top_p = number("top-p");
  out.min_p = number("min-p");
  out.n = *integer("n");
  out.best_of = integer("best-of");
  out.num_beams = *integer("num-beams");
  out.length_penalty = number("length-penalty");
  out.early_stopping = EarlyStoppingOf(options.Text("early-stopping"));
  out.repetition_penalty = number("repetition-penalty");
  out.presence_penalty = number("presence-penalty");
  out.frequency_penalty = number("frequency-penalty");
  out.no_repeat_ngram_size = *integer("no-repeat-ngram-size");
  out.bad_words = options.Texts("bad-words");
  out.logit_bias = options.TokenBiases("logit-bias");
  out.stop = options.Texts("stop");
  out.include_stop_str_in_output = options.Flag("include-stop-str-in-output");
  out.skip_special_tokens = options.Flag("skip-special-tokens");
  out.logprobs = integer("logprobs");
  return out;
}

}  // namespace

RequestDefaults MakeRequestDefaults(const Options& options) {
  RequestDefaults defaults;
  defaults.decoding = MakeDecodingOptions(options);
  defaults.job_seed = static_cast<uint64_t>(*options.Integer("seed"));
  if (options.IsGiven("decoder-prompt")) defaults.decoder_prompt = options.Text("decoder-prompt");
  if (options.IsGiven("decoder-prompt-token-ids")) {
    defaults.decoder_prompt_token_ids = options.TokenIds("decoder-prompt-token-ids");
  }
  defaults.max_tokens_given = options.OriginOf("max-tokens") != Origin::kBuiltIn;
  defaults.temperature_given = options.OriginOf("temperature") != Origin::kBuiltIn;
  return defaults;
}

absl::Status SettleRequestDefaults(Options* options) {
  const auto strength = [&](Field field) {
    return static_cast<int>(options->OriginOf(OptionOf(field)));
  };
  DecodingOptions decoding = MakeDecodingOptions(*options);
  std::vector<Field> reset;
  const std::optional<RequestError> error = SettleContradictions(strength, &decoding, &reset);
  if (error.has_value()) {
    Field field = Field::kN;
    FindField(LineForm::kGenerate, error->param, &field);
    const bool models = options->OriginOf(OptionOf(field)) == Origin::kModel;
    return WithExitCode(
        absl::InvalidArgumentError(absl::StrCat(
            models ? "generation_config.json: " : "defaults of the requests: ", error->message)),
        models ? ExitCode::kModel : ExitCode::kUsage);
  }
  for (const Field field : reset) options->Reset(OptionOf(field));
  return absl::OkStatus();
}

absl::Status CheckVocabulary(const RequestDefaults& defaults, int64_t decoder_vocab_size) {
  absl::Status status;
  const auto check = [&](absl::string_view flag, int32_t id) {
    if (id < decoder_vocab_size || !status.ok()) return;
    status =
        WithExitCode(absl::InvalidArgumentError(absl::StrCat(
                         flag, " has the token id ", id,
                         "; the model's vocabulary has ids from 0 to ", decoder_vocab_size - 1)),
                     ExitCode::kUsage);
  };
  for (const int32_t id : defaults.decoding.stop_token_ids) check("--stop-token-ids", id);
  for (const auto& [id, bias] : defaults.decoding.logit_bias) check("--logit-bias", id);
  if (defaults.decoder_prompt_token_ids.has_value()) {
    for (const int32_t id : *defaults.decoder_prompt_token_ids) {
      check("--decoder-prompt-token-ids", id);
    }
  }
  return status;
}

}  // namespace tandem
