#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/json_text.h"
#include "common/base/nearest_name.h"

namespace tandem {
namespace {

TEST(JsonTextTest, EscapesOnlyWhatJsonDemands) {
  EXPECT_EQ(JsonString(""), "\"\"");
  EXPECT_EQ(JsonString("a/b \xc3\xa9 \xf0\x9f\x98\x80 \x7f"),
            "\"a/b \xc3\xa9 \xf0\x9f\x98\x80 \x7f\"");
  EXPECT_EQ(JsonString(absl::string_view("\"\\\b\f\n\r\t\x01\x1f\0", 10)),
            R"("\"\\\b\f\n\r\t\u0001\u001f\u0000")");
}

TEST(JsonTextTest, InvalidUtf8BecomesReplacementCharacters) {
  EXPECT_EQ(JsonString("a\xff"
                       "b"),
            "\"a\xef\xbf\xbd"
            "b\"");
  EXPECT_EQ(JsonString("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  EXPECT_EQ(JsonString("\xc3"), "\"\xef\xbf\xbd\"");
}

// The library judges: what it takes as a string's inside is what we take.
TEST(JsonTextTest, Utf8AgreesWithNlohmann) {
  std::mt19937 random(2);
  const unsigned char kBytes[] = {0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                  0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
                                  0xee, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff};
  int valid = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string text;
    for (size_t i = 1 + random() % 5; i > 0; --i) {
      text.push_back(static_cast<char>(kBytes[random() % std::size(kBytes)]));
    }
    const bool expected = nlohmann::json::accept(absl::StrCat("\"", text, "\""));
    ASSERT_EQ(FirstInvalidUtf8(text) == absl::string_view::npos, expected)
        << absl::BytesToHexString(text);
    ASSERT_TRUE(nlohmann::json::accept(JsonString(text))) << absl::BytesToHexString(text);
    if (expected) {
      ++valid;
      ASSERT_EQ(nlohmann::json::parse(JsonString(text)), text);
    }
  }
  EXPECT_GT(valid, 1000);
}

TEST(JsonTextTest, TheFirstInvalidByteIsFound) {
  EXPECT_EQ(FirstInvalidUtf8(""), absl::string_view::npos);
  for (size_t at = 0; at < 40; ++at) {
    std::string text(40, 'a');
    text[at] = '\x80';
    EXPECT_EQ(FirstInvalidUtf8(text), at);
  }
  EXPECT_EQ(FirstInvalidUtf8("abc\xe2\x82"), 3u);
}

TEST(JsonTextTest, ShorteningKeepsCharactersWhole) {
  EXPECT_EQ(Shorten("abc", 3), "abc");
  EXPECT_EQ(Shorten("abcd", 3), "abc...");
  EXPECT_EQ(Shorten("a\xc3\xa9"
                    "b",
                    2),
            "a...");
  EXPECT_EQ(Shorten("\xf0\x9f\x98\x80x", 3), "...");
  EXPECT_EQ(Shorten("\x80\x80\x80", 2), "...");
}

TEST(JsonTextTest, Commas) {
  EXPECT_EQ(WithCommas(0), "0");
  EXPECT_EQ(WithCommas(-999), "-999");
  EXPECT_EQ(WithCommas(1000), "1,000");
  EXPECT_EQ(WithCommas(-131072), "-131,072");
  EXPECT_EQ(WithCommas(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(NearestNameTest, FindsTheLikelyOne) {
  const absl::string_view known[] = {"max_tokens", "min_tokens", "top_k", "top_p", "stop", "seed"};
  EXPECT_EQ(NearestName("max_token", known), "max_tokens");
  EXPECT_EQ(NearestName("Max-Tokens", known), "max_tokens");
  EXPECT_EQ(NearestName("min_tokesn", known), "min_tokens");
  EXPECT_EQ(NearestName("tpo_p", known), "top_p");
  EXPECT_EQ(NearestName("stops", known), "stop");
  EXPECT_EQ(NearestName("", known), "stop");
  EXPECT_EQ(NearestName(std::string(1000, 'x'), known), "max_tokens");
  EXPECT_EQ(NearestName("x", {}), "");
}

}  // namespace
}  // namespace tandem
