#include "common/config/model_config.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/config/json_fields.h"

namespace tandem {
namespace {

using nlohmann::json;

// Far above any model, and low enough that no product of sizes overflows 64 bits: a stack has at
// most 2^12 layers of 7 matrices of 2^40.
constexpr IntRange kWidth = {1, int64_t{1} << 20};
constexpr IntRange kLayers = {1, 4096};
constexpr IntRange kVocabulary = {1, int64_t{1} << 28};
constexpr IntRange kPositions = {1, INT32_MAX};
constexpr IntRange kTokenId = {0, INT32_MAX};
constexpr NumberRange kEpsilon = {1e-30, 1.0};
constexpr NumberRange kPositive = {1e-9, 1e12};

struct ActivationName {
  absl::string_view name;
  Activation activation;
};
constexpr ActivationName kActivations[] = {
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_approximate", Activation::kGeluTanh},
    {"gelu", Activation::kGeluErf},
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"relu", Activation::kRelu},
};

Activation ReadActivation(const JsonFields& fields, absl::string_view key) {
  const std::string text = fields.Text(key, "gelu_pytorch_tanh");
  for (const auto& [name, activation] : kActivations) {
    if (text == name) return activation;
  }
  fields.Fail(key, "supported are gelu_pytorch_tanh, gelu_approximate, gelu, silu, swish and relu");
  return Activation::kGeluTanh;
}

void ExpectText(const JsonFields& fields, absl::string_view key, absl::string_view wanted) {
  if (fields.Text(key, wanted) != wanted) {
    fields.Fail(key, absl::StrCat("supported is \"", wanted, "\""));
  }
}

// One entry of rope_parameters, with the old spellings of its layer type below it.
RopeConfig ReadRopeEntry(const JsonFields& entry, double theta) {
  RopeConfig rope;
  rope.theta = entry.Number("rope_theta", theta, {1.0, 1e12});
  const absl::string_view type_key = entry.Has("rope_type") ? "rope_type" : "type";
  const std::string type = entry.Text(type_key, "default");
  if (type != "default" && type != "linear") {
    entry.Fail(type_key, R"(supported are "default" and "linear")");
  }
  if (type == "linear" && !entry.Has("factor")) entry.Fail("factor", "type linear needs it");
  rope.factor = entry.Number("factor", 1.0, {1.0, 1e6});
  if (type == "default" && rope.factor != 1.0) {
    entry.Fail("factor", "type default takes none (type linear does)");
  }
  if (entry.Number("partial_rotary_factor", 1.0, {0.0, 1.0}) != 1.0) {
    entry.Fail("partial_rotary_factor", "only whole heads are rotated");
  }
  return rope;
}

// Source: convert_rope_params_to_dict: the old keys fill in what the new ones leave out, but
// rope_scaling overrides the full entry.
void ReadRope(const JsonFields& fields, TextStackConfig& stack, absl::Status* error) {
  const json none = json::object();
  const json* found = fields.Object("rope_parameters");
  const json& by_type = found == nullptr ? none : *found;
  const JsonFields types(by_type, fields.PathOf("rope_parameters"), error);
  for (const absl::string_view key : {"rope_type", "type", "rope_theta", "factor"}) {
    if (types.Has(key)) types.Fail(key, "rope parameters are given by layer type");
  }
  const json* sliding = types.Object("sliding_attention");
  stack.rope_sliding = ReadRopeEntry(
      JsonFields(sliding == nullptr ? none : *sliding, types.PathOf("sliding_attention"), error),
      fields.Number("rope_local_base_freq", 1e4, {1.0, 1e12}));

  const json* given = types.Object("full_attention");
  json full = given == nullptr ? none : *given;
  const json* scaling = fields.Object("rope_scaling");
  if (scaling != nullptr) full.update(*scaling);
  stack.rope_full = ReadRopeEntry(
      JsonFields(
          full, scaling == nullptr ? types.PathOf("full_attention") : fields.PathOf("rope_scaling"),
          error),
      fields.Number("rope_theta", 1e6, {1.0, 1e12}));
}

void ReadLayerTypes(const JsonFields& fields, TextStackConfig& stack) {
  const json* list = fields.Find("layer_types");
  if (list == nullptr) {
    const int64_t pattern = fields.Int("sliding_window_pattern", 6, {1, INT32_MAX});
    for (int64_t n = 0; n < stack.num_layers; ++n) {
      stack.layer_types.push_back((n + 1) % pattern == 0 ? LayerType::kFull : LayerType::kSliding);
    }
    return;
  }
  if (!list->is_array()) return fields.Fail("layer_types", "it must be a list");
  if (static_cast<int64_t>(list->size()) != stack.num_layers) {
    return fields.Fail("layer_types",
                       absl::StrCat("it has ", list->size(), " entries, but ",
                                    fields.PathOf("num_hidden_layers"), " is ", stack.num_layers));
  }
  for (const json& type : *list) {
    if (type == "full_attention") {
      stack.layer_types.push_back(LayerType::kFull);
    } else if (type == "sliding_attention") {
      stack.layer_types.push_back(LayerType::kSliding);
    } else {
      return fields.Fail("layer_types",
                         R"(entries must be "sliding_attention" or "full_attention")");
    }
  }
}

void CheckHeads(const JsonFields& fields, const TextStackConfig& stack) {
  if (stack.hidden_dim % stack.num_heads != 0) {
    fields.Fail("num_attention_heads", absl::StrCat("it must divide ", fields.PathOf("hidden_size"),
                                                    ", which is ", stack.hidden_dim));
  }
  if (stack.num_heads % stack.num_kv_heads != 0) {
    fields.Fail("num_key_value_heads",
                absl::StrCat("it must divide ", fields.PathOf("num_attention_heads"), ", which is ",
                             stack.num_heads));
  }
  if (stack.head_dim % 2 != 0) fields.Fail("head_dim", "it must be even, to be rotated");
  if (stack.num_heads * stack.head_dim > kWidth.max) {
    fields.Fail("head_dim", absl::StrCat("all heads together are at most ", kWidth.max, " wide"));
  }
}

TextStackConfig ReadStack(const JsonFields& fields, absl::string_view model_type,
                          absl::Status* error) {
  ExpectText(fields, "model_type", model_type);
  TextStackConfig stack;
  stack.vocab_size = fields.Int("vocab_size", 262208, kVocabulary);
  stack.hidden_dim = fields.Int("hidden_size", 2304, kWidth);
  stack.intermediate_dim = fields.Int("intermediate_size", 9216, kWidth);
  stack.num_layers = fields.Int("num_hidden_layers", 26, kLayers);
  stack.num_heads = fields.Int("num_attention_heads", 8, kWidth);
  stack.num_kv_heads = fields.Int("num_key_value_heads", 4, kWidth);
  stack.head_dim = fields.Int("head_dim", 256, kWidth);
  CheckHeads(fields, stack);
  stack.activation = ReadActivation(fields, "hidden_activation");
  // `hidden_act` is the other models' spelling; Hugging Face leaves it unread here.
  if (fields.Has("hidden_act") && ReadActivation(fields, "hidden_act") != stack.activation) {
    fields.Fail("hidden_act", "it contradicts hidden_activation, which alone counts");
  }
  stack.rms_norm_eps = static_cast<float>(fields.Number("rms_norm_eps", 1e-6, kEpsilon));
  stack.query_pre_attn_scalar = fields.Number("query_pre_attn_scalar", 256.0, kPositive);
  stack.attention_bias = fields.Bool("attention_bias", false);
  stack.query_key_norm = fields.Bool("use_qk_norm", true);  // A key of the Keras converter.
  stack.attn_logit_softcapping = fields.Number("attn_logit_softcapping", 0.0, kPositive);
  stack.max_position_embeddings = fields.Int("max_position_embeddings", 131072, kPositions);
  ReadLayerTypes(fields, stack);
  ReadRope(fields, stack, error);

  // null means no window, absent means the default.
  stack.sliding_window =
      fields.IsNull("sliding_window") ? 0 : fields.Int("sliding_window", 4096, {0, INT32_MAX});
  const bool slides = std::find(stack.layer_types.begin(), stack.layer_types.end(),
                                LayerType::kSliding) != stack.layer_types.end();
  if (slides && stack.sliding_window < 1) {
    fields.Fail("sliding_window",
                "layer_types has sliding layers, which need a window of at least 1");
  }
  return stack;
}

// SigLIP's own defaults hold where the file leaves a field out.
VisionConfig ReadVision(const JsonFields& fields) {
  ExpectText(fields, "model_type", "siglip_vision_model");
  VisionConfig vision;
  vision.hidden_dim = fields.Int("hidden_size", 768, kWidth);
  vision.intermediate_dim = fields.Int("intermediate_size", 3072, kWidth);
  vision.num_layers = fields.Int("num_hidden_layers", 12, kLayers);
  vision.num_heads = fields.Int("num_attention_heads", 12, kWidth);
  vision.image_size = fields.Int("image_size", 224, {1, 1 << 16});
  vision.patch_size = fields.Int("patch_size", 16, {1, 1 << 12});
  vision.layer_norm_eps = static_cast<float>(fields.Number("layer_norm_eps", 1e-6, kEpsilon));
  vision.activation = ReadActivation(fields, "hidden_act");
  if (fields.Int("num_channels", 3, kWidth) != 3) {
    fields.Fail("num_channels", "images have 3 channels");
  }
  return vision;
}

int64_t SquareRoot(int64_t value) {
  int64_t root = 0;
  while ((root + 1) * (root + 1) <= value) ++root;
  return root;
}

void CheckVision(const JsonFields& vision, const JsonFields& encoder, const ModelConfig& config) {
  const VisionConfig& tower = *config.vision;
  if (tower.hidden_dim % tower.num_heads != 0) {
    vision.Fail("num_attention_heads", absl::StrCat("it must divide ", vision.PathOf("hidden_size"),
                                                    ", which is ", tower.hidden_dim));
  }
  if (tower.image_size % tower.patch_size != 0) {
    vision.Fail("image_size", absl::StrCat("it must be a multiple of ", vision.PathOf("patch_size"),
                                           ", which is ", tower.patch_size));
    return;
  }
  const int64_t grid = tower.image_size / tower.patch_size;
  const int64_t side = SquareRoot(config.mm_tokens_per_image);
  if (side * side != config.mm_tokens_per_image) {
    encoder.Fail("mm_tokens_per_image", "it must be a square number");
  } else if (grid % side != 0) {
    encoder.Fail("mm_tokens_per_image",
                 absl::StrCat("its root must divide the patch grid, which is ", grid, " wide"));
  }
}

void ReadEncoder(const JsonFields& fields, ModelConfig& config, absl::Status* error) {
  ExpectText(fields, "model_type", "t5gemma2_encoder");
  const json* text = fields.Object("text_config");
  if (text == nullptr) return fields.Fail("text_config", "it must be an object");
  config.encoder =
      ReadStack(JsonFields(*text, fields.PathOf("text_config"), error), "t5gemma2_text", error);
  config.mm_tokens_per_image = fields.Int("mm_tokens_per_image", 256, {1, 1 << 20});

  const json none = json::object();
  const json* vision = fields.Object("vision_config");
  const JsonFields vision_fields(vision == nullptr ? none : *vision, fields.PathOf("vision_config"),
                                 error);
  config.vision = ReadVision(vision_fields);
  if (vision != nullptr) return CheckVision(vision_fields, fields, config);
  // Hugging Face builds SigLIP's default tower where the key is absent. It is kept if it can work
  // with this mm_tokens_per_image; a model of text alone does not need one.
  absl::Status misfit;
  CheckVision(JsonFields(none, "", &misfit), JsonFields(none, "", &misfit), config);
  if (!misfit.ok()) config.vision.reset();
}

// An id that the file gives must be a row of the table; a default beyond it stands for "none".
int32_t ReadTokenIndex(const JsonFields& fields, std::initializer_list<absl::string_view> keys,
                       int64_t fallback, int64_t vocab_size) {
  const std::optional<int64_t> given = fields.OptionalInt(keys, kTokenId);
  if (given && *given >= vocab_size) {
    for (const absl::string_view key : keys) {
      if (!fields.Has(key)) continue;
      fields.Fail(key, absl::StrCat("the vocabulary has ", vocab_size, " tokens"));
    }
  }
  const int64_t id = given.value_or(fallback);
  return id < vocab_size ? static_cast<int32_t>(id) : -1;
}

DType ReadStoredDType(const JsonFields& fields) {
  // Where both are there, `dtype` counts, as in Hugging Face.
  const absl::string_view key = fields.Has("dtype") ? "dtype" : "torch_dtype";
  const std::string text = fields.Text(key, "bfloat16");
  const absl::string_view name = absl::StripPrefix(text, "torch.");
  if (name == "float32") return DType::kF32;
  if (name == "bfloat16") return DType::kBF16;
  if (name == "float16") return DType::kF16;
  fields.Fail(key, "supported are float32, bfloat16 and float16");
  return DType::kBF16;
}

// A token id or list of ids: generation_config.json's, else the top level's, else the decoder's.
class TokenIds {
 public:
  TokenIds(const JsonFields& generation, const JsonFields& top, const JsonFields& decoder,
           int64_t vocab_size)
      : places_{&generation, &top, &decoder}, vocab_size_(vocab_size) {}

