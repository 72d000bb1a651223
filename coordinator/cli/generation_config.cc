#include "coordinator/cli/generation_config.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/exit_code.h"
#include "common/base/json_text.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

using nlohmann::json;

constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr int kMaxDepth = 64;

// Keys that are a setting of ours as they are.
struct Key {
  absl::string_view key;
  absl::string_view option;
};
constexpr Key kKeys[] = {
    {"top_k", "top-k"},
    {"top_p", "top-p"},
    {"min_p", "min-p"},
    {"num_beams", "num-beams"},
    {"num_return_sequences", "n"},
    {"length_penalty", "length-penalty"},
    {"early_stopping", "early-stopping"},
    {"repetition_penalty", "repetition-penalty"},
    {"no_repeat_ngram_size", "no-repeat-ngram-size"},
    {"stop_strings", "stop"},
};

// Keys that change results in transformers and that nothing here does, with the value that asks for
// nothing (as JSON; beside null, false, 0, "" and empty lists, which never do).
struct Unserved {
  absl::string_view key;
  absl::string_view neutral;
};
constexpr Unserved kUnserved[] = {
    {"bad_words_ids", ""},
    {"begin_suppress_tokens", ""},
    {"constraints", ""},
    {"diversity_penalty", ""},
    {"dola_layers", ""},
    {"encoder_no_repeat_ngram_size", ""},
    {"encoder_repetition_penalty", "1.0"},
    {"epsilon_cutoff", ""},
    {"eta_cutoff", ""},
    {"exponential_decay_length_penalty", ""},
    {"force_words_ids", ""},
    {"forced_bos_token_id", ""},
    {"forced_decoder_ids", ""},
    {"forced_eos_token_id", ""},
    {"guidance_scale", "1.0"},
    {"num_beam_groups", "1"},
    {"penalty_alpha", ""},
    {"remove_invalid_values", ""},
    {"sequence_bias", ""},
    {"suppress_tokens", ""},
    {"token_healing", ""},
    {"top_h", ""},
    {"typical_p", "1.0"},
    {"watermarking_config", ""},
};

absl::Status ModelError(absl::string_view message) {
  return WithExitCode(absl::InvalidArgumentError(message), ExitCode::kModel);
}

