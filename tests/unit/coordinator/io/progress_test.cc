#include "coordinator/io/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "common/base/log.h"

namespace tandem {
namespace {

using ::testing::_;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ProgressTest : public ::testing::Test {
 protected:
  ProgressOptions Options(ProgressOptions::Style style) {
    ProgressOptions options;
    options.style = style;
    options.width = 100;
    options.now = [this] { return now_; };
    options.bar = [this](absl::string_view text) { bars_.emplace_back(text); };
    options.line = [this](absl::string_view text) { lines_.emplace_back(text); };
    return options;
  }
  void Pass(absl::Duration duration) { now_ += duration; }

  absl::Time now_ = absl::FromUnixSeconds(1000);
  std::vector<std::string> bars_;
  std::vector<std::string> lines_;
};

TEST_F(ProgressTest, WordsSayRateAndTimeLeft) {
  EXPECT_EQ(ProgressText({}, absl::ZeroDuration()), "0 requests");
  EXPECT_EQ(ProgressText({.finished = 1234, .failed = 3, .tokens = 33696, .total = 10000},
                         absl::Seconds(27.3)),
            "1,234 of 10,000 requests (12%), 3 failed, 45.2 requests/s, 1,234 tokens/s, 3:14 left");
  EXPECT_EQ(ProgressText({.finished = 10, .tokens = 5, .total = 40000, .total_is_estimate = true},
                         absl::Seconds(10)),
            "10 of about 40,000 requests (0%), 1.00 requests/s, 0.500 tokens/s, 11:06:30 left");
  EXPECT_EQ(ProgressText({.finished = 4, .tokens = 8, .total = 4}, absl::Seconds(2)),
            "4 of 4 requests (100%), 2.00 requests/s, 4.00 tokens/s");
  EXPECT_EQ(ProgressText({.finished = 5, .tokens = 8, .total = 4, .total_is_estimate = true},
                         absl::Seconds(2)),
            "5 of about 5 requests (100%), 2.50 requests/s, 4.00 tokens/s");
}

TEST_F(ProgressTest, WithoutATerminalALineEveryTenSeconds) {
  Progress progress(Options(ProgressOptions::Style::kLines));
  for (int i = 0; i < 25; ++i) {
    Pass(absl::Seconds(1));
    progress.Update({.finished = i + 1, .tokens = i + 1, .total = 100});
  }
  EXPECT_THAT(lines_,
              ElementsAre("10 of 100 requests (10%), 1.00 requests/s, 1.00 tokens/s, 1:30 left",
                          "20 of 100 requests (20%), 1.00 requests/s, 1.00 tokens/s, 1:20 left"));
  progress.Finish({.finished = 100, .tokens = 100, .total = 100});
  progress.Update({});
  EXPECT_EQ(lines_.size(), 3u);
  EXPECT_EQ(lines_[2], "100 of 100 requests (100%), 4.00 requests/s, 4.00 tokens/s");
  EXPECT_THAT(bars_, IsEmpty());
}

TEST_F(ProgressTest, QuietSaysNothing) {
  Progress progress(Options(ProgressOptions::Style::kNone));
  Pass(absl::Minutes(5));
  progress.Update({.finished = 1, .total = 2});
  progress.Finish({.finished = 2, .total = 2});
  EXPECT_THAT(lines_, IsEmpty());
  EXPECT_THAT(bars_, IsEmpty());
  EXPECT_EQ(ProgressForStderr(/*quiet=*/true).style, ProgressOptions::Style::kNone);
}

TEST_F(ProgressTest, ABarOnATerminal) {
  Progress progress(Options(ProgressOptions::Style::kBar));
  Pass(absl::Milliseconds(100));
  progress.Update({.finished = 1, .total = 4});
  EXPECT_THAT(bars_, IsEmpty()) << "not yet";
  Pass(absl::Milliseconds(900));
  progress.Update({.finished = 2, .tokens = 30, .total = 4});
  ASSERT_EQ(bars_.size(), 1u);
  EXPECT_EQ(bars_[0],
            "\r\x1b[K[===============               ]  50% 2 of 4 requests, 2.00 requests/s, 30.0 "
            "tokens/s, 0:01 left");
  progress.Update({.finished = 3, .total = 4});
  EXPECT_EQ(bars_.size(), 1u) << "five times a second";
  progress.Finish({.finished = 4, .tokens = 60, .total = 4});
  EXPECT_EQ(bars_.back(), "\r\x1b[K");
  EXPECT_THAT(lines_, ElementsAre("4 of 4 requests (100%), 4.00 requests/s, 60.0 tokens/s"));
}

TEST_F(ProgressTest, ABarNeverWrapsAndColorIsAsked) {
  for (int width = 1; width < 120; ++width) {
    bars_.clear();
    ProgressOptions options = Options(ProgressOptions::Style::kBar);
    options.width = width;
    Progress progress(options);
    Pass(absl::Seconds(1));
    progress.Update({.finished = 12345, .failed = 7, .tokens = 30, .total = 99999});
    ASSERT_EQ(bars_.size(), 1u);
    EXPECT_LT(bars_[0].size() - 4, static_cast<size_t>(std::max(width, 2))) << width;
  }
  bars_.clear();
  ProgressOptions options = Options(ProgressOptions::Style::kBar);
  options.color = true;
  Progress progress(options);
  Pass(absl::Seconds(1));
  progress.Update({.finished = 1, .total = 2});
  EXPECT_EQ(bars_[0].substr(0, 10), "\r\x1b[K[\x1b[32m");
}

TEST_F(ProgressTest, ALogLineTakesTheBarOff) {
  LogOptions log;
  log.level = LogLevel::kError;
  InitLog(log);
  {
    Progress progress(Options(ProgressOptions::Style::kBar));
    Pass(absl::Seconds(1));
    progress.Update({.finished = 1, .total = 2});
    ASSERT_EQ(bars_.size(), 1u);
    ::testing::internal::CaptureStderr();
    LogInfo("below the level");
    EXPECT_EQ(bars_.size(), 1u);
    LogError("something");
    ::testing::internal::GetCapturedStderr();
    ASSERT_EQ(bars_.size(), 2u);
    EXPECT_EQ(bars_[1], "\r\x1b[K");
  }
  EXPECT_EQ(bars_.size(), 2u) << "it was off already";
  ::testing::internal::CaptureStderr();
  LogError("after it is gone");
  ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(bars_.size(), 2u);
}

TEST_F(ProgressTest, AStatusLineGoesWhenSomethingElseIsSaid) {
  ProgressOptions options = Options(ProgressOptions::Style::kBar);
  options.width = 10;
  {
    const StatusLine status("loading DIR", options);
    EXPECT_THAT(bars_, ElementsAre("\r\x1b[Kloading D"));
    LogError("said by a test");
    EXPECT_THAT(bars_, ElementsAre(_, "\r\x1b[K"));
    LogError("said by a test");
  }
  EXPECT_THAT(bars_, SizeIs(2)) << "taken off once";
  { const StatusLine status("loading DIR", options); }
  EXPECT_THAT(bars_, SizeIs(4)) << "shown, and taken off at its end";
  LogError("said by a test");
  const StatusLine lines("loading DIR", Options(ProgressOptions::Style::kLines));
  const StatusLine none("loading DIR", Options(ProgressOptions::Style::kNone));
  EXPECT_THAT(bars_, SizeIs(4));
  EXPECT_THAT(lines_, IsEmpty());
}

}  // namespace
}  // namespace tandem
