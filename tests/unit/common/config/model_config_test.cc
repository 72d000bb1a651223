#include "common/config/model_config.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/base/exit_code.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::StartsWith;

constexpr auto kFull = LayerType::kFull;
constexpr auto kSliding = LayerType::kSliding;

json SmallStack(const std::string& model_type) {
  return {{"model_type", model_type}, {"vocab_size", 512},
          {"hidden_size", 64},        {"intermediate_size", 112},
          {"num_hidden_layers", 2},   {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"head_dim", 16},
          {"sliding_window", 4},      {"layer_types", {"sliding_attention", "full_attention"}}};
}

json SmallConfig() {
  return {{"model_type", "t5gemma2"},
          {"architectures", {"T5Gemma2ForConditionalGeneration"}},
          {"dtype", "float32"},
          {"image_token_index", 507},
          {"encoder",
           {{"model_type", "t5gemma2_encoder"},
            {"boi_token_index", 505},
            {"eoi_token_index", 506},
            {"image_token_index", 262144},
            {"mm_tokens_per_image", 4},
            {"text_config", SmallStack("t5gemma2_text")},
            {"vision_config",
             {{"hidden_size", 16},
              {"intermediate_size", 16},
              {"num_hidden_layers", 1},
              {"num_attention_heads", 2},
              {"image_size", 56},
              {"patch_size", 14}}}}},
          {"decoder", SmallStack("t5gemma2_decoder")}};
}

ModelConfig MustParse(const json& config, const std::string& generation = "") {
  absl::StatusOr<ModelConfig> parsed = ParseModelConfig(config.dump(), generation);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : ModelConfig();
}

// The message of the refusal.
std::string Refusal(const json& config, const std::string& generation = "") {
  absl::StatusOr<ModelConfig> parsed = ParseModelConfig(config.dump(), generation);
  if (parsed.ok()) return "accepted";
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(parsed.status().message());
}

std::string RefusalOf(const std::string& pointer, const json& value) {
  json config = SmallConfig();
  config[json::json_pointer(pointer)] = value;
  return Refusal(config);
}

TEST(ModelConfigTest, ReadsEveryField) {
  json file = SmallConfig();
  json& decoder = file["decoder"];
  decoder["hidden_activation"] = "silu";
  decoder["rms_norm_eps"] = 1e-3;
  decoder["query_pre_attn_scalar"] = 24;
  decoder["attention_bias"] = true;
  decoder["use_qk_norm"] = false;
  decoder["attn_logit_softcapping"] = 5.0;
  decoder["final_logit_softcapping"] = 8.0;
  decoder["max_position_embeddings"] = 777;
  decoder["rope_parameters"] = {
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 500.0}}},
      {"full_attention", {{"rope_type", "linear"}, {"rope_theta", 5e4}, {"factor", 4}}}};
  file["tie_word_embeddings"] = false;
  file["initializer_range"] = 0.05;
  const ModelConfig config = MustParse(file);
  EXPECT_EQ(config.dialect, Dialect::kHuggingFace);
  EXPECT_EQ(config.decoder.vocab_size, 512);
  EXPECT_EQ(config.decoder.hidden_dim, 64);
  EXPECT_EQ(config.decoder.intermediate_dim, 112);
  EXPECT_EQ(config.decoder.num_layers, 2);
  EXPECT_EQ(config.decoder.num_heads, 4);
  EXPECT_EQ(config.decoder.num_kv_heads, 2);
  EXPECT_EQ(config.decoder.head_dim, 16);
  EXPECT_EQ(config.decoder.activation, Activation::kSilu);
  EXPECT_EQ(config.decoder.rms_norm_eps, 1e-3f);
  EXPECT_EQ(config.decoder.query_pre_attn_scalar, 24.0);
  EXPECT_TRUE(config.decoder.attention_bias);
  EXPECT_FALSE(config.decoder.query_key_norm);
  EXPECT_EQ(config.decoder.sliding_window, 4);
  EXPECT_THAT(config.decoder.layer_types, ElementsAre(kSliding, kFull));
  EXPECT_EQ(config.decoder.rope_sliding.theta, 500.0);
  EXPECT_EQ(config.decoder.rope_sliding.factor, 1.0);
  EXPECT_EQ(config.decoder.rope_full.theta, 5e4);
  EXPECT_EQ(config.decoder.rope_full.factor, 4.0);
  EXPECT_EQ(config.decoder.attn_logit_softcapping, 5.0);
  EXPECT_EQ(AppliedAttentionSoftCap(config, config.decoder), 0.0);
  EXPECT_EQ(config.decoder.max_position_embeddings, 777);
  EXPECT_EQ(config.encoder.activation, Activation::kGeluTanh);
  EXPECT_EQ(config.encoder.query_pre_attn_scalar, 256.0);
  EXPECT_TRUE(config.encoder.query_key_norm);
  EXPECT_FALSE(config.encoder.attention_bias);
  ASSERT_TRUE(config.vision.has_value());
  EXPECT_EQ(config.vision->hidden_dim, 16);
  EXPECT_EQ(config.vision->patch_size, 14);
  EXPECT_EQ(config.mm_tokens_per_image, 4);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.final_logit_softcapping, 8.0);
  EXPECT_EQ(config.image_token_id, 507);
  EXPECT_EQ(config.boi_token_id, 505);
  EXPECT_EQ(config.eoi_token_id, 506);
  EXPECT_EQ(config.stored_dtype, DType::kF32);
  EXPECT_EQ(config.initializer_range, 0.05);
}

