#include "coordinator/answer_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/unit/coordinator/demo_tokenizer.h"

namespace tandem {
namespace {

struct Cut {
  std::string text;
  std::string stop;  // Empty: none was found.
  int64_t num_tokens = 0;
};

bool operator==(const Cut& a, const Cut& b) {
  return a.text == b.text && a.stop == b.stop && a.num_tokens == b.num_tokens;
}
void PrintTo(const Cut& cut, std::ostream* out) {
  *out << '"' << cut.text << "\" stop \"" << cut.stop << "\" after " << cut.num_tokens;
}

Cut CutOf(const std::vector<int32_t>& ids, const DecodingOptions& decoding) {
  AnswerText text(DemoTokenizer(), decoding);
  for (const int32_t id : ids) {
    if (text.Push(id)) break;
  }
  text.End();
  return {text.text(), text.stop() == nullptr ? "" : *text.stop(), text.num_tokens()};
}

DecodingOptions Stops(std::vector<std::string> stop) {
  DecodingOptions decoding;
  decoding.stop = std::move(stop);
  return decoding;
}

// "two thousand one hundred"
const std::vector<std::string> kPieces = {"two", " thousand", " one", " hundred"};

TEST(AnswerTextTest, WithoutStopStringsItIsTheDecodedText) {
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({})), (Cut{"two thousand one hundred", "", 4}));
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"three"})), (Cut{"two thousand one hundred", "", 4}));
  EXPECT_EQ(CutOf({}, Stops({"x"})), (Cut{"", "", 0}));
}

TEST(AnswerTextTest, WithinOneTokenAndAcrossSeveral) {
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"ous"})), (Cut{"two th", "ous", 2}));
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"two"})), (Cut{"", "two", 1}));
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"nd one h"})), (Cut{"two thousa", "nd one h", 4}));
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"two thousand one hundred"})),
            (Cut{"", "two thousand one hundred", 4}));
}

TEST(AnswerTextTest, AcrossTheBytesOfACharacter) {
  // A run of byte tokens has its text when another kind of token follows it, or nothing does.
  const std::vector<int32_t> ids = {Tokens({"X"})[0], Byte(0xc3), Byte(0xa9), Tokens({"I"})[0],
                                    Tokens({"V"})[0]};
  EXPECT_EQ(CutOf(ids, Stops({"\xc3\xa9"})), (Cut{"X", "\xc3\xa9", 4}));
  EXPECT_EQ(CutOf(ids, Stops({"X\xc3\xa9I"})), (Cut{"", "X\xc3\xa9I", 4}));
  EXPECT_EQ(CutOf(ids, Stops({"\xc3\xa9IV"})), (Cut{"X", "\xc3\xa9IV", 5}));
  // Half a character is no character.
  EXPECT_EQ(CutOf({Byte(0xc3), Tokens({"I"})[0]}, Stops({"\xc3\xa9"})),
            (Cut{"\xef\xbf\xbdI", "", 2}));
}

TEST(AnswerTextTest, FoundOnlyWhenNoMoreTokensCome) {
  const std::vector<int32_t> ids = {Tokens({"X"})[0], Byte(0xc3), Byte(0xa9)};
  const DecodingOptions decoding = Stops({"\xc3\xa9"});
  AnswerText open(DemoTokenizer(), decoding);
  for (const int32_t id : ids) EXPECT_FALSE(open.Push(id));
  open.End();
  ASSERT_NE(open.stop(), nullptr);
  EXPECT_EQ(open.text(), "X");
  EXPECT_EQ(open.num_tokens(), 3);
  // A cut character becomes U+FFFD at the end.
  EXPECT_EQ(CutOf({Tokens({"X"})[0], Byte(0xe2)}, Stops({"X\xef\xbf\xbd"})),
            (Cut{"", "X\xef\xbf\xbd", 2}));
}

TEST(AnswerTextTest, OfSeveralTheFirstInTheTextThenInTheList) {
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"sand", "thou"})), (Cut{"two ", "thou", 2}));
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"thou", "thousand"})), (Cut{"two ", "thou", 2}));
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"thousand", "thou"})), (Cut{"two ", "thousand", 2}));
  // What is complete first ends the answer: nobody waits for what might begin earlier.
  EXPECT_EQ(CutOf(Tokens(kPieces), Stops({"two thousand one", "sand"})),
            (Cut{"two thou", "sand", 2}));
}

TEST(AnswerTextTest, KeptWhereItIsWanted) {
  DecodingOptions decoding = Stops({"sand"});
  decoding.include_stop_str_in_output = true;
  EXPECT_EQ(CutOf(Tokens(kPieces), decoding), (Cut{"two thousand", "sand", 2}));
  decoding.stop = {"nd o"};
  EXPECT_EQ(CutOf(Tokens(kPieces), decoding), (Cut{"two thousand o", "nd o", 3}));
}

