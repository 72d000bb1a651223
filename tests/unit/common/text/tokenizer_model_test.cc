// tokenizer.model: what is followed beyond the golden file, and what is refused, with its message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/text/tokenizer.h"
#include "tests/unit/common/text/temporary_file.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;

constexpr char kDamaged[] = "; the file is damaged: copy or download it again";
constexpr char kUnsupported[] =
    " is not supported; use the tokenizer file that was published with the model";

std::string Damaged(absl::string_view what) { return absl::StrCat(what, kDamaged); }
std::string Unsupported(absl::string_view what) { return absl::StrCat(what, kUnsupported); }

// --- The protobuf wire format, written ---

std::string Varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}
std::string NumberField(uint64_t field, uint64_t value) {
  return Varint(field << 3) + Varint(value);
}
std::string BytesField(uint64_t field, const std::string& bytes) {
  return Varint(field << 3 | 2) + Varint(bytes.size()) + bytes;
}
std::string FloatField(uint64_t field, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  std::string out = Varint(field << 3 | 5);
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(bits >> (8 * i)));
  return out;
}

struct Piece {
  std::string text;
  float score = 0;
  uint64_t type = 1;
};
constexpr uint64_t kUnknown = 2;
constexpr uint64_t kControl = 3;
constexpr uint64_t kUserDefined = 4;
constexpr uint64_t kUnused = 5;
constexpr uint64_t kByte = 6;

std::string PieceField(const Piece& piece) {
  return BytesField(
      1, BytesField(1, piece.text) + FloatField(2, piece.score) + NumberField(3, piece.type));
}

struct Model {
  std::vector<Piece> pieces = {{"<unk>", 0, kUnknown},  // 0
                               {"<s>", 0, kControl},
                               {"</s>", 0, kControl},
                               {"a", -4, 1},  // 3
                               {"b", -5, 1},
                               {"\xE2\x96\x81", -6, 1},
                               {"ab", -2, 1},  // 6
                               {"\xE2\x96\x81"
                                "a",
                                -1, 1},
                               {"aba", -3, 1}};
  uint64_t model_type = 2;
  bool byte_fallback = false;
  bool add_dummy_prefix = false;
  bool remove_extra_whitespaces = false;
  std::string charsmap = {};
  std::string more = {};  // Behind everything else.

  std::string Bytes() const {
    std::string out;
    for (const Piece& piece : pieces) out += PieceField(piece);
    out += BytesField(2, NumberField(3, model_type) + NumberField(35, byte_fallback ? 1 : 0));
    out += BytesField(3, BytesField(1, "nmt_nfkc") + BytesField(2, charsmap) +
                             NumberField(3, add_dummy_prefix ? 1 : 0) +
                             NumberField(4, remove_extra_whitespaces ? 1 : 0));
    return out + more;
  }
};

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadBytes(const std::string& bytes) {
  const TemporaryFolder folder;
  return Tokenizer::LoadFile(folder.Write("tokenizer.model", bytes));
}

