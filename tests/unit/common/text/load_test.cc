// How a folder's tokenizer is found and told apart from another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/text/tokenizer.h"
#include "tests/unit/common/text/temporary_file.h"

namespace tandem {
namespace {

const std::string kGolden = std::string(TANDEM_TEST_DATA) + "/tokenizer/";

TEST(LoadTest, AFolderWithNeitherFile) {
  const TemporaryFolder folder;
  const absl::Status status = Tokenizer::LoadFromModelDir(folder.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kModel);
  EXPECT_EQ(status.message(), absl::StrCat(folder.path(),
                                           ": neither tokenizer.json nor tokenizer.model is here; "
                                           "copy the model's tokenizer file into it"));
}

TEST(LoadTest, JsonWinsOverModel) {
  const TemporaryFolder folder;
  folder.Write("tokenizer.model", ReadBytes(kGolden + "tokenizer.model"));
  EXPECT_EQ((*Tokenizer::LoadFromModelDir(folder.path()))->format(), "tokenizer.model");
  folder.Write("tokenizer.json", ReadBytes(kGolden + "tokenizer.json"));
  EXPECT_EQ((*Tokenizer::LoadFromModelDir(folder.path()))->format(), "tokenizer.json");
}

TEST(LoadTest, AFileIsToldApartByItsContents) {
  const TemporaryFolder folder;
  const auto json =
      Tokenizer::LoadFile(folder.Write("a", "\n " + ReadBytes(kGolden + "tokenizer.json")));
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ((*json)->format(), "tokenizer.json");
  const auto model = Tokenizer::LoadFile(folder.Write("b", ReadBytes(kGolden + "tokenizer.model")));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->format(), "tokenizer.model");
}

TEST(LoadTest, FilesThatCannotBeRead) {
  const TemporaryFolder folder;
  const std::string missing = folder.path() + "/none";
  EXPECT_EQ(Tokenizer::LoadFile(missing).status().message(),
            absl::StrCat(missing, ": cannot open: No such file or directory; check the path"));
  EXPECT_EQ(Tokenizer::LoadFile(folder.path()).status().code(), absl::StatusCode::kDataLoss);
  const std::string empty = folder.Write("empty", "");
  EXPECT_EQ(Tokenizer::LoadFile(empty).status().message(),
            absl::StrCat(empty, ": empty; the file is damaged: copy or download it again"));
}

TEST(LoadTest, TheIdentityFollowsTheBytes) {
  const TemporaryFolder folder;
  const std::string bytes = ReadBytes(kGolden + "tokenizer.json");
  const auto identity = [&](const std::string& text) -> uint64_t {
    const auto tokenizer = Tokenizer::LoadFile(folder.Write("tokenizer.json", text));
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return tokenizer.ok() ? (*tokenizer)->identity_hash() : 0;
  };
  const uint64_t first = identity(bytes);
  EXPECT_NE(first, 0u);
  EXPECT_EQ(identity(bytes), first);
  EXPECT_NE(identity(bytes + "\n"), first);
}

// The names of control tokens are tokens in one format and text in the other.
TEST(LoadTest, SpecialTokensOfTheGoldenFiles) {
  const auto json = Tokenizer::LoadFile(kGolden + "tokenizer.json");
  const auto model = Tokenizer::LoadFile(kGolden + "tokenizer.model");
  ASSERT_TRUE(json.ok() && model.ok());
  for (const Tokenizer* tokenizer : {json->get(), model->get()}) {
    EXPECT_EQ(tokenizer->vocab_size(), 1024);
    EXPECT_EQ(tokenizer->bos_id(), 2);
    EXPECT_EQ(tokenizer->eos_id(), 1);
    std::string which;
    EXPECT_FALSE(tokenizer->HasSpecialToken("<start_of_image> text\n\n  ", &which));
    EXPECT_TRUE(tokenizer->HasSpecialToken("a<end_of_turn>", &which));
    EXPECT_EQ(which, "<end_of_turn>");
    for (int32_t id = 0; id < 3; ++id) EXPECT_TRUE(tokenizer->IsSpecial(id)) << id;
    EXPECT_FALSE(tokenizer->IsSpecial(3));
  }
  std::string which;
  EXPECT_TRUE((*json)->HasSpecialToken("<bos>", &which));
  EXPECT_FALSE((*model)->HasSpecialToken("<bos>", &which));
}

}  // namespace
}  // namespace tandem