TEST(ModelConfigTest, DefaultsOfAnEmptyStack) {
  const ModelConfig config = MustParse({{"model_type", "t5gemma2"},
                                        {"encoder", {{"text_config", json::object()}}},
                                        {"decoder", json::object()}});
  EXPECT_EQ(config.decoder.vocab_size, 262208);
  EXPECT_EQ(config.decoder.hidden_dim, 2304);
  EXPECT_EQ(config.decoder.intermediate_dim, 9216);
  EXPECT_EQ(config.decoder.num_layers, 26);
  EXPECT_EQ(config.decoder.num_heads, 8);
  EXPECT_EQ(config.decoder.num_kv_heads, 4);
  EXPECT_EQ(config.decoder.head_dim, 256);
  EXPECT_EQ(config.decoder.sliding_window, 4096);
  EXPECT_EQ(config.decoder.layer_types[4], kSliding);
  EXPECT_EQ(config.decoder.layer_types[5], kFull);
  EXPECT_EQ(config.decoder.rope_sliding.theta, 1e4);
  EXPECT_EQ(config.decoder.rope_full.theta, 1e6);
  EXPECT_EQ(config.image_token_id, 256001);
  EXPECT_EQ(config.eoi_token_id, 256000);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1));
  EXPECT_EQ(config.decoder_start_token_id, 2);
  EXPECT_TRUE(config.tie_word_embeddings);
  // SigLIP's default grid of 14 cannot be pooled to 16 x 16 tokens.
  EXPECT_FALSE(config.vision.has_value());
}

