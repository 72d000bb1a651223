#include "coordinator/io/json_members.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Values(const std::string& json) {
  std::vector<std::string> values;
  VisitMembers(json, [&](int64_t index, absl::string_view value) {
    EXPECT_EQ(index, static_cast<int64_t>(values.size()));
    values.emplace_back(value);
  });
  return values;
}

TEST(JsonMembersTest, ValuesAreTheirOwnBytes) {
  EXPECT_THAT(Values("{}"), IsEmpty());
  EXPECT_THAT(Values(" { } "), IsEmpty());
  EXPECT_THAT(Values(R"({"a":1})"), ElementsAre("1"));
  EXPECT_THAT(
      Values(R"( { "a\"}" : -1.50e3 , "b":[ 1,{"c":"]"} ] ,"c" :"x\\","d":{} , "e":true } )"),
      ElementsAre("-1.50e3", R"([ 1,{"c":"]"} ])", R"("x\\")", "{}", "true"));
}

TEST(JsonMembersTest, TextThatIsNoObjectIsReadWithinItsBounds) {
  for (const char* text : {"", "{", "{\"", "{\"a", "{\"a\\", "{\"a\"", "{\"a\":", "{\"a\":[",
                           "{\"a\":{\"", "{\"a\":\"\\", "{\"a\":1", "{\"a\":1,", "7", "[]"}) {
    const std::string exact(text);
    VisitMembers(exact, [&](int64_t, absl::string_view value) {
      EXPECT_GE(value.data(), exact.data());
      EXPECT_LE(value.data() + value.size(), exact.data() + exact.size());
    });
  }
}

// Objects at random, printed by another library with and without spaces: each value found must be
// that library's own print of it.
TEST(JsonMembersTest, FindsWhatNlohmannPrinted) {
  using Json = nlohmann::ordered_json;
  std::mt19937 random(7);
  const auto value = [&random](auto& self, int depth) -> Json {
    switch (random() % (depth > 3 ? 5 : 7)) {
      case 0:
        return nullptr;
      case 1:
        return random() % 2 == 0;
      case 2:
        return static_cast<int>(random()) / 3;
      case 3:
        return static_cast<double>(random()) * 1e-7;
      case 4: {
        std::string text;
        for (size_t i = random() % 6; i > 0; --i) text.push_back("\"\\{}[],: a\n"[random() % 11]);
        return text;
      }
      case 5: {
        Json array = Json::array();
        for (size_t i = random() % 4; i > 0; --i) array.push_back(self(self, depth + 1));
        return array;
      }
      default: {
        Json object = Json::object();
        for (size_t i = random() % 4; i > 0; --i) {
          object["k\"" + std::to_string(i)] = self(self, depth + 1);
        }
        return object;
      }
    }
  };
  for (int round = 0; round < 300; ++round) {
    Json object = Json::object();
    for (size_t i = random() % 5; i > 0; --i) object["a:" + std::to_string(i)] = value(value, 1);
    std::vector<std::string> expected;
    for (const auto& item : object.items()) expected.push_back(item.value().dump());
    EXPECT_EQ(Values(object.dump()), expected);
    const std::vector<std::string> spaced = Values(object.dump(1));
    ASSERT_EQ(spaced.size(), expected.size());
    for (size_t i = 0; i < spaced.size(); ++i)
      EXPECT_EQ(Json::parse(spaced[i]).dump(), expected[i]);
  }
}

TEST(JsonMembersTest, KeysAndElements) {
  std::vector<std::string> seen;
  VisitMembersByKey(R"({ "a\"}" : [1,{"b":2}] , "c":"x"})",
                    [&](absl::string_view key, absl::string_view value) {
                      seen.push_back(absl::StrCat(key, "=", value));
                    });
  EXPECT_EQ(seen, (std::vector<std::string>{R"("a\"}"=[1,{"b":2}])", R"("c"="x")"}));
  const auto elements = [](absl::string_view json, int64_t last) {
    std::vector<std::string> values;
    VisitElements(json, [&](int64_t index, absl::string_view value) {
      values.emplace_back(value);
      return index < last;
    });
    return values;
  };
  EXPECT_EQ(elements(R"([ 1 , "a,]" ,[2,[3]], {"x":[]} ,null])", 99),
            (std::vector<std::string>{"1", R"("a,]")", "[2,[3]]", R"({"x":[]})", "null"}));
  EXPECT_EQ(elements("[1,2,3]", 1), (std::vector<std::string>{"1", "2"}));
  EXPECT_TRUE(elements("[ ]", 99).empty());
  for (const char* broken : {"", "[", "[1", "[\"", "{", "7", "[1,"}) elements(broken, 99);
  EXPECT_EQ(DecodeJsonString(R"("a\u00e9\n")"), "a\xc3\xa9\n");
  EXPECT_EQ(DecodeJsonString("7"), "");
}

}  // namespace
}  // namespace tandem
