#include "coordinator/io/line_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/exit_code.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kLimit = 1 << 20;

std::string WriteFile(absl::string_view name, absl::string_view text) {
  const std::string path = absl::StrCat(::testing::TempDir(), "line_reader_", getpid(), "_", name);
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

// Each line as "number:text", "number!bytes" where it is too long.
std::vector<std::string> ReadAll(LineReader& reader) {
  std::vector<std::string> lines;
  while (true) {
    const absl::StatusOr<std::optional<InputLine>> line = reader.Next();
    EXPECT_TRUE(line.ok()) << line.status();
    if (!line.ok() || !line->has_value()) return lines;
    if ((*line)->too_long) {
      EXPECT_EQ((*line)->text, "");
      lines.push_back(absl::StrCat((*line)->number, "!", (*line)->bytes));
    } else {
      EXPECT_EQ((*line)->bytes, static_cast<int64_t>((*line)->text.size()));
      lines.push_back(absl::StrCat((*line)->number, ":", (*line)->text));
    }
  }
}

std::vector<std::string> LinesOf(absl::string_view text, int64_t limit = kLimit) {
  auto reader = LineReader::Open(WriteFile("lines", text), limit);
  EXPECT_TRUE(reader.ok()) << reader.status();
  std::vector<std::string> lines = ReadAll(**reader);
  EXPECT_EQ((*reader)->bytes_read(), static_cast<int64_t>(text.size()));
  EXPECT_EQ((*reader)->total_bytes(), static_cast<int64_t>(text.size()));
  return lines;
}

TEST(LineReaderTest, LinesAreNumberedAndBlankOnesSkipped) {
  EXPECT_THAT(LinesOf(""), IsEmpty());
  EXPECT_THAT(LinesOf("\n\n \t\r\n"), IsEmpty());
  EXPECT_THAT(LinesOf("a\nb\n"), ElementsAre("1:a", "2:b"));
  EXPECT_THAT(LinesOf("a\n\n  \nb"), ElementsAre("1:a", "4:b"));
  EXPECT_THAT(LinesOf("a\r\n\r\nb\r"), ElementsAre("1:a", "3:b\r"));
  EXPECT_THAT(LinesOf(absl::string_view("a\0b\n", 4)), ElementsAre(std::string("1:a\0b", 5)));
}

TEST(LineReaderTest, AByteOrderMarkIsDroppedAtTheVeryBeginningAlone) {
  EXPECT_THAT(LinesOf("\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n"), ElementsAre("1:{}", "2:\xef\xbb\xbf{}"));
  EXPECT_THAT(LinesOf("\xef\xbb\xbf\nx"), ElementsAre("2:x"));
}

TEST(LineReaderTest, ALineOverTheLimitIsReadPast) {
  EXPECT_THAT(LinesOf("12345\n123456\n12345", 5), ElementsAre("1:12345", "2!6", "3:12345"));
  EXPECT_THAT(LinesOf("12345\r\n123456\r\nab", 5), ElementsAre("1:12345", "2!6", "3:ab"));
  EXPECT_THAT(LinesOf("123456", 5), ElementsAre("1!6"));
  EXPECT_THAT(LinesOf("\xef\xbb\xbf"
                      "12345\n",
                      5),
              ElementsAre("1:12345"));
  const std::string long_line(3 << 20, 'x');
  EXPECT_THAT(LinesOf(absl::StrCat("a\n", long_line, "\nb\n", long_line), 1000),
              ElementsAre("1:a", absl::StrCat("2!", long_line.size()), "3:b",
                          absl::StrCat("4!", long_line.size())));
  EXPECT_THAT(LinesOf(absl::StrCat(long_line, "\r\nb"), 3 << 20),
              ElementsAre(absl::StrCat("1:", long_line), "2:b"));
}

// Any text, limit and cutting into reads gives what splitting the whole at newlines gives.
TEST(LineReaderTest, HowTheBytesArriveMakesNoDifference) {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    std::string text;
    const size_t bytes = random() % 2000;
    for (size_t i = 0; i < bytes; ++i) text.push_back("ab\n\r \xc3"[random() % 6]);
    const auto limit = static_cast<int64_t>(1 + random() % 12);
    std::vector<std::string> expected;
    int64_t number = 0;
    std::vector<absl::string_view> pieces = absl::StrSplit(text, '\n');
    const bool ends = pieces.back().empty();
    if (ends) pieces.pop_back();
    for (size_t i = 0; i < pieces.size(); ++i) {
      absl::string_view piece = pieces[i];
      ++number;
      const bool has_newline = i + 1 < pieces.size() || ends;
      if (has_newline && !piece.empty() && piece.back() == '\r') piece.remove_suffix(1);
      const auto length = static_cast<int64_t>(piece.size());
      if (length > limit) {
        expected.push_back(absl::StrCat(number, "!", length));
      } else if (piece.find_first_not_of(" \t\r") != absl::string_view::npos) {
        expected.push_back(absl::StrCat(number, ":", piece));
      }
    }
    int ends_of_pipe[2];
    ASSERT_EQ(pipe(ends_of_pipe), 0);
    std::thread writer([&text, fd = ends_of_pipe[1], seed = random()] {
      std::mt19937 cut(static_cast<uint32_t>(seed));
      for (size_t at = 0; at < text.size();) {
        const size_t size = std::min(text.size() - at, size_t{1} + cut() % 50);
        ASSERT_EQ(write(fd, text.data() + at, size), static_cast<ssize_t>(size));
        at += size;
      }
      close(fd);
    });
    LineReader reader(ends_of_pipe[0], true, "pipe", limit);
    EXPECT_EQ(ReadAll(reader), expected) << text;
    EXPECT_EQ(reader.total_bytes(), -1);
    EXPECT_EQ(reader.bytes_read(), static_cast<int64_t>(text.size()));
    writer.join();
  }
}

TEST(LineReaderTest, WhatCannotBeReadIsNamed) {
  const auto missing = LineReader::Open("/nonexistent/requests.jsonl", kLimit);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().message(),
            "cannot read the input /nonexistent/requests.jsonl: No such file or directory");
  EXPECT_EQ(ExitCodeOf(missing.status()), ExitCode::kFile);
  const auto folder = LineReader::Open("/", kLimit);
  ASSERT_FALSE(folder.ok());
  EXPECT_EQ(folder.status().message(), "cannot read the input /: Is a directory");
  EXPECT_EQ(ExitCodeOf(folder.status()), ExitCode::kFile);
  LineReader closed(-1, false, "standard input", kLimit);
  const auto line = closed.Next();
  ASSERT_FALSE(line.ok());
  EXPECT_EQ(line.status().message(), "cannot read the input standard input: Bad file descriptor");
  EXPECT_EQ(ExitCodeOf(line.status()), ExitCode::kFile);
}

}  // namespace
}  // namespace tandem