std::unique_ptr<Tokenizer> Load(const Model& model) {
  auto tokenizer = LoadBytes(model.Bytes());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// The message behind the path, which must be there.
std::string Refusal(const std::string& bytes, absl::StatusCode code) {
  const auto tokenizer = LoadBytes(bytes);
  if (tokenizer.ok()) return "loaded";
  EXPECT_EQ(tokenizer.status().code(), code) << tokenizer.status();
  EXPECT_EQ(ExitCodeOf(tokenizer.status()), ExitCode::kModel);
  const std::string message(tokenizer.status().message());
  const std::string file = "/tokenizer.model: ";
  const size_t at = message.find(file);
  return at == std::string::npos ? message : message.substr(at + file.size());
}
std::string Damage(const Model& model) {
  return Refusal(model.Bytes(), absl::StatusCode::kDataLoss);
}
std::string Refuse(const Model& model) {
  return Refusal(model.Bytes(), absl::StatusCode::kInvalidArgument);
}
Model WithPiece(const Piece& piece, bool byte_fallback = false) {
  Model model;
  model.pieces.push_back(piece);
  model.byte_fallback = byte_fallback;
  return model;
}

TEST(TokenizerModelTest, SmallModel) {
  const auto tokenizer = Load(Model());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("aba"), ElementsAre(8));
  EXPECT_THAT(tokenizer->Encode("ab a"), ElementsAre(6, 7));
  // Unknown characters in a row are one unknown piece; control pieces cannot be written.
  EXPECT_THAT(tokenizer->Encode("xya"), ElementsAre(0, 3));
  EXPECT_THAT(tokenizer->Encode("<s>"), ElementsAre(0));
  EXPECT_EQ(tokenizer->format(), "tokenizer.model");
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kAuto), ElementsAre(3));
  EXPECT_THAT(tokenizer->EncodeWithSpecial("a", AddBos::kAlways), ElementsAre(1, 3));
  std::string which;
  EXPECT_FALSE(tokenizer->HasSpecialToken("<s></s>", &which));
  for (const bool skip_special : {false, true}) {
    EXPECT_EQ(tokenizer->Decode({1, 7, 0, 3, 2, 99}, skip_special), " a \u2047 a");
  }
}

TEST(TokenizerModelTest, UserDefinedPiecesAreMatchedFirst) {
  Model model = WithPiece({"ba", 0, kUserDefined});
  model.pieces.push_back({"\xE2\x96\x81\xE2\x96\x81", 0, kUserDefined});
  const auto tokenizer = Load(model);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("aba"), ElementsAre(3, 9));
  EXPECT_THAT(tokenizer->Encode("ab   a"), ElementsAre(6, 10, 7));
}

TEST(TokenizerModelTest, TurnMarkersAreSpecial) {
  const auto tokenizer = Load(WithPiece({"<start_of_turn>", 0, kUserDefined}));
  ASSERT_NE(tokenizer, nullptr);
  std::string which;
  EXPECT_TRUE(tokenizer->HasSpecialToken("a<start_of_turn>", &which));
  EXPECT_EQ(which, "<start_of_turn>");
  EXPECT_EQ(tokenizer->Decode({9}, true), "<start_of_turn>");  // As SentencePiece.
}

TEST(TokenizerModelTest, CutFilesAreRefused) {
  const std::string bytes = Model().Bytes();
  for (size_t length = 1; length < bytes.size(); ++length) {
    const auto tokenizer = LoadBytes(bytes.substr(0, length));
    ASSERT_FALSE(tokenizer.ok()) << length;
    // Between two fields, the file is a model with other settings.
    ASSERT_THAT(std::string(tokenizer.status().message()),
                ::testing::AnyOf(EndsWith(kDamaged), EndsWith(kUnsupported)));
  }
  const size_t second_piece = PieceField(Model().pieces[0]).size();
  EXPECT_EQ(Refusal(bytes.substr(0, second_piece + 5), absl::StatusCode::kDataLoss),
            Damaged(absl::StrCat("byte ", second_piece, ": no field of a SentencePiece model")));
}

TEST(TokenizerModelTest, WrongWireFormatIsRefused) {
  Model model;
  const std::string message =
      Damaged(absl::StrCat("byte ", model.Bytes().size(), ": no field of a SentencePiece model"));
  for (const std::string& wrong : {"\x0A" + Varint(UINT64_MAX),  // Longer than anything.
                                   NumberField(1, 1),            // A piece that is a number.
                                   std::string("\x0B"),          // A group.
                                   BytesField(0, ""),            // There is no field 0.
                                   std::string(11, '\xFF')}) {   // A number without an end.
    model.more = wrong;
    EXPECT_EQ(Damage(model), message) << static_cast<int>(wrong[0]);
  }
}

