#include "common/checkpoint/inspect.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/checkpoint/slice_shape.h"
#include "common/parallel/leaves.h"

namespace tandem {
namespace {

using nlohmann::ordered_json;

// Vectors (norms, biases) are kept in fp32.
constexpr int64_t kVectorBytes = 4;

const char* ActivationText(Activation activation) {
  switch (activation) {
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kGeluErf:
      return "gelu_erf";
    case Activation::kSilu:
      return "silu";
    case Activation::kRelu:
      return "relu";
  }
  return "?";
}

const char* DTypeText(DType dtype) {
  if (dtype == DType::kBF16) return "bfloat16";
  return dtype == DType::kF16 ? "float16" : "float32";
}

// What --dtype auto computes in: F16 has no kernels of its own.
DType ComputeDType(const ModelConfig& config) {
  return config.stored_dtype == DType::kBF16 ? DType::kBF16 : DType::kF32;
}

ordered_json RopeFacts(const RopeConfig& rope) {
  return {{"theta", rope.theta}, {"factor", rope.factor}};
}

// 0 stands for "none".
template <class T>
ordered_json OrNull(T value) {
  return value == T{0} ? ordered_json() : ordered_json(value);
}

// The double nearest to the float's shortest decimal: 1e-6f is written as 1e-06.
double Shortest(float value) {
  double shortest = 0.0;
  return absl::SimpleAtod(absl::StrCat(value), &shortest) ? shortest : double{value};
}

ordered_json StackFacts(const TextStackConfig& stack) {
  std::vector<int64_t> full;
  for (size_t i = 0; i < stack.layer_types.size(); ++i) {
    if (stack.layer_types[i] == LayerType::kFull) full.push_back(static_cast<int64_t>(i));
  }
  return {{"num_layers", stack.num_layers},
          {"hidden_dim", stack.hidden_dim},
          {"intermediate_dim", stack.intermediate_dim},
          {"num_heads", stack.num_heads},
          {"num_kv_heads", stack.num_kv_heads},
          {"head_dim", stack.head_dim},
          {"vocab_size", stack.vocab_size},
          {"activation", ActivationText(stack.activation)},
          {"rms_norm_eps", Shortest(stack.rms_norm_eps)},
          {"query_pre_attn_scalar", stack.query_pre_attn_scalar},
          {"attention_bias", stack.attention_bias},
          {"query_key_norm", stack.query_key_norm},
          {"sliding_window", OrNull(stack.sliding_window)},
          {"full_attention_layers", full},
          {"rope_sliding", RopeFacts(stack.rope_sliding)},
          {"rope_full", RopeFacts(stack.rope_full)},
          {"attn_logit_softcapping", OrNull(stack.attn_logit_softcapping)},
          {"max_position_embeddings", stack.max_position_embeddings}};
}

ordered_json VisionFacts(const ModelConfig& config) {
  if (!config.vision) return nullptr;
  const VisionConfig& vision = *config.vision;
  return {{"num_layers", vision.num_layers},
          {"hidden_dim", vision.hidden_dim},
          {"intermediate_dim", vision.intermediate_dim},
          {"num_heads", vision.num_heads},
          {"image_size", vision.image_size},
          {"patch_size", vision.patch_size},
          {"tokens_per_image", config.mm_tokens_per_image},
          {"activation", ActivationText(vision.activation)},
          {"layer_norm_eps", Shortest(vision.layer_norm_eps)}};
}

// Elements a rank holds, matrices and vectors apart.
struct Share {
  int64_t matrices = 0;
  int64_t vectors = 0;