  std::optional<int32_t> One(absl::string_view key) const {
    const std::optional<std::vector<int32_t>> ids = List(key);
    if (!ids || ids->empty()) return std::nullopt;
    return ids->front();
  }

  std::optional<std::vector<int32_t>> List(absl::string_view key) const {
    for (const JsonFields* place : places_) {
      const std::optional<std::vector<int64_t>> ids =
          place->OptionalInts(key, {0, vocab_size_ - 1});
      if (ids) return std::vector<int32_t>(ids->begin(), ids->end());
    }
    return std::nullopt;
  }

 private:
  const JsonFields* places_[3];
  int64_t vocab_size_;
};

// Keys of generation_config.json that say how to sample or search.
constexpr absl::string_view kGenerationKeys[] = {
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "num_beams",
    "num_return_sequences",
    "repetition_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
};

void ReadTokens(const JsonFields& generation, const JsonFields& top, const JsonFields& decoder,
                ModelConfig& config) {
  const TokenIds ids(generation, top, decoder, config.decoder.vocab_size);
  config.bos_token_id = ids.One("bos_token_id").value_or(2);
  config.pad_token_id = ids.One("pad_token_id").value_or(0);
  config.eos_token_ids = ids.List("eos_token_id").value_or(std::vector<int32_t>{1});
  std::sort(config.eos_token_ids.begin(), config.eos_token_ids.end());
  config.eos_token_ids.erase(std::unique(config.eos_token_ids.begin(), config.eos_token_ids.end()),
                             config.eos_token_ids.end());
  config.decoder_start_token_id = ids.One("decoder_start_token_id").value_or(config.bos_token_id);
  for (const absl::string_view key : kGenerationKeys) {
    const json* value = generation.Find(key);
    if (value != nullptr) config.generation_defaults.emplace_back(key, value->dump());
  }
}

void CheckSides(const JsonFields& top, const JsonFields& decoder, const ModelConfig& config) {
  if (config.encoder.hidden_dim != config.decoder.hidden_dim) {
    decoder.Fail("hidden_size", absl::StrCat("encoder.text_config.hidden_size is ",
                                             config.encoder.hidden_dim, ", they must be equal"));
  }
  if (config.encoder.vocab_size != config.decoder.vocab_size) {
    decoder.Fail("vocab_size", absl::StrCat("encoder.text_config.vocab_size is ",
                                            config.encoder.vocab_size, ", they must be equal"));
  }
  if (top.Int("vocab_size", config.decoder.vocab_size, kVocabulary) != config.decoder.vocab_size) {
    top.Fail("vocab_size", absl::StrCat("decoder.vocab_size is ", config.decoder.vocab_size,
                                        ", they must be equal"));
  }
}

void CheckKind(const JsonFields& top) {
  if (top.Has("registered_name")) {
    return top.Fail("registered_name", "Keras presets are not readable by this version");
  }
  if (!top.Has("model_type")) {
    return top.Fail("model_type", "a T5Gemma 2 config.json has \"t5gemma2\" there");
  }
  ExpectText(top, "model_type", "t5gemma2");
  const json* names = top.Find("architectures");
  if (names != nullptr &&
      (!names->is_array() || std::find(names->begin(), names->end(),
                                       "T5Gemma2ForConditionalGeneration") == names->end())) {
    top.Fail("architectures", "supported is [\"T5Gemma2ForConditionalGeneration\"]");
  }
  if (!top.Bool("is_encoder_decoder", true)) {
    top.Fail("is_encoder_decoder", "T5Gemma 2 is an encoder-decoder");
  }
  if (top.Has("quantization_config")) {
    top.Fail("quantization_config", "quantized checkpoints are not supported");
  }
}

absl::StatusOr<ModelConfig> ReadModel(const json& file, const json& generation_file) {
  absl::Status error;
  absl::Status generation_error;
  const JsonFields top(file, "", &error);
  CheckKind(top);
  TANDEM_RETURN_IF_ERROR(error);
  const json* encoder = top.Object("encoder");
  const json* decoder = top.Object("decoder");
  if (encoder == nullptr) top.Fail("encoder", "it must be an object");
  if (decoder == nullptr) top.Fail("decoder", "it must be an object");
  TANDEM_RETURN_IF_ERROR(error);

  ModelConfig config;
  const JsonFields encoder_fields(*encoder, "encoder", &error);
  const JsonFields decoder_fields(*decoder, "decoder", &error);
  ReadEncoder(encoder_fields, config, &error);
  config.decoder = ReadStack(decoder_fields, "t5gemma2_decoder", &error);
  TANDEM_RETURN_IF_ERROR(error);
  CheckSides(top, decoder_fields, config);
  config.final_logit_softcapping = decoder_fields.Number("final_logit_softcapping", 0.0, kPositive);
  config.tie_word_embeddings = top.Bool("tie_word_embeddings", true);
  config.stored_dtype = ReadStoredDType(top);
  config.initializer_range = top.Number("initializer_range", 0.02, {0.0, 100.0});

  const int64_t vocab_size = config.decoder.vocab_size;
  config.image_token_id =
      ReadTokenIndex(top, {"image_token_index", "image_token_id"}, 256001, vocab_size);
  config.boi_token_id =
      ReadTokenIndex(encoder_fields, {"boi_token_index", "boi_token_id"}, 255999, vocab_size);
  config.eoi_token_id =
      ReadTokenIndex(encoder_fields, {"eoi_token_index", "eoi_token_id"}, 256000, vocab_size);
  const JsonFields generation(generation_file, "generation_config.json", &generation_error);
  ReadTokens(generation, top, decoder_fields, config);
  TANDEM_RETURN_IF_ERROR(error);
  TANDEM_RETURN_IF_ERROR(generation_error);
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json,
                                             absl::string_view generation_json) {
  TANDEM_ASSIGN_OR_RETURN(const json file, ParseJsonObject(config_json));
  json generation = json::object();
  if (!generation_json.empty()) {
    absl::StatusOr<json> parsed = ParseJsonObject(generation_json);
    if (!parsed.ok()) return Annotate(parsed.status(), "generation_config.json");
    generation = *std::move(parsed);
  }
  return ReadModel(file, generation);
}

}  // namespace tandem
