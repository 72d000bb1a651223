// Both formats against their references: ids of texts, texts of ids.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "common/text/tokenizer.h"

namespace tandem {
namespace {

using nlohmann::json;

const std::string kData = std::string(TANDEM_TEST_DATA) + "/tokenizer/";

std::unique_ptr<Tokenizer> Load(const std::string& path) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::LoadFile(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

std::vector<json> Rows(const std::string& path) {
  std::vector<json> rows;
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) rows.push_back(json::parse(line));
  EXPECT_FALSE(rows.empty()) << path;
  return rows;
}

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST(TokenizerGoldenTest, EncodesAsHuggingFace) {
  const std::unique_ptr<Tokenizer> tokenizer = Load(kData + "tokenizer.json");
  ASSERT_NE(tokenizer, nullptr);
  for (const json& row : Rows(kData + "encode.jsonl")) {
    const bool ill_formed = row.contains("bytes_hex");
    const std::string text =
        ill_formed ? FromHex(row["bytes_hex"]) : row["text"].get<std::string>();
    EXPECT_EQ(json(tokenizer->Encode(text)), row[ill_formed ? "hf_ids_of_replaced_text" : "hf_ids"])
        << row;
  }
}

TEST(TokenizerGoldenTest, EncodesAsSentencePiece) {
  const std::unique_ptr<Tokenizer> tokenizer = Load(kData + "tokenizer.model");
  ASSERT_NE(tokenizer, nullptr);
  for (const json& row : Rows(kData + "encode.jsonl")) {
    const std::string text =
        row.contains("bytes_hex") ? FromHex(row["bytes_hex"]) : row["text"].get<std::string>();
    EXPECT_EQ(json(tokenizer->Encode(text)), row["spm_ids"]) << row;
  }
}

TEST(TokenizerGoldenTest, DecodesAsBoth) {
  const std::unique_ptr<Tokenizer> hf = Load(kData + "tokenizer.json");
  const std::unique_ptr<Tokenizer> spm = Load(kData + "tokenizer.model");
  ASSERT_TRUE(hf != nullptr && spm != nullptr);
  for (const json& row : Rows(kData + "decode.jsonl")) {
    const auto ids = row["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(hf->Decode(ids, false), row["hf_text"].get<std::string>()) << row;
    EXPECT_EQ(hf->Decode(ids, true), row["hf_text_skip_special"].get<std::string>()) << row;
    EXPECT_EQ(spm->Decode(ids, true), row["spm_text"].get<std::string>()) << row;
  }
}

TEST(TokenizerGoldenTest, DemoPromptsAndAnswers) {
  const std::string demo = std::string(TANDEM_SOURCE_DIR) + "/models/demo";
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::LoadFromModelDir(demo);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::unique_ptr<Tokenizer> model = Load(demo + "/tokenizer.model");
  for (const json& row : Rows(std::string(TANDEM_TEST_DATA) + "/demo/text.jsonl")) {
    const auto prompt = row["prompt"].get<std::string>();
    EXPECT_EQ(json((*tokenizer)->EncodeWithSpecial(prompt, AddBos::kAuto)),
              row["prompt_token_ids"]);
    EXPECT_EQ(json(model->EncodeWithSpecial(prompt, AddBos::kAlways)), row["prompt_token_ids"]);
    EXPECT_EQ((*tokenizer)->Decode(row["token_ids"].get<std::vector<int32_t>>(), true),
              row["text"].get<std::string>());
  }
}

}  // namespace
}  // namespace tandem