TEST(ModelConfigTest, OldSpellings) {
  json file = SmallConfig();
  for (json* stack : {&file["encoder"]["text_config"], &file["decoder"]}) {
    stack->erase("layer_types");
    (*stack)["num_hidden_layers"] = 4;
    (*stack)["sliding_window_pattern"] = 3;
    (*stack)["rope_theta"] = 2e5;
    (*stack)["rope_local_base_freq"] = 3e3;
    (*stack)["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  }
  file["image_token_id"] = file["image_token_index"];
  file.erase("image_token_index");
  file["encoder"]["eoi_token_id"] = 500;
  file["encoder"].erase("eoi_token_index");
  file["encoder"]["boi_token_id"] = 499;
  file["encoder"].erase("boi_token_index");
  file["eoi_token_index"] = 3;  // Replaced by the encoder's.
  file["torch_dtype"] = "torch.float16";
  file.erase("dtype");
  const ModelConfig config = MustParse(file);
  EXPECT_THAT(config.decoder.layer_types, ElementsAre(kSliding, kSliding, kFull, kSliding));
  EXPECT_EQ(config.encoder.rope_full.theta, 2e5);
  EXPECT_EQ(config.encoder.rope_full.factor, 2.0);
  EXPECT_EQ(config.encoder.rope_sliding.theta, 3e3);
  EXPECT_EQ(config.encoder.rope_sliding.factor, 1.0);
  EXPECT_EQ(config.image_token_id, 507);
  EXPECT_EQ(config.eoi_token_id, 500);
  EXPECT_EQ(config.boi_token_id, 499);
  EXPECT_EQ(config.stored_dtype, DType::kF16);
}

TEST(ModelConfigTest, IgnoredKeysAndNulls) {
  json file = SmallConfig();
  file["decoder"]["_sliding_window_pattern"] = 6;
  file["decoder"]["use_bidirectional_attention"] = true;
  file["decoder"]["tie_word_embeddings"] = false;  // The top level alone counts.
  file["encoder"]["tie_word_embeddings"] = false;
  file["decoder"]["final_logit_softcapping"] = nullptr;
  file["encoder"]["text_config"]["final_logit_softcapping"] = 3.0;
  file["decoder"]["layer_types"] = nullptr;
  file["decoder"]["rope_parameters"] = nullptr;
  file["decoder"]["surprise"] = {1, 2};
  const ModelConfig config = MustParse(file);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(config.final_logit_softcapping, 0.0);
  EXPECT_THAT(config.decoder.layer_types, ElementsAre(kSliding, kSliding));
}

TEST(ModelConfigTest, WindowIsNeededBySlidingLayersOnly) {
  json file = SmallConfig();
  file["decoder"]["sliding_window"] = nullptr;
  EXPECT_EQ(Refusal(file),
            "decoder.sliding_window is missing: layer_types has sliding layers, which need a "
            "window of at least 1");
  file["decoder"]["layer_types"] = {"full_attention", "full_attention"};
  EXPECT_EQ(MustParse(file).decoder.sliding_window, 0);
}

TEST(ModelConfigTest, Activations) {
  const std::pair<const char*, Activation> names[] = {{"gelu_pytorch_tanh", Activation::kGeluTanh},
                                                      {"gelu_approximate", Activation::kGeluTanh},
                                                      {"gelu", Activation::kGeluErf},
                                                      {"silu", Activation::kSilu},
                                                      {"swish", Activation::kSilu},
                                                      {"relu", Activation::kRelu}};
  for (const auto& [name, activation] : names) {
    json file = SmallConfig();
    file["encoder"]["text_config"]["hidden_activation"] = name;
    EXPECT_EQ(MustParse(file).encoder.activation, activation) << name;
  }
}

TEST(ModelConfigTest, TokenIdsComeFromGenerationThenTopThenDecoder) {
  json file = SmallConfig();
  file["decoder"]["eos_token_id"] = {9, 4, 9};
  file["decoder"]["pad_token_id"] = 3;
  file["bos_token_id"] = 11;
  file["decoder"]["bos_token_id"] = 12;
  ModelConfig config = MustParse(file);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(4, 9));
  EXPECT_EQ(config.pad_token_id, 3);
  EXPECT_EQ(config.bos_token_id, 11);
  EXPECT_EQ(config.decoder_start_token_id, 11);

  config = MustParse(file, R"({"eos_token_id": [1, 47], "decoder_start_token_id": 5, "top_k": 64,
                               "temperature": 0.7, "transformers_version": "5.23.0"})");
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1, 47));
  EXPECT_EQ(config.decoder_start_token_id, 5);
  EXPECT_THAT(config.generation_defaults,
              ElementsAre(Pair("temperature", "0.7"), Pair("top_k", "64")));
  EXPECT_EQ(Refusal(file, R"({"eos_token_id": [1, 512]})"),
            "generation_config.json.eos_token_id is [1,512]: it must be an integer from 0 to 511, "
            "or a list of such");
  EXPECT_THAT(Refusal(file, "{"), StartsWith("generation_config.json: not valid JSON: "));
}

