#include "tests/golden/golden_case.h"

#include <gtest/gtest.h>

#include <fstream>

namespace tandem {
namespace {

std::map<std::string, HostTensor> ReadTensors(const std::string& path) {
  absl::StatusOr<std::map<std::string, HostTensor>> tensors = ReadSafetensors(path);
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  return tensors.ok() ? *std::move(tensors) : std::map<std::string, HostTensor>();
}

PaddedTokens Tokens(const std::map<std::string, HostTensor>& tensors, const std::string& ids,
                    const std::string& mask) {
  PaddedTokens out;
  out.rows = tensors.at(ids).shape[0];
  out.columns = tensors.at(ids).shape[1];
  for (const int64_t id : tensors.at(ids).As<int64_t>()) {
    out.ids.push_back(static_cast<int32_t>(id));
  }
  for (const int64_t valid : tensors.at(mask).As<int64_t>()) {
    out.valid.push_back(valid != 0 ? 1 : 0);
  }
  return out;
}

}  // namespace

GoldenCase GoldenCase::Load(const std::string& name) {
  GoldenCase out;
  out.name = name;
  out.directory = std::string(TANDEM_TEST_DATA) + "/hf/" + name;
  std::ifstream facts(out.directory + "/case.json");
  out.facts = nlohmann::json::parse(facts);
  out.inputs = ReadTensors(out.directory + "/inputs.safetensors");
  out.expected = ReadTensors(out.directory + "/expected.safetensors");
  return out;
}

PaddedTokens GoldenCase::EncoderTokens() const {
  return Tokens(inputs, "input_ids", "attention_mask");
}

PaddedTokens GoldenCase::DecoderTokens() const {
  return Tokens(inputs, "decoder_input_ids", "decoder_attention_mask");
}

Tolerance GoldenCase::Fp32(const std::string& kind) const {
  const nlohmann::json& tolerance = facts.at("tolerances").at(kind);
  return {tolerance.at("abs").get<double>(), tolerance.at("rel").get<double>()};
}

bool GoldenCase::HasBf16() const {
  return facts.at("tolerances").contains("bf16_vs_fp32_expected");
}

Tolerance GoldenCase::Bf16(const std::string& tensor) const {
  const nlohmann::json& tolerances = facts.at("tolerances").at("bf16_vs_fp32_expected");
  if (tensor == "logits") return {tolerances.at("logits_abs").get<double>(), 0};
  const nlohmann::json& hidden = tolerances.at("hidden_abs");
  return {hidden.contains(tensor) ? hidden.at(tensor).get<double>() : -1.0, 0};
}

std::vector<std::string> GoldenCaseNames() {
  return {"asymmetric",     "attn_bias",        "bf16_text",      "edges",
          "eoi_eos_prefix", "head_dim_large",   "head_dim_small", "legacy_names",
          "rope_variants",  "sharded",          "softcaps",       "text_full",
          "text_sliding",   "text_sliding_odd", "untied"};
}

}  // namespace tandem
