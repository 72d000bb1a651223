#include "coordinator/io/result_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "coordinator/io/run_record.h"

namespace tandem {
namespace {

class ResultWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "result_writer_", getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    options_.path = folder_ + "/out.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<ResultWriter> Open() {
    auto writer = ResultWriter::Open(options_);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return writer.ok() ? *std::move(writer) : nullptr;
  }

  void ExpectRefused(absl::string_view message) {
    const auto writer = ResultWriter::Open(options_);
    ASSERT_FALSE(writer.ok());
    EXPECT_EQ(writer.status().message(), message);
    EXPECT_EQ(ExitCodeOf(writer.status()), ExitCode::kFile);
  }

  static std::string Read(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static bool Exists(const std::string& path) { return std::filesystem::exists(path); }

  std::string folder_;
  ResultWriterOptions options_;
};

TEST_F(ResultWriterTest, ResultsComeInTheOrderOfTheInput) {
  options_.reorder_window = 4;
  auto writer = Open();
  EXPECT_TRUE(writer->MayAdmit(0));
  EXPECT_TRUE(writer->MayAdmit(3));
  EXPECT_FALSE(writer->MayAdmit(4)) << "its result would not fit while 0 is due";
  ASSERT_TRUE(writer->Write(2, "two").ok());
  ASSERT_TRUE(writer->Write(1, "one").ok());
  EXPECT_EQ(writer->written(), 0);
  EXPECT_EQ(writer->waiting(), 2);
  EXPECT_FALSE(writer->MayAdmit(4));
  ASSERT_TRUE(writer->Write(0, "zero").ok());
  EXPECT_EQ(writer->written(), 3);
  EXPECT_EQ(writer->waiting(), 0);
  EXPECT_TRUE(writer->MayAdmit(6));
  EXPECT_FALSE(writer->MayAdmit(7));
  ASSERT_TRUE(writer->Flush().ok());
  EXPECT_FALSE(Exists(options_.path)) << "not before it is complete";
  EXPECT_EQ(Read(options_.path + ".partial"), "zero\none\ntwo\n");
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(Read(options_.path), "zero\none\ntwo\n");
  EXPECT_FALSE(Exists(options_.path + ".partial"));
}

TEST_F(ResultWriterTest, WaitingBytesHoldAdmissionButNeverTheDueRequest) {
  options_.reorder_bytes = 100;
  auto writer = Open();
  ASSERT_TRUE(writer->Write(1, std::string(99, 'x')).ok());
  EXPECT_TRUE(writer->MayAdmit(2));
  ASSERT_TRUE(writer->Write(2, "y").ok());
  EXPECT_FALSE(writer->MayAdmit(3));
  EXPECT_TRUE(writer->MayAdmit(0));
  ASSERT_TRUE(writer->Write(0, "z").ok());
  EXPECT_TRUE(writer->MayAdmit(3));
}

// A coordinator that admits by MayAdmit and finishes in any order never waits for ever, and all
// comes in order.
TEST_F(ResultWriterTest, AnyOrderOfFinishing) {
  std::mt19937 random(11);
  for (const int64_t window : {1, 2, 7, 64}) {
    options_.reorder_window = window;
    options_.overwrite = true;
    auto writer = Open();
    std::string expected;
    std::vector<int64_t> in_flight;
    int64_t admitted = 0;
    constexpr int64_t kRequests = 500;
    while (admitted < kRequests || !in_flight.empty()) {
      while (admitted < kRequests && in_flight.size() < 9 && writer->MayAdmit(admitted)) {
        in_flight.push_back(admitted++);
      }
      ASSERT_FALSE(in_flight.empty()) << "nothing runs and nothing may be admitted";
      const size_t pick = random() % in_flight.size();
      ASSERT_TRUE(writer->Write(in_flight[pick], absl::StrCat("r", in_flight[pick])).ok());
      in_flight.erase(in_flight.begin() + static_cast<ptrdiff_t>(pick));
      EXPECT_LT(writer->waiting(), window);
    }
    for (int64_t i = 0; i < kRequests; ++i) absl::StrAppend(&expected, "r", i, "\n");
    ASSERT_TRUE(writer->Finish().ok());
    EXPECT_EQ(Read(options_.path), expected);
  }
}

TEST_F(ResultWriterTest, UnorderedWritesAsTheyCome) {
  options_.ordered = false;
  auto writer = Open();
  EXPECT_TRUE(writer->MayAdmit(1 << 30));
  ASSERT_TRUE(writer->Write(5, "five").ok());
  ASSERT_TRUE(writer->Write(0, "zero").ok());
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(Read(options_.path), "five\nzero\n");
}

TEST_F(ResultWriterTest, NoResultsGiveAnEmptyFile) {
  auto writer = Open();
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_TRUE(Exists(options_.path));
  EXPECT_EQ(Read(options_.path), "");
}

TEST_F(ResultWriterTest, AnExistingOutputIsRefusedOrReplacedWhole) {
  std::ofstream(options_.path) << "old";
  ExpectRefused(absl::StrCat("the output ", options_.path,
                             " exists; give --overwrite to replace it, or another --output"));
  EXPECT_FALSE(Exists(options_.path + ".partial"));
  options_.overwrite = true;
  auto writer = Open();
  ASSERT_TRUE(writer->Write(0, "new").ok());
  EXPECT_EQ(Read(options_.path), "old");
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(Read(options_.path), "new\n");
}

TEST_F(ResultWriterTest, AnOutputThatAppearsMeanwhileIsKept) {
  auto writer = Open();
  ASSERT_TRUE(writer->Write(0, "new").ok());
  std::ofstream(options_.path) << "somebody else's";
  const absl::Status status = writer->Finish();
  EXPECT_EQ(status.message(),
            absl::StrCat("cannot give the name ", options_.path, " to ", options_.path,
                         ".partial: File exists (the results so far are in it)"));
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFile);
  EXPECT_EQ(Read(options_.path), "somebody else's");
  EXPECT_EQ(Read(options_.path + ".partial"), "new\n");
}

