// tokenizer.json: what is followed beyond the golden file, and what is refused, with its message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/text/tokenizer.h"
#include "tests/unit/common/text/temporary_file.h"

namespace tandem {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kDamaged[] = "; the file is damaged: copy or download it again";
constexpr char kUnsupported[] =
    " is not supported; use the tokenizer file that was published with the model";

// Pieces: 0 <unk>, 1 <bos>, 2 <eos>, 3 a, 4 b, 5 c, 6 U+2581, 7 ab, 8 U+2581a, 9 abc.
json SmallFile() {
  return json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
      {"id": 1, "content": "<bos>", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false, "special": true},
      {"id": 2, "content": "<eos>", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false, "special": true}],
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    "pre_tokenizer": null,
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}},
                 {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [],
      "special_tokens": {"<bos>": {"id": "<bos>", "ids": [1], "tokens": ["<bos>"]}}},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"}]},
    "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
      "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
      "byte_fallback": false, "ignore_merges": false,
      "vocab": {"<unk>": 0, "<bos>": 1, "<eos>": 2, "a": 3, "b": 4, "c": 5, "\u2581": 6, "ab": 7,
                "\u2581a": 8, "abc": 9},
      "merges": [["a", "b"], ["ab", "c"], ["\u2581", "a"]]}
  })");
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadText(const std::string& text) {
  const TemporaryFolder folder;
  return Tokenizer::LoadFile(folder.Write("tokenizer.json", text));
}

std::unique_ptr<Tokenizer> Load(const json& file) {
  auto tokenizer = LoadText(file.dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// The message behind the path, which must be there.
std::string Refusal(const std::string& text, absl::StatusCode code) {
  const auto tokenizer = LoadText(text);
  if (tokenizer.ok()) return "loaded";
  EXPECT_EQ(tokenizer.status().code(), code) << tokenizer.status();
  EXPECT_EQ(ExitCodeOf(tokenizer.status()), ExitCode::kModel);
  const std::string message(tokenizer.status().message());
  const std::string file = "/tokenizer.json: ";
  const size_t at = message.find(file);
  return at == std::string::npos ? message : message.substr(at + file.size());
}

using Change = std::function<void(json&)>;

std::string Damage(const Change& change) {
  json file = SmallFile();
  change(file);
  return Refusal(file.dump(), absl::StatusCode::kDataLoss);
}

std::string Refuse(const Change& change) {
  json file = SmallFile();
  change(file);
  return Refusal(file.dump(), absl::StatusCode::kInvalidArgument);
}

std::string Damaged(absl::string_view what) { return absl::StrCat(what, kDamaged); }
std::string Unsupported(absl::string_view what) { return absl::StrCat(what, kUnsupported); }

TEST(TokenizerJsonTest, SmallFile) {
  const auto tokenizer = Load(SmallFile());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("abc a<bos>ab"), ElementsAre(9, 8, 1, 7));
  EXPECT_THAT(tokenizer->Encode("xxa"), ElementsAre(0, 3));
  EXPECT_THAT(tokenizer->Encode(""), IsEmpty());
  EXPECT_EQ(tokenizer->format(), "tokenizer.json");
  EXPECT_EQ(tokenizer->vocab_size(), 10);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kAuto), ElementsAre(1, 3));
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kAlways), ElementsAre(1, 3));
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kNever), ElementsAre(3));
}

TEST(TokenizerJsonTest, MergesAsStrings) {
  json file = SmallFile();
  file["model"]["merges"] = {"a b", "ab c", "\u2581 a"};
  const auto tokenizer = Load(file);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("abc a"), ElementsAre(9, 8));
}

TEST(TokenizerJsonTest, TokensBehindTheText) {
  json file = SmallFile();
  file["post_processor"]["single"].push_back(
      json::parse(R"({"SpecialToken": {"id": "<eos>", "type_id": 0}})"));
  file["post_processor"]["special_tokens"]["<eos>"] =
      json::parse(R"({"id": "<eos>", "ids": [2], "tokens": ["<eos>"]})");
  const auto tokenizer = Load(file);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kAuto), ElementsAre(1, 3, 2));
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kNever), ElementsAre(3, 2));
}

