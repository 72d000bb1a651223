// What a job's lines cost in memory, read and checked one after the other, in a process of their
// own.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/io/id_set.h"
#include "coordinator/io/line_reader.h"
#include "coordinator/io/request.h"

namespace tandem {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

int64_t PeakResidentBytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    absl::string_view value = line;
    int64_t kib = 0;
    if (!absl::ConsumePrefix(&value, "VmHWM:") || !absl::ConsumeSuffix(&value, " kB")) continue;
    if (absl::SimpleAtoi(value, &kib)) return kib * 1024;
  }
  return -1;
}

// Reads `path` as the coordinator does; returns the number of good requests, -1 on failure.
int64_t ReadRequests(const std::string& path) {
  auto reader = LineReader::Open(path, 16 << 20);
  if (!reader.ok()) return -1;
  IdSet ids;
  int64_t good = 0;
  while (true) {
    auto line = (*reader)->Next();
    if (!line.ok()) return -1;
    if (!line->has_value()) return good;
    const auto parsed = ParseRequest((*line)->text, (*line)->number, {}, {});
    const auto* request = std::get_if<Request>(&parsed);
    if (request != nullptr && ids.Insert(request->id.key)) ++good;
  }
}

// The peak of a child that reads `count` lines.
int64_t PeakOf(int64_t count) {
  const std::string path = absl::StrCat(::testing::TempDir(), "memory_", getpid(), ".jsonl");
  {
    std::ofstream file(path);
    for (int64_t i = 0; i < count; ++i) {
      file << absl::StrCat("{\"id\":\"request-", i, "\",\"prompt\":\"roman: ", i,
                           "\",\"max_tokens\":16}\n");
    }
  }
  int ends[2];
  if (pipe(ends) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    // Its parent's peak is not its own.
    std::ofstream("/proc/self/clear_refs") << "5";
    const int64_t peak = ReadRequests(path) == count ? PeakResidentBytes() : -1;
    const bool told = write(ends[1], &peak, sizeof(peak)) == sizeof(peak);
    _exit(told ? 0 : 1);
  }
  close(ends[1]);
  int64_t peak = -1;
  const bool got = read(ends[0], &peak, sizeof(peak)) == sizeof(peak);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  std::remove(path.c_str());
  return got ? peak : -1;
}

TEST(MemoryTest, AMillionLinesCostTheirIds) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory is in the figures";
  constexpr int64_t kMany = 1'000'000;
  const int64_t few = PeakOf(1000);
  const int64_t many = PeakOf(kMany);
  ASSERT_GT(few, 0);
  ASSERT_GT(many, 0);
  std::printf("peak: %.1f MB with 1,000 lines, %.1f MB with 1,000,000: %.1f bytes a line\n",
              static_cast<double>(few) * 1e-6, static_cast<double>(many) * 1e-6,
              static_cast<double>(many - few) / static_cast<double>(kMany));
  EXPECT_LE(many - few, 50'000'000 + 16 * kMany);
  // What it is in fact: a line that was kept would be over it at once.
  EXPECT_LE(many - few, 24 * kMany);
}

}  // namespace
}  // namespace tandem
