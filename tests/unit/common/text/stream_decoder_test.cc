#include "common/text/stream_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "common/base/json_text.h"
#include "common/text/tokenizer.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;

const std::string kFolder = std::string(TANDEM_TEST_DATA) + "/tokenizer/";

std::unique_ptr<Tokenizer> Load(const std::string& name) {
  auto tokenizer = Tokenizer::LoadFile(kFolder + name);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// What each Push returns, and Finish at last.
std::vector<std::string> Stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                                bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::vector<std::string> texts;
  for (const int32_t id : ids) texts.push_back(decoder.Push(id));
  texts.push_back(decoder.Finish());
  return texts;
}

// The golden vocabulary has its bytes in a row, and byte 0 as the only piece of its text.
int32_t ByteId(const Tokenizer& tokenizer, uint8_t byte) {
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.TokenText(id) == std::string(1, '\0')) return id + byte;
  }
  ADD_FAILURE() << "no byte pieces";
  return 0;
}

void ExpectStreamEqualsDecode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  for (const bool skip_special : {false, true}) {
    std::string joined;
    for (const std::string& text : Stream(tokenizer, ids, skip_special)) {
      EXPECT_EQ(FirstInvalidUtf8(text), absl::string_view::npos) << "a character is cut";
      joined += text;
    }
    EXPECT_EQ(joined, tokenizer.Decode(ids, skip_special)) << ::testing::PrintToString(ids);
  }
}

class StreamDecoderTest : public ::testing::TestWithParam<const char*> {};

TEST_P(StreamDecoderTest, EqualsDecodeOnGoldenIds) {
  const auto tokenizer = Load(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  std::ifstream in(kFolder + "decode.jsonl");
  int rows = 0;
  for (std::string line; std::getline(in, line); ++rows) {
    ExpectStreamEqualsDecode(*tokenizer, nlohmann::json::parse(line)["ids"]);
  }
  EXPECT_GT(rows, 50);
}

TEST_P(StreamDecoderTest, EqualsDecodeOnRandomIds) {
  const auto tokenizer = Load(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  const int32_t first_byte = ByteId(*tokenizer, 0);
  std::mt19937 random(4);
  for (int round = 0; round < 1000 && !HasFailure(); ++round) {
    std::vector<int32_t> ids(1 + random() % 20);
    for (int32_t& id : ids) {
      // Bytes often; ids below and beyond the vocabulary, too.
      id = random() % 2 == 0 ? first_byte + static_cast<int32_t>(random() % 256)
                             : static_cast<int32_t>(random() % 1100) - 20;
    }
    ExpectStreamEqualsDecode(*tokenizer, ids);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, StreamDecoderTest,
                         ::testing::Values("tokenizer.json", "tokenizer.model"),
                         [](const auto& info) {
                           return std::string(info.param) == "tokenizer.json" ? "Json" : "Model";
                         });

TEST(StreamDecoderFormatTest, SentencePieceGivesACharacterWithItsLastByte) {
  const auto tokenizer = Load("tokenizer.model");
  ASSERT_NE(tokenizer, nullptr);
  const auto byte = [&](uint8_t value) { return ByteId(*tokenizer, value); };
  EXPECT_THAT(Stream(*tokenizer, {byte(0xE2), byte(0x82), byte(0xAC), byte('x')}, true),
              ElementsAre("", "", "\u20ac", "x", ""));
  // What cannot become a character any more is given at once, the rest at the end.
  EXPECT_THAT(Stream(*tokenizer, {byte(0xE2), byte('x'), byte(0xC3)}, true),
              ElementsAre("", "\ufffdx", "", "\ufffd"));
}

TEST(StreamDecoderFormatTest, JsonGivesARunOfBytesWhenItIsOver) {
  const auto tokenizer = Load("tokenizer.json");
  ASSERT_NE(tokenizer, nullptr);
  const auto byte = [&](uint8_t value) { return ByteId(*tokenizer, value); };
  const int32_t a = tokenizer->Encode("a")[0];
  EXPECT_THAT(Stream(*tokenizer, {byte(0xC3), byte(0xA9), a, byte('x'), byte(0xFF)}, true),
              ElementsAre("", "",
                          "\u00e9"
                          "a",
                          "", "", "\ufffd\ufffd"));
  // A special token that is skipped does not end a run: the reference drops it first.
  EXPECT_THAT(Stream(*tokenizer, {byte(0xC3), 1, byte(0xA9)}, true),
              ElementsAre("", "", "", "\u00e9"));
}

TEST(StreamDecoderFormatTest, BeginsAnewAfterFinish) {
  const auto tokenizer = Load("tokenizer.model");
  ASSERT_NE(tokenizer, nullptr);
  StreamDecoder decoder(*tokenizer, true);
  EXPECT_EQ(decoder.Push(ByteId(*tokenizer, 0xE2)), "");
  EXPECT_EQ(decoder.Finish(), "\ufffd");
  EXPECT_EQ(decoder.Push(ByteId(*tokenizer, 'x')), "x");
  EXPECT_EQ(decoder.Finish(), "");
}

}  // namespace
}  // namespace tandem