TEST(TokenizerModelTest, DamagedPieces) {
  EXPECT_EQ(Damage(WithPiece({"ab", -7, 1})), Damaged("piece 9: \"ab\" is also piece 6"));
  EXPECT_EQ(Damage(WithPiece({"", -7, 1})), Damaged("piece 9: empty"));
  EXPECT_EQ(Damage(WithPiece({"c", std::nanf(""), 1})), Damaged("piece 9: its score is no number"));
  EXPECT_THAT(Damage(WithPiece({"c\xFF", -7, 1})), EndsWith(Damaged(": text that is not UTF-8")));
  EXPECT_EQ(Damage(WithPiece({"<unk2>", 0, kUnknown})),
            Damaged("piece 9: a second one of type UNKNOWN"));
  EXPECT_EQ(Damage(WithPiece({"<0x41>", 0, kByte})),
            Damaged("piece 9: of type BYTE, and byte_fallback is not set"));
  EXPECT_EQ(Damage(WithPiece({"<0x41>", 0, kByte}, /*byte_fallback=*/true)),
            Damaged("byte_fallback is set and \"<0x00>\" is missing"));
  EXPECT_EQ(Damage(WithPiece({"<0x4>", 0, kByte}, /*byte_fallback=*/true)),
            Damaged("piece 9: \"<0x4>\" of type BYTE is no byte"));
  Model model;
  model.pieces.erase(model.pieces.begin());
  EXPECT_EQ(Damage(model), Damaged("no piece has the type UNKNOWN"));
  model.pieces.clear();
  EXPECT_EQ(Damage(model), Damaged("no SentencePiece model, or one without pieces"));
}

TEST(TokenizerModelTest, UnsupportedIsRefusedByName) {
  Model model;
  model.model_type = 1;
  EXPECT_EQ(Refuse(model), Unsupported("trainer_spec.model_type: UNIGRAM"));
  model.model_type = 4;
  EXPECT_EQ(Refuse(model), Unsupported("trainer_spec.model_type: CHAR"));
  model.model_type = 99;
  EXPECT_EQ(Refuse(model), Unsupported("trainer_spec.model_type: 99"));
  model = Model();
  model.charsmap = "rules";
  EXPECT_EQ(Refuse(model), Unsupported("normalizer_spec.name: \"nmt_nfkc\""));
  model = Model();
  model.add_dummy_prefix = true;
  EXPECT_EQ(Refuse(model), Unsupported("normalizer_spec.add_dummy_prefix: true"));
  model = Model();
  model.remove_extra_whitespaces = true;
  EXPECT_EQ(Refuse(model), Unsupported("normalizer_spec.remove_extra_whitespaces: true"));
  EXPECT_EQ(Refuse(WithPiece({"c", -7, kUnused})), Unsupported("piece 9: the type UNUSED"));
}

TEST(TokenizerModelTest, ConfigSaysWhatIsAdded) {
  const TemporaryFolder folder;
  folder.Write("tokenizer.model", Model().Bytes());
  const auto ids_with = [&](const std::string& config) {
    folder.Write("tokenizer_config.json", config);
    const auto tokenizer = Tokenizer::LoadFromModelDir(folder.path());
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return tokenizer.ok() ? (*tokenizer)->EncodeWithSpecial("a", AddBos::kAuto)
                          : std::vector<int32_t>();
  };
  EXPECT_THAT(ids_with("{}"), ElementsAre(3));
  EXPECT_THAT(ids_with(R"({"add_bos_token": false})"), ElementsAre(3));
  EXPECT_THAT(ids_with(R"({"add_bos_token": true})"), ElementsAre(1, 3));
  EXPECT_THAT(ids_with(R"({"add_bos_token": true, "add_eos_token": true})"), ElementsAre(1, 3, 2));
  folder.Write("tokenizer_config.json", R"({"add_bos_token": 1})");
  EXPECT_EQ(Tokenizer::LoadFromModelDir(folder.path()).status().message(),
            Damaged(absl::StrCat(folder.path(),
                                 "/tokenizer_config.json: add_bos_token: not true or false")));
}

}  // namespace
}  // namespace tandem
