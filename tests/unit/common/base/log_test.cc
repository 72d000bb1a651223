#include "common/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/exit_code.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;

template <class F>
std::string StderrOf(const F& body) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  body();
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "") << "standard output is for results";
  return text;
}

LogOptions Options(LogLevel level, LogFormat format = LogFormat::kText) {
  LogOptions options;
  options.level = level;
  options.format = format;
  options.rank = 3;
  options.host = "node1";
  return options;
}

void LogAll() {
  LogError("e");
  LogWarn("w");
  LogInfo("i");
  LogDebug("d");
  LogTrace("t");
}

TEST(LogTest, LinesHaveRankAndHostAndLevelsCut) {
  InitLog(Options(LogLevel::kInfo));
  EXPECT_EQ(StderrOf(LogAll), "[3/node1] error: e\n[3/node1] warning: w\n[3/node1] i\n");
  EXPECT_TRUE(LogEnabled(LogLevel::kInfo));
  EXPECT_FALSE(LogEnabled(LogLevel::kDebug));
  InitLog(Options(LogLevel::kTrace));
  EXPECT_EQ(StderrOf(LogAll),
            "[3/node1] error: e\n[3/node1] warning: w\n[3/node1] i\n[3/node1] d\n[3/node1] t\n");
  InitLog(Options(LogLevel::kError));
  EXPECT_EQ(StderrOf(LogAll), "[3/node1] error: e\n");
  LogOptions quiet = Options(LogLevel::kTrace);
  quiet.quiet = true;
  InitLog(quiet);
  EXPECT_EQ(StderrOf(LogAll), "[3/node1] error: e\n");
}

TEST(LogTest, EachLineOfAMessageGetsThePrefix) {
  InitLog(Options(LogLevel::kInfo));
  EXPECT_EQ(StderrOf([] { LogWarn("one\ntwo %v {}\n"); }),
            "[3/node1] warning: one\n[3/node1] two %v {}\n");
}

TEST(LogTest, JsonLinesHoldAnyMessage) {
  InitLog(Options(LogLevel::kInfo, LogFormat::kJson));
  const std::string text = StderrOf([] {
    LogInfo("a \"b\"\n\xff");
    LogWarn("w");
  });
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  ASSERT_EQ(lines.size(), 3u);
  const auto json = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(json["level"], "info");
  EXPECT_EQ(json["rank"], 3);
  EXPECT_EQ(json["host"], "node1");
  EXPECT_EQ(json["message"], "a \"b\"\n\xef\xbf\xbd");
  EXPECT_THAT(std::string(json["time"]),
              MatchesRegex("[0-9-]+T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]\\.[0-9][0-9][0-9]Z"));
  EXPECT_EQ(nlohmann::json::parse(lines[1])["level"], "warn");
}

TEST(LogTest, LinesOfSeveralThreadsAreNotMixed) {
  InitLog(Options(LogLevel::kInfo));
  const std::string text = StderrOf([] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        for (int i = 0; i < 100; ++i) LogInfo(std::string(200, static_cast<char>('a' + t)));
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  int lines = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    ++lines;
    EXPECT_EQ(line.size(), 210u);
    EXPECT_EQ(line, absl::StrCat("[3/node1] ", std::string(200, line.back())));
  }
  EXPECT_EQ(lines, 400);
}

TEST(LogTest, NamesOfLevelsAndFormats) {
  EXPECT_EQ(*ParseLogLevel("debug"), LogLevel::kDebug);
  EXPECT_EQ(*ParseLogFormat("json"), LogFormat::kJson);
  EXPECT_EQ(ParseLogLevel("loud").status().message(),
            "log level must be error, warn, info, debug or trace, not \"loud\"");
  EXPECT_EQ(ParseLogFormat("xml").status().message(),
            "log format must be text or json, not \"xml\"");
  EXPECT_EQ(ExitCodeOf(ParseLogFormat("xml").status()), ExitCode::kUsage);
}

}  // namespace
}  // namespace tandem