TEST(TokenizerJsonTest, WithoutPostProcessorNothingIsAdded) {
  json file = SmallFile();
  file["post_processor"] = nullptr;
  const auto tokenizer = Load(file);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kAuto), ElementsAre(3));
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kAlways), ElementsAre(1, 3));
}

TEST(TokenizerJsonTest, PrependInASequence) {
  json file = SmallFile();
  json sequence = json::parse(
      R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}]})");
  sequence["normalizers"].push_back(file["normalizer"]);
  file["normalizer"] = sequence;
  const auto tokenizer = Load(file);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("a"), ElementsAre(8));
  EXPECT_THAT(tokenizer->Encode("a<bos>a"), ElementsAre(8, 1, 8));  // Each part of a text.
  EXPECT_THAT(tokenizer->Encode(""), IsEmpty());
}

TEST(TokenizerJsonTest, StripInTheDecoder) {
  json file = SmallFile();
  file["decoder"]["decoders"].push_back(
      json::parse(R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})"));
  const auto tokenizer = Load(file);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Decode({8, 8}, true), "a a");
  EXPECT_EQ(tokenizer->Decode({6, 8}, true), " a");
  EXPECT_EQ(tokenizer->Decode({3, 8}, true), "a a");
}

TEST(TokenizerJsonTest, FlagsOfAddedTokens) {
  json file = SmallFile();
  const auto add = [&file](int id, const char* content, const char* flag) {
    json token = {{"id", id}, {"content", content}, {"normalized", false}, {"special", true}};
    token[flag] = true;
    file["added_tokens"].push_back(token);
  };
  add(10, "[L]", "lstrip");
  add(11, "[R]", "rstrip");
  add(12, "[W]", "single_word");
  const auto tokenizer = Load(file);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 13);
  EXPECT_THAT(tokenizer->Encode("a \n[L] a"), ElementsAre(3, 10, 8));
  EXPECT_THAT(tokenizer->Encode("a [R] \t a"), ElementsAre(3, 6, 11, 3));
  EXPECT_THAT(tokenizer->Encode("[W] [W]"), ElementsAre(12, 6, 12));
  EXPECT_THAT(tokenizer->Encode("a[W]"), ElementsAre(3, 0));
}

TEST(TokenizerJsonTest, NormalizedTokensAreFoundInNormalizedText) {
  json file = SmallFile();
  file["added_tokens"].push_back(
      json::parse(R"({"id": 10, "content": "a c", "normalized": true, "special": false})"));
  const auto tokenizer = Load(file);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("ba cb"), ElementsAre(4, 10, 4));
  EXPECT_THAT(tokenizer->Encode("a\xE2\x96\x81"
                                "c"),
              ElementsAre(10));
}

TEST(TokenizerJsonTest, IgnoreMergesTakesWholePieces) {
  json file = SmallFile();
  file["model"]["merges"] = {"a b"};
  const auto merging = Load(file);
  file["model"]["ignore_merges"] = true;
  const auto whole = Load(file);
  ASSERT_TRUE(merging != nullptr && whole != nullptr);
  EXPECT_THAT(merging->Encode("abc"), ElementsAre(7, 5));
  EXPECT_THAT(whole->Encode("abc"), ElementsAre(9));
}

TEST(TokenizerJsonTest, SpecialTokens) {
  const auto tokenizer = Load(SmallFile());
  ASSERT_NE(tokenizer, nullptr);
  std::string which;
  EXPECT_FALSE(tokenizer->HasSpecialToken("a <bos b", &which));
  EXPECT_EQ(which, "");
  EXPECT_TRUE(tokenizer->HasSpecialToken("a<eos> <bos>", &which));
  EXPECT_EQ(which, "<eos>");
  EXPECT_TRUE(tokenizer->IsSpecial(1));
  EXPECT_FALSE(tokenizer->IsSpecial(3));
  EXPECT_FALSE(tokenizer->IsSpecial(-1));
  EXPECT_FALSE(tokenizer->IsSpecial(1000));
  EXPECT_EQ(tokenizer->Decode({1, 3, -7, 99, 2}, true), "a");
  EXPECT_EQ(tokenizer->Decode({1, 3, -7, 99, 2}, false), "<bos>a<eos>");
}