TEST(ModelConfigTest, ExplicitTokenIndexMustBeInTheVocabulary) {
  EXPECT_EQ(RefusalOf("/image_token_index", 512),
            "image_token_index is 512: the vocabulary has 512 tokens");
  EXPECT_EQ(RefusalOf("/encoder/eoi_token_index", 512),
            "encoder.eoi_token_index is 512: the vocabulary has 512 tokens");
  json file = SmallConfig();
  file["encoder"].erase("eoi_token_index");  // 256000 is none of the 512 tokens.
  EXPECT_EQ(MustParse(file).eoi_token_id, -1);
  file["encoder"]["eoi_token_index"] = 7;
  file["encoder"]["eoi_token_id"] = 8;
  EXPECT_EQ(Refusal(file), "encoder.eoi_token_id is 8: encoder.eoi_token_index says 7");
}

struct BadField {
  const char* pointer;
  json value;
  const char* message;
};

TEST(ModelConfigTest, RefusalsNameTheFieldAndItsValue) {
  const BadField cases[] = {
      {"/registered_name", "keras_hub>T5Gemma2Backbone",
       "registered_name is \"keras_hub>T5Gemma2Backbone\": Keras presets are not readable by this "
       "version"},
      {"/model_type", "gemma3", "model_type is \"gemma3\": supported is \"t5gemma2\""},
      {"/model_type", nullptr,
       "model_type is missing: a T5Gemma 2 config.json has \"t5gemma2\" there"},
      {"/architectures",
       {"T5GemmaForConditionalGeneration"},
       "architectures is [\"T5GemmaForConditionalGeneration\"]: supported is "
       "[\"T5Gemma2ForConditionalGeneration\"]"},
      {"/is_encoder_decoder", false,
       "is_encoder_decoder is false: T5Gemma 2 is an encoder-decoder"},
      {"/quantization_config", json::object(),
       "quantization_config is {}: quantized checkpoints are not supported"},
      {"/encoder", nullptr, "encoder is missing: it must be an object"},
      {"/decoder", 3, "decoder is 3: it must be an object"},
      {"/encoder/text_config", nullptr, "encoder.text_config is missing: it must be an object"},
      {"/decoder/model_type", "gemma",
       "decoder.model_type is \"gemma\": supported is \"t5gemma2_decoder\""},
      {"/decoder/hidden_size", 128,
       "decoder.hidden_size is 128: encoder.text_config.hidden_size is 64, they must be equal"},
      {"/decoder/vocab_size", 1024,
       "decoder.vocab_size is 1024: encoder.text_config.vocab_size is 512, they must be equal"},
      {"/vocab_size", 511, "vocab_size is 511: decoder.vocab_size is 512, they must be equal"},
      {"/decoder/num_attention_heads", 6,
       "decoder.num_attention_heads is 6: it must divide decoder.hidden_size, which is 64"},
      {"/decoder/num_key_value_heads", 3,
       "decoder.num_key_value_heads is 3: it must divide decoder.num_attention_heads, which is 4"},
      {"/decoder/head_dim", 15, "decoder.head_dim is 15: it must be even, to be rotated"},
      {"/decoder/head_dim", 1 << 20,
       "decoder.head_dim is 1048576: all heads together are at most 1048576 wide"},
      {"/decoder/num_hidden_layers", 3,
       "decoder.layer_types is [\"sliding_attention\",\"full_attention\"]: it has 2 entries, but "
       "decoder.num_hidden_layers is 3"},
      {"/decoder/layer_types/1", "chunked_attention",
       "decoder.layer_types is [\"sliding_attention\",\"chunked_attention\"]: entries must be "
       "\"sliding_attention\" or \"full_attention\""},
      {"/decoder/layer_types", "full_attention",
       "decoder.layer_types is \"full_attention\": it must be a list"},
      {"/decoder/sliding_window", 0,
       "decoder.sliding_window is 0: layer_types has sliding layers, which need a window of at "
       "least 1"},
      {"/decoder/hidden_activation", "quick_gelu",
       "decoder.hidden_activation is \"quick_gelu\": supported are gelu_pytorch_tanh, "
       "gelu_approximate, gelu, silu, swish and relu"},
      {"/decoder/hidden_act", "relu",
       "decoder.hidden_act is \"relu\": it contradicts hidden_activation, which alone counts"},
      {"/decoder/hidden_size", -64,
       "decoder.hidden_size is -64: it must be an integer from 1 to 1048576"},
      {"/decoder/hidden_size", 18446744073709551615ull,
       "decoder.hidden_size is 18446744073709551615: it must be an integer from 1 to 1048576"},
      {"/decoder/hidden_size", 64.0,
       "decoder.hidden_size is 64.0: it must be an integer from 1 to 1048576"},
      {"/decoder/hidden_size", "64",
       "decoder.hidden_size is \"64\": it must be an integer from 1 to 1048576"},
      {"/decoder/num_hidden_layers", 1000000000,
       "decoder.num_hidden_layers is 1000000000: it must be an integer from 1 to 4096"},
      {"/decoder/attention_bias", 1, "decoder.attention_bias is 1: it must be true or false"},
      {"/decoder/rms_norm_eps", 0,
       "decoder.rms_norm_eps is 0: it must be a number from 1e-30 to 1"},
      {"/decoder/query_pre_attn_scalar", -1,
       "decoder.query_pre_attn_scalar is -1: it must be a number from 1e-09 to 1000000000000"},
      {"/decoder/final_logit_softcapping", 0,
       "decoder.final_logit_softcapping is 0: it must be a number from 1e-09 to 1000000000000"},
      {"/decoder/rope_parameters",
       {{"rope_type", "linear"}, {"factor", 8}},
       "decoder.rope_parameters.rope_type is \"linear\": rope parameters are given by layer type"},
      {"/decoder/rope_parameters",
       {{"full_attention", {{"rope_type", "yarn"}}}},
       "decoder.rope_parameters.full_attention.rope_type is \"yarn\": supported are \"default\" "
       "and \"linear\""},
      {"/decoder/rope_parameters",
       {{"full_attention", {{"rope_type", "linear"}}}},
       "decoder.rope_parameters.full_attention.factor is missing: type linear needs it"},
      {"/decoder/rope_parameters",
       {{"full_attention", {{"rope_type", "linear"}, {"factor", 0.5}}}},
       "decoder.rope_parameters.full_attention.factor is 0.5: it must be a number from 1 to "
       "1000000"},
      {"/decoder/rope_parameters",
       {{"sliding_attention", {{"factor", 8.0}}}},
       "decoder.rope_parameters.sliding_attention.factor is 8.0: type default takes none (type "
       "linear does)"},
      {"/decoder/rope_scaling",
       {{"rope_type", "dynamic"}, {"factor", 2.0}},
       "decoder.rope_scaling.rope_type is \"dynamic\": supported are \"default\" and \"linear\""},
      {"/decoder/rope_scaling", 8, "decoder.rope_scaling is 8: it must be an object"},
      {"/dtype", "float64", "dtype is \"float64\": supported are float32, bfloat16 and float16"},
      {"/encoder/mm_tokens_per_image", 8,
       "encoder.mm_tokens_per_image is 8: it must be a square number"},
      {"/encoder/mm_tokens_per_image", 9,
       "encoder.mm_tokens_per_image is 9: its root must divide the patch grid, which is 4 wide"},
      {"/encoder/vision_config/image_size", 57,
       "encoder.vision_config.image_size is 57: it must be a multiple of "
       "encoder.vision_config.patch_size, which is 14"},
      {"/encoder/vision_config/num_attention_heads", 3,
       "encoder.vision_config.num_attention_heads is 3: it must divide "
       "encoder.vision_config.hidden_size, which is 16"},
      {"/eos_token_id", -1,
       "eos_token_id is -1: it must be an integer from 0 to 511, or a list of such"},
      {"/tie_word_embeddings", "yes", "tie_word_embeddings is \"yes\": it must be true or false"},
  };
  for (const BadField& bad : cases) {
    EXPECT_EQ(RefusalOf(bad.pointer, bad.value), bad.message) << bad.pointer;
  }
}