  int64_t Bytes(int64_t element_bytes) const {
    return matrices * element_bytes + vectors * kVectorBytes;
  }
};

int64_t KvHeadsOf(const TextStackConfig& stack, TpRank rank) {
  const int64_t group = stack.num_heads / stack.num_kv_heads;
  const int64_t heads = stack.num_heads / rank.tp_size;
  const int64_t first = rank.tp_rank * heads;
  return (first + heads - 1) / group - first / group + 1;
}

Share StackShare(const TextStackConfig& stack, TpRank rank) {
  const int64_t hidden_dim = stack.hidden_dim;
  const int64_t query_dim = stack.num_heads / rank.tp_size * stack.head_dim;
  const int64_t kv_dim = KvHeadsOf(stack, rank) * stack.head_dim;
  const int64_t inner = ShardOf(FeatureCut(stack.intermediate_dim), rank).size();
  Share layer{2 * hidden_dim * (query_dim + kv_dim) + 3 * hidden_dim * inner, 4 * hidden_dim};
  if (stack.query_key_norm) layer.vectors += 2 * stack.head_dim;
  if (stack.attention_bias) layer.vectors += query_dim + 2 * kv_dim + hidden_dim;
  return {stack.num_layers * layer.matrices, stack.num_layers * layer.vectors + hidden_dim};
}

// Rows of `num_tables` tables (or heads) cut by vocabulary, and an EOI vector.
Share TableShare(const TextStackConfig& stack, int64_t num_tables, TpRank rank) {
  return {num_tables * ShardOf(FeatureCut(stack.vocab_size), rank).size() * stack.hidden_dim,
          stack.hidden_dim};
}

Share VisionShare(const ModelConfig& config, TpRank rank) {
  const VisionConfig& vision = *config.vision;
  const int64_t width = vision.hidden_dim;
  const int64_t grid = vision.image_size / vision.patch_size;
  const int64_t heads = width / rank.tp_size;
  const int64_t inner = ShardOf(FeatureCut(vision.intermediate_dim, kVisionLeaves), rank).size();
  const Share layer{4 * width * heads + 2 * width * inner,
                    4 * width + 3 * heads + 2 * width + inner};
  return {3 * vision.patch_size * vision.patch_size * width + grid * grid * width +
              width * config.encoder.hidden_dim + vision.num_layers * layer.matrices,
          vision.num_layers * layer.vectors + 4 * width};
}

std::vector<int> Degrees(int64_t num_heads, int num_leaves) {
  std::vector<int> degrees;
  for (int tp_size = 1; tp_size <= num_leaves && num_heads % tp_size == 0; tp_size *= 2) {
    degrees.push_back(tp_size);
  }
  return degrees;
}

ordered_json StackBytes(const TextStackConfig& stack, int64_t num_tables, DType dtype,
                        bool holds_kv) {
  ordered_json rows = ordered_json::array();
  for (const int tp_size : Degrees(stack.num_heads, kTextLeaves)) {
    int64_t layers = 0;
    int64_t table = 0;
    int64_t total = 0;
    int64_t kv_heads = 0;
    for (int tp_rank = 0; tp_rank < tp_size; ++tp_rank) {
      const TpRank rank{tp_size, tp_rank};
      const int64_t layers_here = LayerWeightBytes(stack, rank, dtype);
      const int64_t table_here = TableWeightBytes(stack, num_tables, rank, dtype);
      kv_heads = std::max(kv_heads, KvHeadsOf(stack, rank));
      if (layers_here + table_here <= total) continue;
      layers = layers_here;
      table = table_here;
      total = layers_here + table_here;
    }
    ordered_json row = {
        {"tp", tp_size}, {"layer_bytes", layers}, {"table_bytes", table}, {"total_bytes", total}};
    row["kv_heads"] = kv_heads;
    if (holds_kv) {
      row["kv_bytes_per_token"] = 2 * stack.num_layers * kv_heads * stack.head_dim * SizeOf(dtype);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

ordered_json VisionBytes(const ModelConfig& config, DType dtype) {
  ordered_json rows = ordered_json::array();
  if (!config.vision) return rows;
  for (const int tp_size : Degrees(config.vision->num_heads, kVisionLeaves)) {
    int64_t total = 0;
    for (int tp_rank = 0; tp_rank < tp_size; ++tp_rank) {
      total = std::max(total, VisionShare(config, {tp_size, tp_rank}).Bytes(SizeOf(dtype)));
    }
    rows.push_back({{"tp", tp_size}, {"total_bytes", total}});
  }
  return rows;
}

ordered_json ParameterFacts(const ModelConfig& config) {
  const ParameterCounts counts = CountParameters(config);
  return {{"unique", counts.unique},       {"unique_text", CountText(counts.unique)},
          {"published", counts.published}, {"published_text", CountText(counts.published)},
          {"token_table", counts.table},   {"encoder", counts.encoder},
          {"decoder", counts.decoder},     {"vision", counts.vision},
          {"projector", counts.projector}};
}

ordered_json TokenFacts(const ModelConfig& config) {
  return {{"bos", config.bos_token_id},         {"eos", config.eos_token_ids},
          {"pad", config.pad_token_id},         {"decoder_start", config.decoder_start_token_id},
          {"image", config.image_token_id},     {"begin_of_image", config.boi_token_id},
          {"end_of_image", config.eoi_token_id}};
}

// "15 sliding (window 512), 3 full (5, 11, 17)"
std::string LayersText(const ordered_json& stack) {
  const ordered_json& full = stack["full_attention_layers"];
  const auto num_full = static_cast<int64_t>(full.size());
  std::vector<std::string> parts;
  if (num_full < stack["num_layers"].get<int64_t>()) {
    parts.push_back(absl::StrCat(stack["num_layers"].get<int64_t>() - num_full, " sliding (window ",
                                 stack["sliding_window"].dump(), ")"));
  }
  if (num_full > 0) {
    parts.push_back(absl::StrCat(num_full, " full (",
                                 absl::StrJoin(full.get<std::vector<int64_t>>(), ", "), ")"));
  }
  return absl::StrJoin(parts, ", ");
}

void AppendStack(absl::string_view name, const ordered_json& stack, std::string* text) {
  absl::StrAppend(text, name, "\n");
  absl::StrAppend(text, "  layers           ", stack["num_layers"].dump(), ": ", LayersText(stack),
                  "\n");
  absl::StrAppend(text, "  widths           hidden ", stack["hidden_dim"].dump(), ", intermediate ",
                  stack["intermediate_dim"].dump(), ", vocabulary ", stack["vocab_size"].dump(),
                  "\n");
  absl::StrAppend(text, "  heads            ", stack["num_heads"].dump(), " query, ",
                  stack["num_kv_heads"].dump(), " key/value, ", stack["head_dim"].dump(),
                  " wide; score scale ", stack["query_pre_attn_scalar"].dump(), "^-0.5",
                  stack["attention_bias"].get<bool>() ? "; biases" : "",
                  stack["query_key_norm"].get<bool>() ? "" : "; no q/k norm", "\n");
  absl::StrAppend(text, "  rope             sliding ", stack["rope_sliding"]["theta"].dump(), " / ",
                  stack["rope_sliding"]["factor"].dump(), ", full ",
                  stack["rope_full"]["theta"].dump(), " / ", stack["rope_full"]["factor"].dump(),
                  " (theta / factor)\n");
  absl::StrAppend(text, "  activation       ", stack["activation"].get<std::string>(),
                  ", norm eps ", absl::StrFormat("%g", stack["rms_norm_eps"].get<double>()),
                  ", positions ", stack["max_position_embeddings"].dump(), "\n");
}

void AppendVision(const ordered_json& vision, std::string* text) {
  if (vision.is_null()) {
    absl::StrAppend(text, "vision             none\n");
    return;
  }
  absl::StrAppend(text, "vision\n  layers           ", vision["num_layers"].dump(), ", hidden ",
                  vision["hidden_dim"].dump(), ", intermediate ", vision["intermediate_dim"].dump(),
                  ", heads ", vision["num_heads"].dump(), "\n");
  absl::StrAppend(text, "  images           ", vision["image_size"].dump(), " pixels, patches of ",
                  vision["patch_size"].dump(), ", ", vision["tokens_per_image"].dump(),
                  " tokens each\n");
}

void AppendRankBytes(absl::string_view stage, const ordered_json& rows, std::string* text) {
  for (const ordered_json& row : rows) {
    absl::StrAppendFormat(text, "  %-8s TP %-4d %s", stage, row["tp"].get<int>(),
                          BytesText(row["total_bytes"].get<int64_t>()));
    if (row.contains("table_bytes")) {
      absl::StrAppend(text, " (layers ", BytesText(row["layer_bytes"].get<int64_t>()), ", table ",
                      BytesText(row["table_bytes"].get<int64_t>()), ")");
    }
    if (row.contains("kv_bytes_per_token")) {
      absl::StrAppend(text, ", K/V ", BytesText(row["kv_bytes_per_token"].get<int64_t>()),
                      " a token");
    }
    absl::StrAppend(text, "\n");
  }
}

}  // namespace

int64_t LayerWeightBytes(const TextStackConfig& stack, TpRank rank, DType dtype) {
  return StackShare(stack, rank).Bytes(SizeOf(dtype));
}

int64_t TableWeightBytes(const TextStackConfig& stack, int64_t num_tables, TpRank rank,
                         DType dtype) {
  return TableShare(stack, num_tables, rank).Bytes(SizeOf(dtype));
}

std::string CountText(int64_t count) {
  const auto value = static_cast<double>(count);
  if (count < 1000) return absl::StrCat(count);
  if (count < 1'000'000) return absl::StrFormat("%.2fK", value / 1e3);
  if (count < 1'000'000'000) return absl::StrFormat("%.2fM", value / 1e6);
  return absl::StrFormat("%.2fB", value / 1e9);
}

std::string BytesText(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  return absl::StrFormat("%.2f %s", value, kUnits[unit]);
}

ordered_json InspectConfig(const ModelConfig& config) {
  const DType dtype = ComputeDType(config);
  ordered_json facts;
  facts["dialect"] = config.dialect == Dialect::kKeras ? "keras" : "hf";
  facts["stored_dtype"] = DTypeText(config.stored_dtype);
  facts["compute_dtype"] = DTypeText(dtype);
  facts["parameters"] = ParameterFacts(config);
  facts["tie_word_embeddings"] = config.tie_word_embeddings;
  facts["final_logit_softcapping"] = OrNull(config.final_logit_softcapping);
  facts["encoder"] = StackFacts(config.encoder);
  facts["decoder"] = StackFacts(config.decoder);
  facts["vision"] = VisionFacts(config);
  facts["tokens"] = TokenFacts(config);
  facts["generation"] = ordered_json::object();
  for (const auto& [key, text] : config.generation_defaults) {
    facts["generation"][key] = ordered_json::parse(text);
  }
  // Untied, the decoder has a table and a head.
  const int64_t decoder_tables = config.tie_word_embeddings ? 1 : 2;
  facts["bytes_per_rank"] = {
      {"vision", VisionBytes(config, dtype)},
      {"encoder", StackBytes(config.encoder, 1, dtype, /*holds_kv=*/false)},
      {"decoder", StackBytes(config.decoder, decoder_tables, dtype, /*holds_kv=*/true)}};
  // A decoder position and an encoder position take the same: one K and one V row a layer.
  facts["kv_bytes_per_token"] = 2 * config.decoder.num_layers * config.decoder.num_kv_heads *
                                config.decoder.head_dim * SizeOf(dtype);
  return facts;
}

ordered_json InspectWeights(const Checkpoint& checkpoint) {
  int64_t bytes = 0;
  std::map<std::string, int64_t> types;
  const std::vector<TensorInfo> tensors = checkpoint.Tensors();
  for (const TensorInfo& tensor : tensors) {
    const MatrixShape shape = MatrixShapeOf(tensor.shape);
    bytes += shape.rows * shape.cols * SizeOf(tensor.dtype);
    ++types[NameOf(tensor.dtype)];
  }
  ordered_json facts = {{"tensors", tensors.size()}, {"bytes", bytes}};
  for (const auto& [name, count] : types) facts["tensors_of"][name] = count;
  return facts;
}

std::string InspectText(const ordered_json& facts) {
  const ordered_json& parameters = facts["parameters"];
  std::string text;
  absl::StrAppend(
      &text, "parameters         ", parameters["unique_text"].get<std::string>(), " unique (",
      parameters["unique"].dump(), "), ", parameters["published_text"].get<std::string>(),
      " as published with a table for each stack (", parameters["published"].dump(), ")\n");
  absl::StrAppend(&text, "dialect            ", facts["dialect"].get<std::string>(), "\n");
  absl::StrAppend(&text, "stored as          ", facts["stored_dtype"].get<std::string>(),
                  ", computed in ", facts["compute_dtype"].get<std::string>(), "\n");
  absl::StrAppend(&text, "head               ",
                  facts["tie_word_embeddings"].get<bool>() ? "tied to the token table" : "untied",
                  facts["final_logit_softcapping"].is_null()
                      ? std::string()
                      : absl::StrCat(", soft cap ", facts["final_logit_softcapping"].dump()),
                  "\n");
  AppendStack("encoder", facts["encoder"], &text);
  AppendStack("decoder", facts["decoder"], &text);
  AppendVision(facts["vision"], &text);
  absl::StrAppend(&text, "bytes of weights on a rank (the largest of its group)\n");
  for (const char* stage : {"vision", "encoder", "decoder"}) {
    AppendRankBytes(stage, facts["bytes_per_rank"][stage], &text);
  }
  for (const char* rest : {"tokens", "generation", "weights", "tokenizer"}) {
    if (!facts.contains(rest) || facts[rest].empty()) continue;
    absl::StrAppend(&text, rest, "\n");
    for (const auto& [key, value] : facts[rest].items()) {
      absl::StrAppendFormat(&text, "  %-16s %s\n", key,
                            value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  return text;
}

}  // namespace tandem