TEST(TokenizerJsonTest, TextOfTokens) {
  const auto tokenizer = Load(SmallFile());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->TokenText(8), " a");
  EXPECT_EQ(tokenizer->TokenText(1), "<bos>");
  EXPECT_EQ(tokenizer->TokenText(-1), "");
  EXPECT_EQ(tokenizer->TokenText(10), "");
}

// Every start of a file is refused, whatever it breaks off in.
TEST(TokenizerJsonTest, CutFilesAreRefused) {
  const std::string text = SmallFile().dump();
  for (size_t length = 1; length < text.size(); ++length) {
    ASSERT_EQ(Refusal(text.substr(0, length), absl::StatusCode::kDataLoss),
              Damaged(absl::StrCat("byte ", length + 1, ": not JSON from here on")));
  }
}

TEST(TokenizerJsonTest, DamagedVocabulary) {
  const auto id_of_ab = [](const json& id) {
    return Damage([&id](json& f) { f["model"]["vocab"]["ab"] = id; });
  };
  EXPECT_EQ(id_of_ab("7"), Damaged("model.vocab[\"ab\"]: not an integer"));
  EXPECT_EQ(id_of_ab(7.5), Damaged("model.vocab[\"ab\"]: not an integer"));
  EXPECT_EQ(id_of_ab(-7), Damaged("model.vocab[\"ab\"]: a negative id"));
  EXPECT_EQ(id_of_ab(3), Damaged("model.vocab[\"ab\"]: the id 3 also belongs to \"a\""));
  EXPECT_EQ(id_of_ab(4'000'000), Damaged("model.vocab[\"ab\"]: the id 4000000 in so small a file"));
  EXPECT_EQ(Damage([](json& f) { f["model"].erase("vocab"); }), Damaged("model.vocab: missing"));
  EXPECT_EQ(Damage([](json& f) { f["model"]["vocab"] = json::array(); }),
            Damaged("model.vocab: not an object"));
  EXPECT_EQ(Damage([](json& f) { f["model"]["unk_token"] = "<none>"; }),
            Damaged("model.unk_token: \"<none>\" is no piece"));
  EXPECT_EQ(Damage([](json& f) { f["model"]["byte_fallback"] = true; }),
            Damaged("model.vocab: byte_fallback is set and \"<0x00>\" is missing"));
  EXPECT_EQ(Damage([](json& f) { f["model"]["byte_fallback"] = "yes"; }),
            Damaged("model.byte_fallback: not true or false"));
  EXPECT_EQ(Damage([](json& f) { f.erase("model"); }), Damaged("model: missing"));
}

TEST(TokenizerJsonTest, APieceThatStandsTwice) {
  std::string text = SmallFile().dump();
  text.insert(text.find("\"ab\":7"), "\"ab\":11,");
  EXPECT_EQ(Refusal(text, absl::StatusCode::kDataLoss),
            Damaged("model.vocab[\"ab\"]: this piece stands twice"));
}

// A message is cut between characters.
TEST(TokenizerJsonTest, LongPiecesAreCutInMessages) {
  std::string long_piece = "x";
  std::string shown = "x";
  for (int i = 0; i < 100; ++i) long_piece += "\u20ac";
  for (int i = 0; i < 19; ++i) shown += "\u20ac";
  EXPECT_EQ(Damage([&](json& f) { f["model"]["vocab"][long_piece] = -1; }),
            Damaged(absl::StrCat("model.vocab[\"", shown, "...\"]: a negative id")));
}