TEST(ModelConfigTest, TextThatIsNoObject) {
  const auto message = [](const std::string& text) {
    return std::string(ParseModelConfig(text, "").status().message());
  };
  EXPECT_THAT(message(""), StartsWith("not valid JSON: "));
  EXPECT_THAT(message("{\"a\": 1e999}"), StartsWith("not valid JSON: "));
  EXPECT_EQ(message("[1]"), "must be a JSON object, but is [1]");
  // Deep nesting is no danger to the stack.
  EXPECT_FALSE(ParseModelConfig(std::string(1 << 20, '['), "").ok());
  // Long values are cut, bytes that are not UTF-8 replaced.
  EXPECT_LT(RefusalOf("/model_type", std::string(10000, 'x')).size(), 200u);
}

TEST(ModelConfigTest, GoldenConfigs) {
  int found = 0;
  for (const char* folder : {"hf", "configs"}) {
    for (const auto& entry : fs::directory_iterator(fs::path(TANDEM_TEST_DATA) / folder)) {
      const absl::StatusOr<ModelConfig> config = LoadModelConfig(entry.path().string());
      EXPECT_TRUE(config.ok()) << entry.path() << ": " << config.status();
      ++found;
    }
  }
  EXPECT_GE(found, 19);
}

TEST(ModelConfigTest, GoldenEosList) {
  const std::string directory = std::string(TANDEM_TEST_DATA) + "/hf/eoi_eos_prefix";
  EXPECT_THAT(LoadModelConfig(directory)->eos_token_ids, ElementsAre(1, 47));
  EXPECT_THAT(LoadModelConfig(directory + "/config.json")->eos_token_ids, ElementsAre(1, 47));
}

