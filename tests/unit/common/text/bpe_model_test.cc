// The engine against a plain program of the definition: merge the pair of the least rank, the
// leftmost of equal ones, until none can merge.
#include "common/text/bpe_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tandem {
namespace {

using ::testing::ElementsAre;
using Ids = std::vector<int32_t>;

// Random merges over the first letters; every piece is a letter or two pieces.
BpeSpec MakeSpec(uint32_t seed, int num_letters, int num_merges) {
  std::mt19937 random(seed);
  BpeSpec spec;
  std::vector<std::string> pieces;
  std::map<std::string, int32_t> ids;
  for (int32_t i = 0; i < num_letters; ++i) {
    pieces.emplace_back(1, static_cast<char>('a' + i));
    ids[pieces.back()] = i;
    spec.characters.emplace_back(static_cast<char32_t>('a' + i), i);
  }
  std::set<std::pair<size_t, size_t>> seen;
  for (int rank = 0; rank < num_merges; ++rank) {
    const size_t left = random() % pieces.size();
    const size_t right = random() % pieces.size();
    const std::string joined = pieces[left] + pieces[right];
    if (joined.size() > 12 || !seen.emplace(left, right).second) continue;
    BpeMerge merge;
    merge.left = static_cast<int32_t>(left);
    merge.right = static_cast<int32_t>(right);
    merge.rank = static_cast<uint32_t>(rank);
    merge.left_last = static_cast<char32_t>(pieces[left].back());
    merge.right_first = static_cast<char32_t>(pieces[right].front());
    const auto [it, added] = ids.emplace(joined, static_cast<int32_t>(pieces.size()));
    if (added) pieces.push_back(joined);
    merge.result = it->second;
    spec.merges.push_back(merge);
  }
  spec.unk_id = static_cast<int32_t>(pieces.size());  // These texts never meet it.
  spec.num_pieces = spec.unk_id + 1;
  return spec;
}

Ids EncodePlainly(const BpeSpec& spec, const std::string& text) {
  Ids symbols;
  for (const char c : text) symbols.push_back(c - 'a');
  while (true) {
    const BpeMerge* best = nullptr;
    size_t place = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (const BpeMerge& merge : spec.merges) {
        if (merge.left != symbols[i] || merge.right != symbols[i + 1]) continue;
        if (best == nullptr || merge.rank < best->rank) {
          best = &merge;
          place = i;
        }
      }
    }
    if (best == nullptr) return symbols;
    symbols[place] = best->result;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

std::string RandomText(std::mt19937* random, uint32_t num_letters, size_t length) {
  std::string text(length, 'a');
  for (char& c : text) c = static_cast<char>('a' + (*random)() % num_letters);
  return text;
}

Ids Encode(const BpeModel& model, const std::string& text) {
  Ids ids;
  model.Encode(text, &ids);
  return ids;
}

TEST(BpeModelTest, EncodesAsDefined) {
  for (uint32_t seed = 0; seed < 30; ++seed) {
    const uint32_t num_letters = 2 + seed % 4;
    const BpeSpec spec = MakeSpec(seed, static_cast<int>(num_letters), 40);
    const BpeModel model(spec);
    std::mt19937 random(seed);
    // Both sides of the length from which a heap is used.
    for (const size_t length : {1u, 2u, 3u, 7u, 30u, 47u, 48u, 49u, 50u, 90u}) {
      for (int round = 0; round < 5; ++round) {
        const std::string text = RandomText(&random, num_letters, length);
        const Ids expected = EncodePlainly(spec, text);
        ASSERT_EQ(Encode(model, text), expected) << seed << " " << text;
        ASSERT_EQ(Encode(model, text), expected) << "the second time: " << seed << " " << text;
      }
    }
  }
}

// Equal ranks, as equal scores of SentencePiece make them: the leftmost merges first.
TEST(BpeModelTest, EqualRanksMergeFromTheLeft) {
  BpeSpec spec = MakeSpec(5, 3, 60);
  for (BpeMerge& merge : spec.merges) merge.rank %= 4;
  const BpeModel model(spec);
  std::mt19937 random(1);
  for (int round = 0; round < 150; ++round) {
    const std::string text = RandomText(&random, 3, 1 + random() % 80);
    ASSERT_EQ(Encode(model, text), EncodePlainly(spec, text)) << text;
  }
}

// Two million characters that all may merge: a quadratic engine would take hours.
TEST(BpeModelTest, LongTextWithoutSpaces) {
  BpeSpec spec;
  spec.characters = {{U'a', 0}};
  spec.num_pieces = 5;
  spec.unk_id = 4;
  for (int32_t i = 0; i < 3; ++i) {
    spec.merges.push_back({i, i, i + 1, static_cast<uint32_t>(i), U'a', U'a'});
  }
  const BpeModel model(std::move(spec));
  const size_t length = 2'000'003;
  const Ids ids = Encode(model, std::string(length, 'a'));
  ASSERT_EQ(ids.size(), length / 8 + 2);  // 8 letters a piece; 3 are left: "aa" and "a".
  EXPECT_TRUE(std::all_of(ids.begin(), ids.end() - 2, [](int32_t id) { return id == 3; }));
  EXPECT_THAT(Ids(ids.end() - 2, ids.end()), ElementsAre(1, 0));
}

TEST(BpeModelTest, ThreadsShareAModel) {
  const BpeSpec spec = MakeSpec(9, 4, 60);
  const BpeModel model(spec);
  std::mt19937 random(2);
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (int i = 0; i < 60; ++i) {
    texts.push_back(RandomText(&random, 4, 1 + random() % 70));
    expected.push_back(EncodePlainly(spec, texts.back()));
  }
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (size_t round = 0; round < 200; ++round) {
        const size_t i = (round * (t + 1) + t) % texts.size();
        if (Encode(model, texts[i]) != expected[i]) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ::testing::Each(0));
}

BpeSpec TwoLetters(bool fuse_unk) {
  BpeSpec spec;
  spec.characters = {{U'a', 0}, {U'b', 1}};
  spec.num_pieces = 3;
  spec.unk_id = 2;
  spec.fuse_unk = fuse_unk;
  return spec;
}

TEST(BpeModelTest, UnknownCharacters) {
  const std::string text = "a\u00e9\u20acb!";
  EXPECT_THAT(Encode(BpeModel(TwoLetters(false)), text), ElementsAre(0, 2, 2, 1, 2));
  EXPECT_THAT(Encode(BpeModel(TwoLetters(true)), text), ElementsAre(0, 2, 1, 2));
}

// A run that the engine cuts is one run all the same, and what the cache gives ends it.
TEST(BpeModelTest, FusesOverWords) {
  const BpeModel model(TwoLetters(true));
  EXPECT_THAT(Encode(model, "a"), ElementsAre(0));
  EXPECT_THAT(Encode(model, "!!a!!"), ElementsAre(2, 0, 2));
  EXPECT_THAT(Encode(model, "!a!a!"), ElementsAre(2, 0, 2, 0, 2));
}

// SentencePiece: a character that is no piece may still be part of one, and alone it is its bytes.
TEST(BpeModelTest, CharactersWithoutAPiece) {
  BpeSpec spec;
  spec.byte_fallback = true;
  for (size_t i = 0; i < 256; ++i) spec.byte_pieces[i] = static_cast<int32_t>(i);
  spec.num_pieces = 258;                              // 256 is "a", 257 "a" with e acute.
  spec.characters = {{U'a', 256}, {U'\u00e9', 258}};  // 258 stands for e acute alone.
  spec.merges = {{256, 258, 257, 0, U'a', U'\u00e9'}};
  const BpeModel model(std::move(spec));
  EXPECT_THAT(Encode(model, "a\u00e9\u00e9z"), ElementsAre(257, 0xC3, 0xA9, 'z'));
}

}  // namespace
}  // namespace tandem