TEST_F(ResultWriterTest, AnAbandonedJobLeavesItsPartialAndTheNextTakesItOver) {
  {
    auto writer = Open();
    ASSERT_TRUE(writer->Write(0, "first").ok());
    const auto second = ResultWriter::Open(options_);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.status().message(), absl::StrCat("another job is writing ", options_.path,
                                                      ".partial; give another --output"));
    EXPECT_EQ(ExitCodeOf(second.status()), ExitCode::kFile);
  }
  EXPECT_FALSE(Exists(options_.path));
  EXPECT_EQ(Read(options_.path + ".partial"), "first\n");
  auto writer = Open();
  ASSERT_TRUE(writer->Write(0, "x").ok());
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(Read(options_.path), "x\n");
}

TEST_F(ResultWriterTest, AJobThatWroteNothingLeavesNothing) {
  {
    auto writer = Open();
    EXPECT_TRUE(Exists(options_.path + ".partial"));
    EXPECT_FALSE(ResultWriter::Open(options_).ok());
    EXPECT_TRUE(Exists(options_.path + ".partial")) << "it is the first one's";
  }
  EXPECT_FALSE(Exists(options_.path + ".partial"));
  EXPECT_FALSE(Exists(options_.path));
}

TEST_F(ResultWriterTest, PlacesThatCannotBeWrittenAreNamed) {
  options_.path = folder_;
  ExpectRefused(absl::StrCat("the output ", folder_, " is a folder; give --output a file"));
  options_.path = folder_ + "/none/out.jsonl";
  ExpectRefused(absl::StrCat("cannot write results to ", options_.path,
                             ".partial: No such file or directory"));
  options_.path = options_.input = folder_ + "/in.jsonl";
  options_.overwrite = true;
  std::ofstream(options_.path) << "{}";
  ExpectRefused(
      absl::StrCat("the output ", options_.path, " is the input itself; give another --output"));
  EXPECT_EQ(Read(options_.path), "{}");
}

TEST_F(ResultWriterTest, AFullDiskIsAnErrorOfTheFile) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
  options_.path = "/dev/full";
  auto writer = Open();
  ASSERT_TRUE(writer->Write(0, "x").ok());
  const absl::Status status = writer->Flush();
  EXPECT_EQ(status.message(), "cannot write results to /dev/full: No space left on device");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFile);
  EXPECT_FALSE(Exists("/dev/full.partial"));
}