TEST(ModelConfigTest, FilesThatCannotBeLoaded) {
  const fs::path folder = fs::path(::testing::TempDir()) / "model_config_test";
  fs::create_directories(folder);
  std::ofstream(folder / "config.json") << R"({"model_type": "gemma3"})";
  const absl::Status refused = LoadModelConfig(folder.string()).status();
  EXPECT_EQ(refused.message(), (folder / "config.json").string() +
                                   ": model_type is \"gemma3\": supported is \"t5gemma2\"");
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kModel);
  const absl::Status missing = LoadModelConfig("/nowhere/at/all").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(missing.message(), "/nowhere/at/all: No such file or directory");
  fs::remove_all(folder);
}

struct PublishedSize {
  const char* name;
  int64_t stack, table, vision, projector, unique, published;
};

TEST(ParameterCountsTest, PublishedSizes) {
  const PublishedSize sizes[] = {
      {"270m-270m", 100326016, 167772160, 416866032, 738432, 786029296, 953800816},
      {"1b-1b", 697896064, 301989888, 416866032, 1328256, 2115977456, 2417966192},
      // The publisher's own listing has 8,180,020,080: with two EOI vectors of 2,560.
      {"4b-4b", 3209010688, 671088640, 416866032, 2950272, 7508928880, 8180014960},
  };
  for (const PublishedSize& size : sizes) {
    const absl::StatusOr<ModelConfig> config =
        LoadModelConfig(std::string(TANDEM_TEST_DATA) + "/configs/" + size.name);
    ASSERT_TRUE(config.ok()) << config.status();
    const ParameterCounts counts = CountParameters(*config);
    EXPECT_EQ(counts.encoder, size.stack) << size.name;
    EXPECT_EQ(counts.decoder, size.stack) << size.name;
    EXPECT_EQ(counts.table, size.table) << size.name;
    EXPECT_EQ(counts.vision, size.vision) << size.name;
    EXPECT_EQ(counts.projector, size.projector) << size.name;
    EXPECT_EQ(counts.unique, size.unique) << size.name;
    EXPECT_EQ(counts.published, size.published) << size.name;
  }
}

TEST(ParameterCountsTest, BiasesNormsAndUntiedHeads) {
  json file = SmallConfig();
  const int64_t tied = CountParameters(MustParse(file)).unique;
  file["decoder"]["attention_bias"] = true;
  EXPECT_EQ(CountParameters(MustParse(file)).unique, tied + 2 * (64 + 32 + 32 + 64));
  file["decoder"]["attention_bias"] = false;
  file["decoder"]["use_qk_norm"] = false;
  EXPECT_EQ(CountParameters(MustParse(file)).unique, tied - 2 * (16 + 16));
  file["decoder"]["use_qk_norm"] = true;
  file["tie_word_embeddings"] = false;
  EXPECT_EQ(CountParameters(MustParse(file)).unique, tied + 2 * 512 * 64 + 64);
}

}  // namespace
}  // namespace tandem
