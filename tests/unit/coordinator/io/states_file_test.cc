#include "coordinator/io/states_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "common/base/exit_code.h"
#include "common/checkpoint/safetensors.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StatesFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "states-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    path_ = dir_ + "/out.safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  // As the program does it: through a writer that brings results into order.
  std::unique_ptr<ResultWriter> Open(bool ordered = true) {
    auto sink = StatesFile::Open(path_);
    EXPECT_TRUE(sink.ok()) << sink.status();
    sink_ = *std::move(sink);
    ResultWriterOptions options;
    options.path = path_;
    options.ordered = ordered;
    options.sink = sink_.get();
    auto writer = ResultWriter::Open(options);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }

  std::string dir_;
  std::string path_;
  std::unique_ptr<StatesFile> sink_;
};

TEST_F(StatesFileTest, ReadsBackInTheOrderOfTheInput) {
  const auto writer = Open();
  const std::vector<float> c = {-1.5f, std::numeric_limits<float>::denorm_min()};
  ASSERT_TRUE(writer->Write(2, StatesFile::Encode("b", 1, c)).ok());
  ASSERT_TRUE(writer->Write(0, StatesFile::Encode("z", 2, {1, 2, 3, 4})).ok());
  ASSERT_TRUE(writer->Write(1, "").ok());  // A request that failed.
  ASSERT_TRUE(writer->Write(3, StatesFile::Encode("a", 3, {7, 8, 9})).ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(writer->Finish().ok());
  const auto file = SafetensorsFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : file->header().tensors) names.push_back(entry.name);
  EXPECT_THAT(names, ElementsAre("z", "b", "a"));
  EXPECT_EQ(file->header_bytes().size() % 8, 0u);
  const auto tensors = ReadSafetensors(path_);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT(tensors->at("z").shape, ElementsAre(2, 2));
  EXPECT_THAT(tensors->at("z").As<float>(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(tensors->at("b").As<float>(), ElementsAre(c[0], c[1]));
  EXPECT_THAT(tensors->at("a").shape, ElementsAre(3, 1));
  // Nothing else is left in the folder.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_), {}), 1);
}

TEST_F(StatesFileTest, NamesThatJsonEscapes) {
  const auto writer = Open();
  const std::vector<std::string> names = {
      "a\"b\\c", "line\nfeed",  "caf\xc3\xa9 \xf0\x9f\x98\x80", std::string("nul\0.", 5), "{}",
      "7",       "data_offsets"};
  for (size_t i = 0; i < names.size(); ++i) {
    const float value[] = {static_cast<float>(i)};
    ASSERT_TRUE(
        writer->Write(static_cast<int64_t>(i), StatesFile::Encode(names[i], 1, value)).ok());
  }
  ASSERT_TRUE(writer->Finish().ok());
  const auto tensors = ReadSafetensors(path_);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(tensors->size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    ASSERT_EQ(tensors->count(names[i]), 1u) << names[i];
    EXPECT_THAT(tensors->at(names[i]).As<float>(), ElementsAre(static_cast<float>(i)));
  }
}

TEST_F(StatesFileTest, NoRequestsMakeAnEmptyFile) {
  ASSERT_TRUE(Open()->Finish().ok());
  const auto tensors = ReadSafetensors(path_);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_TRUE(tensors->empty());
}

TEST_F(StatesFileTest, LargerThanABlock) {
  const auto writer = Open();
  std::vector<float> data(700'000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i % 9973);
  ASSERT_TRUE(writer->Write(0, StatesFile::Encode("x", 7, data)).ok());
  ASSERT_TRUE(writer->Write(1, StatesFile::Encode("y", 1, {5})).ok());
  ASSERT_TRUE(writer->Finish().ok());
  const auto tensors = ReadSafetensors(path_);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_THAT(tensors->at("x").shape, ElementsAre(7, 100'000));
  EXPECT_TRUE(tensors->at("x").As<float>() == absl::MakeConstSpan(data));
  EXPECT_THAT(tensors->at("y").As<float>(), ElementsAre(5));
}

TEST_F(StatesFileTest, AHeaderThatNobodyReadsIsRefusedBeforeItIsWritten) {
  const auto sink = StatesFile::Open(path_);
  ASSERT_TRUE(sink.ok());
  ASSERT_TRUE((*sink)->Add(StatesFile::Encode(std::string(60'000'000, 'a'), 1, {1})).ok());
  const absl::Status status =
      (*sink)->Add(StatesFile::Encode(std::string(60'000'000, 'b'), 1, {1}));
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFile);
  EXPECT_EQ(status.message(),
            path_ +
                " would need a header of more than 100,000,000 bytes, which readers of "
                "safetensors refuse; divide the input among several runs");
}

TEST_F(StatesFileTest, AFolderThatIsNotThere) {
  const auto sink = StatesFile::Open(dir_ + "/no/out.safetensors");
  ASSERT_FALSE(sink.ok());
  EXPECT_EQ(ExitCodeOf(sink.status()), ExitCode::kFile);
  EXPECT_THAT(std::string(sink.status().message()), HasSubstr("/no/out.safetensors"));
}

}  // namespace
}  // namespace tandem