TEST(AnswerTextTest, NotInTheFirstMinTokensTokens) {
  DecodingOptions decoding = Stops({"thousand"});
  decoding.min_tokens = 1;
  EXPECT_EQ(CutOf(Tokens(kPieces), decoding).stop, "thousand");
  decoding.min_tokens = 2;
  EXPECT_EQ(CutOf(Tokens(kPieces), decoding), (Cut{"two thousand one hundred", "", 4}));
  // One that begins in them is none either; a later one is.
  decoding.stop = {"sand one"};
  EXPECT_EQ(CutOf(Tokens(kPieces), decoding), (Cut{"two thousand one hundred", "", 4}));
  decoding.stop = {"nd"};
  EXPECT_EQ(CutOf(Tokens(kPieces), decoding), (Cut{"two thousand one hu", "nd", 4}));
  // Nor at the end, where there are no more tokens.
  decoding.stop = {"\xef\xbf\xbd"};
  EXPECT_EQ(CutOf({Byte(0xe2)}, decoding), (Cut{"\xef\xbf\xbd", "", 1}));
}

TEST(AnswerTextTest, SpecialTokensHaveTextWhereTheyAreNotSkipped) {
  const std::vector<int32_t> ids = {Tokens({"X"})[0], kEos, Tokens({"I"})[0]};
  DecodingOptions decoding = Stops({"XI"});
  EXPECT_EQ(CutOf(ids, decoding), (Cut{"", "XI", 3}));
  decoding.skip_special_tokens = false;
  EXPECT_EQ(CutOf(ids, decoding), (Cut{"X<eos>I", "", 3}));
  decoding.stop = {"<eos>"};
  EXPECT_EQ(CutOf(ids, decoding), (Cut{"X", "<eos>", 2}));
}

// By definition: decode more and more tokens, from the start each time, until a stop string lies in
// the text. What more tokens would have come changes nothing.
Cut SlowCut(const std::vector<int32_t>& ids, const DecodingOptions& decoding) {
  std::string certain;
  DecodeState state;
  size_t from = 0;
  for (size_t i = 0; i <= ids.size(); ++i) {
    if (i < ids.size()) {
      DemoTokenizer().DecodeNext(ids[i], true, &state, &certain);
    } else {
      DemoTokenizer().DecodeEnd(true, &state, &certain);
    }
    const size_t tokens = std::min(i + 1, ids.size());
    if (tokens <= static_cast<size_t>(decoding.min_tokens)) {
      from = certain.size();
      continue;
    }
    size_t first = std::string::npos;
    std::string which;
    for (const std::string& stop : decoding.stop) {
      const size_t at = certain.find(stop, from);
      if (at < first) first = at, which = stop;
    }
    if (first != std::string::npos) {
      return {certain.substr(0, first), which, static_cast<int64_t>(tokens)};
    }
  }
  return {certain, "", static_cast<int64_t>(ids.size())};
}

TEST(AnswerTextTest, TheSameCutAsSearchingEverythingEachTime) {
  std::mt19937 random(7);
  const std::vector<int32_t> alphabet = {
      Tokens({"X"})[0],  Tokens({"I"})[0], Tokens({"XX"})[0], Tokens({"II"})[0],
      Tokens({"IX"})[0], Byte(0xc3),       Byte(0xa9),        kEos};
  const std::vector<std::string> stops = {"XXIX", "IIX", "\xc3\xa9", "IX\xc3\xa9X", "XIXIXI"};
  int found = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<int32_t> ids(random() % 12);
    for (int32_t& id : ids) id = alphabet[random() % alphabet.size()];
    DecodingOptions decoding;
    decoding.min_tokens = static_cast<int32_t>(random() % 4);
    for (size_t i = 0; i <= random() % 3; ++i)
      decoding.stop.push_back(stops[random() % stops.size()]);
    const Cut cut = CutOf(ids, decoding);
    EXPECT_EQ(cut, SlowCut(ids, decoding));
    if (cut.stop.empty()) continue;
    ++found;
    // More tokens behind it change nothing, unless it was only certain for want of them.
    AnswerText text(DemoTokenizer(), decoding);
    bool pushed = false;
    for (const int32_t id : ids) pushed = pushed || text.Push(id);
    if (!pushed) continue;
    std::vector<int32_t> more = ids;
    more.push_back(alphabet[random() % alphabet.size()]);
    EXPECT_EQ(CutOf(more, decoding), cut);
  }
  EXPECT_GT(found, 300);
}

}  // namespace
}  // namespace tandem