// As a flag's text; what is no scalar, as JSON, which no setting takes.
std::string TextOf(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

bool AsksForNothing(const json& value, absl::string_view neutral) {
  if (value.is_null() || value == false || value == "") return true;
  if (value.is_number() && value.get<double>() == 0.0) return true;
  if ((value.is_array() || value.is_object()) && value.empty()) return true;
  return !neutral.empty() && value.is_number() && value == json::parse(neutral);
}

class Applier {
 public:
  Applier(const json& file, std::string path, Options* options, GenerationConfigReport* report)
      : file_(file), path_(std::move(path)), options_(*options), report_(*report) {}

  absl::Status Run() {
    TANDEM_RETURN_IF_ERROR(ApplySampling());
    for (const Key& key : kKeys) TANDEM_RETURN_IF_ERROR(Apply(key.key, key.option));
    TANDEM_RETURN_IF_ERROR(ApplyLength("max_new_tokens", "max_length", "max-tokens"));
    TANDEM_RETURN_IF_ERROR(ApplyLength("min_new_tokens", "min_length", "min-tokens"));
    Warn();
    TANDEM_RETURN_IF_ERROR(SettleOwn());
    TANDEM_RETURN_IF_ERROR(SettleRequestDefaults(&options_));
    Report();
    return absl::OkStatus();
  }

 private:
  const json* Find(absl::string_view key) const {
    const auto found = file_.find(std::string(key));
    return found == file_.end() || found->is_null() ? nullptr : &*found;
  }
  std::string Where(absl::string_view key) const { return absl::StrCat(path_, ": ", key); }

  absl::Status Apply(absl::string_view key, absl::string_view option) {
    const json* value = Find(key);
    return value == nullptr ? absl::OkStatus() : Set(option, TextOf(*value), Where(key));
  }

  absl::Status Set(absl::string_view option, std::string value, absl::string_view where) {
    TANDEM_RETURN_IF_ERROR(options_.SetModelDefault(option, std::move(value), where));
    if (options_.OriginOf(option) == Origin::kModel) set_.emplace_back(option);
    return absl::OkStatus();
  }

  absl::Status ApplySampling() {
    const json* do_sample = Find("do_sample");
    if (do_sample == nullptr) {
      // Checked although transformers does not use it then.
      const json* temperature = Find("temperature");
      if (temperature == nullptr) return absl::OkStatus();
      Options scratch(options_.verb());
      return scratch.SetModelDefault("temperature", TextOf(*temperature), Where("temperature"));
    }
    if (!do_sample->is_boolean()) {
      return ModelError(absl::StrCat(Where("do_sample"), " must be true or false, not ",
                                     JsonString(Shorten(TextOf(*do_sample), 80))));
    }
    if (!do_sample->get<bool>()) return Set("temperature", "0", Where("do_sample"));
    const json* temperature = Find("temperature");
    return Set("temperature", temperature == nullptr ? "1" : TextOf(*temperature),
               Where("temperature"));
  }

  // The number of new tokens, or else the length of the answer with its start token.
  absl::Status ApplyLength(absl::string_view key, absl::string_view whole_key,
                           absl::string_view option) {
    if (Find(key) != nullptr) return Apply(key, option);
    const json* whole = Find(whole_key);
    if (whole == nullptr) return absl::OkStatus();
    const bool usable = whole->is_number_integer() && !(*whole > json(2147483647)) && *whole >= 0;
    const int64_t length = usable ? whole->get<int64_t>() : 0;
    const bool is_max = option == "max-tokens";
    if (!usable || (is_max && length < 2)) {
      return ModelError(absl::StrCat(Where(whole_key), " must be an integer from ", is_max ? 2 : 0,
                                     " to 2,147,483,647, not ",
                                     JsonString(Shorten(TextOf(*whole), 80))));
    }
    return Set(option, absl::StrCat(length > 0 ? length - 1 : 0), Where(whole_key));
  }

  // Sampled beams, which the file alone may ask for: the beams stay.
  absl::Status SettleOwn() {
    const bool both = options_.OriginOf("temperature") == Origin::kModel &&
                      options_.OriginOf("num-beams") == Origin::kModel &&
                      options_.Number("temperature") > 0 && *options_.Integer("num-beams") > 1;
    if (!both) return absl::OkStatus();
    options_.Reset("temperature");
    report_.warnings.push_back(
        absl::StrCat(path_,
                     " asks for beams that are sampled, which are not offered: the beams "
                     "are searched without sampling"));
    return absl::OkStatus();
  }

  void Warn() {
    for (const Unserved& unserved : kUnserved) {
      const json* value = Find(unserved.key);
      if (value == nullptr || AsksForNothing(*value, unserved.neutral)) continue;
      report_.warnings.push_back(absl::StrCat(Where(unserved.key), " is ",
                                              Shorten(TextOf(*value), 80),
                                              ", which is not offered and has no effect"));
    }
  }

  void Report() {
    std::vector<std::string> parts;
    for (const std::string& option : set_) {
      if (options_.OriginOf(option) != Origin::kModel) continue;  // It gave way.
      const std::string name = absl::StrReplaceAll(option, {{"-", "_"}});
      for (const RunSetting& setting : options_.Settings()) {
        if (setting.name == name) parts.push_back(absl::StrCat(name, " ", setting.value));
      }
    }
    report_.set = absl::StrJoin(parts, ", ");
  }

  const json& file_;
  const std::string path_;
  Options& options_;
  GenerationConfigReport& report_;
  std::vector<std::string> set_;
};

}  // namespace

absl::Status ApplyGenerationConfig(absl::string_view text, const std::string& path,
                                   Options* options, GenerationConfigReport* report) {
  if (text.size() > kMaxBytes) {
    return ModelError(absl::StrCat(path, " has more than ", WithCommas(kMaxBytes), " bytes"));
  }
  json file;
  try {
    const auto shallow = [](int depth, json::parse_event_t, const json&) {
      // What lies deeper is dropped: no setting is that deep, and dump() walks by recursion.
      return depth <= kMaxDepth;
    };
    file = json::parse(text.begin(), text.end(), shallow);
  } catch (const json::exception& error) {
    absl::string_view what = error.what();
    if (const size_t at = what.find("] "); at != absl::string_view::npos)
      what.remove_prefix(at + 2);
    return ModelError(absl::StrCat(path, " is not valid JSON: ", Shorten(what, 200)));
  }
  if (!file.is_object()) return ModelError(absl::StrCat(path, " must be a JSON object"));
  return Applier(file, path, options, report).Run();
}

absl::Status ApplyModelsGenerationConfig(const CommandLineSources& sources, Options* options,
                                         GenerationConfigReport* report) {
  const std::string& model = options->Text("model");
  absl::string_view folder = model;
  if (absl::EndsWith(model, "config.json")) {
    const size_t slash = model.rfind('/');
    folder = slash == std::string::npos ? "." : absl::string_view(model).substr(0, slash);
  }
  const std::string path = absl::StrCat(absl::StripSuffix(folder, "/"), "/generation_config.json");
  const absl::StatusOr<std::string> text = sources.read_file(path);
  if (text.ok()) return ApplyGenerationConfig(*text, path, options, report);
  // ENOENT, and ENOTDIR: a preset's name is no folder.
  if (absl::IsNotFound(text.status()) || absl::IsFailedPrecondition(text.status())) {
    return absl::OkStatus();
  }
  return ModelError(absl::StrCat(path, ": ", text.status().message()));
}

}  // namespace tandem