TEST_F(ResultWriterTest, AReaderThatWentAwayIsAnErrorAndNotTheEnd) {
  options_.path = folder_ + "/pipe";
  ASSERT_EQ(mkfifo(options_.path.c_str(), 0600), 0);
  const int reader = open(options_.path.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  auto writer = Open();
  ASSERT_TRUE(writer->Write(0, "x").ok());
  close(reader);
  const absl::Status status = writer->Flush();
  EXPECT_EQ(status.message(),
            absl::StrCat("cannot write results to ", options_.path, ": Broken pipe"));
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFile);
}

TEST_F(ResultWriterTest, StandardOutputGetsEachResultAtOnce) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::fflush(stdout);
  const int saved = dup(STDOUT_FILENO);
  ASSERT_EQ(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
  options_.path = "-";
  auto writer = Open();
  const bool written = writer->Write(0, "x").ok();
  char buffer[8] = {};
  const ssize_t got = read(ends[0], buffer, sizeof(buffer));
  const bool finished = writer->Finish().ok();
  writer.reset();
  dup2(saved, STDOUT_FILENO);
  EXPECT_TRUE(written && finished);
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(std::max<ssize_t>(got, 0))), "x\n");
  close(saved);
  close(ends[0]);
  close(ends[1]);
}

using ResultWriterDeathTest = ResultWriterTest;

TEST_F(ResultWriterDeathTest, AResultTwiceOrOutsideTheWindowIsABug) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  options_.reorder_window = 2;
  auto writer = Open();
  ASSERT_TRUE(writer->Write(1, "x").ok());
  EXPECT_DEATH(writer->Write(1, "x").IgnoreError(), "check failed");
  EXPECT_DEATH(writer->Write(2, "x").IgnoreError(), "check failed");
  EXPECT_DEATH(writer->Finish().IgnoreError(), "check failed");
}

TEST_F(ResultWriterTest, TheRunRecordHoldsWhatTheJobWas) {
  RunRecord record;
  record.version = "0.1.0";
  record.command = {"tandem", "generate", "--prompt", "\xff"};
  record.settings = {{"max_tokens", "64", "flag", "64"},
                     {"prompt", "a\xff", "flag", "\"a\xff\""},
                     {"input", "", "built-in", "null"}};
  record.working_directory = "/home/a";
  record.ranks = {"rank 0 on n1", "rank 1 on n2"};
  record.launch = absl::FromUnixMillis(-500);
  record.model_path = "/models/a";
  record.hosts = {"n1", "n2"};
  record.layout_yaml = "encoder: [{ranks: [0]}]\n";
  record.start = absl::FromUnixSeconds(0);
  record.end = absl::FromUnixMillis(2500);
  record.requests = 10;
  record.answered = 7;
  record.errors[static_cast<int>(RequestErrorCode::kInvalidJson)] = 2;
  record.errors[static_cast<int>(RequestErrorCode::kKvMemory)] = 1;
  ASSERT_TRUE(WriteRunRecord(record, options_.path).ok());
  const std::string text = Read(options_.path + ".run.json");
  EXPECT_EQ(text.back(), '\n');
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["version"], "0.1.0");
  EXPECT_EQ(json["command"][3], "\xef\xbf\xbd");
  EXPECT_EQ(json["settings"]["max_tokens"]["value"], 64);
  EXPECT_EQ(json["settings"]["max_tokens"]["origin"], "flag");
  EXPECT_EQ(json["settings"]["prompt"]["value"], "a\xef\xbf\xbd");
  EXPECT_TRUE(json["settings"]["input"]["value"].is_null());
  EXPECT_EQ(json["working_directory"], "/home/a");
  EXPECT_EQ(json["ranks"][1], "rank 1 on n2");
  EXPECT_EQ(json["launch"], "1969-12-31T23:59:59.500Z");
  EXPECT_EQ(json["model"]["path"], "/models/a");
  EXPECT_EQ(json["hosts"].size(), 2u);
  EXPECT_EQ(json["start"], "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(json["seconds"], 2.5);
  EXPECT_EQ(json["failed"], 3);
  EXPECT_EQ(json["errors"].dump(), R"({"invalid_json":2,"kv_memory":1})");
  const absl::Status refused = WriteRunRecord(record, "/nonexistent/out");
  EXPECT_EQ(refused.message(), "cannot write /nonexistent/out.run.json: No such file or directory");
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kFile);
}

}  // namespace
}  // namespace tandem