TEST(TokenizerJsonTest, DamagedMerges) {
  const auto merges = [](const char* text) {
    return Damage([&](json& f) { f["model"]["merges"] = json::parse(text); });
  };
  EXPECT_EQ(Damage([](json& f) { f["model"].erase("merges"); }), Damaged("model.merges: missing"));
  EXPECT_EQ(merges(R"("a b")"), Damaged("model.merges: not an array"));
  EXPECT_EQ(merges(R"(["a b", "a x"])"), Damaged("model.merges[1]: \"x\" is not in model.vocab"));
  EXPECT_EQ(merges(R"([["a", "b"], ["b", "c"]])"),
            Damaged("model.merges[1]: \"bc\" is not in model.vocab"));
  EXPECT_EQ(merges(R"(["a b", ["", "b"]])"),
            Damaged("model.merges[1]: \"\" is not in model.vocab"));
  for (const char* wrong : {R"(["a b", "ab"])", R"(["a b", "a b c"])", R"(["a b", 7])",
                            R"(["a b", ["ab"]])", R"(["a b", ["a", "b", "c"]])",
                            R"(["a b", ["a", []]])", R"(["a b", ["a", 7]])", R"(["a b", {}])"}) {
    EXPECT_EQ(merges(wrong),
              Damaged("model.merges[1]: neither \"left right\" nor [\"left\", \"right\"]"))
        << wrong;
  }
}

TEST(TokenizerJsonTest, DamagedAddedTokens) {
  EXPECT_EQ(Damage([](json& f) { f["added_tokens"][1]["id"] = 3; }),
            Damaged("added_tokens[1]: \"<eos>\" has the id 3 where 2 is due"));
  EXPECT_EQ(Damage([](json& f) { f["added_tokens"][0].erase("content"); }),
            Damaged("added_tokens[0].content: missing"));
  EXPECT_EQ(Damage([](json& f) { f["added_tokens"][0]["id"] = "1"; }),
            Damaged("added_tokens[0].id: not a natural number"));
  EXPECT_EQ(Damage([](json& f) { f["added_tokens"][0] = 1; }),
            Damaged("added_tokens[0]: not an object"));
}

TEST(TokenizerJsonTest, DamagedTemplate) {
  EXPECT_EQ(Damage([](json& f) { f["post_processor"]["special_tokens"] = json::object(); }),
            Damaged("post_processor.special_tokens.<bos>: missing"));
  EXPECT_EQ(Damage([](json& f) { f["post_processor"]["special_tokens"]["<bos>"]["ids"] = {77}; }),
            Damaged("post_processor.special_tokens.<bos>.ids: 77 is no id"));
}

TEST(TokenizerJsonTest, UnsupportedIsRefusedByName) {
  const auto with = [](const char* key, const char* text) {
    return Refuse([&](json& f) { f[json::json_pointer(key)] = json::parse(text); });
  };
  EXPECT_EQ(with("/model/type", R"("Unigram")"), Unsupported("model.type: \"Unigram\""));
  EXPECT_EQ(with("/model/dropout", "0.1"), Unsupported("model.dropout: 0.1"));
  EXPECT_EQ(with("/model/end_of_word_suffix", R"("</w>")"),
            Unsupported("model.end_of_word_suffix: \"</w>\""));
  EXPECT_EQ(with("/model/unk_token", "null"),
            Unsupported("model: neither byte_fallback nor unk_token"));
  EXPECT_EQ(with("/normalizer", R"({"type": "NFKC"})"), Unsupported("normalizer.type: \"NFKC\""));
  EXPECT_EQ(with("/normalizer/pattern", R"({"Regex": " "})"),
            Unsupported("normalizer.pattern: Regex"));
  EXPECT_EQ(with("/pre_tokenizer", R"({"type": "ByteLevel"})"),
            Unsupported("pre_tokenizer.type: \"ByteLevel\""));
  EXPECT_EQ(with("/post_processor", R"({"type": "ByteLevel"})"),
            Unsupported("post_processor.type: \"ByteLevel\""));
  EXPECT_EQ(with("/decoder", R"({"type": "Metaspace"})"),
            Unsupported("decoder.type: \"Metaspace\" at this place"));
  EXPECT_EQ(with("/decoder", "null"), Unsupported("decoder: none"));
}

TEST(TokenizerJsonTest, DeepNestingIsRefused) {
  const std::string deep = "{\"decoder\":" + std::string(100'000, '[');
  EXPECT_EQ(Refusal(deep, absl::StatusCode::kInvalidArgument),
            Unsupported("JSON nested deeper than 32"));
}

}  // namespace
}  // namespace tandem
