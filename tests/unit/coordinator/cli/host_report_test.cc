#include "coordinator/cli/host_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A folder with what a host's kernel tells.
class HostReportTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(root_); }
  void TearDown() override { fs::remove_all(root_); }
  void File(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }

  const std::string root_ = ::testing::TempDir() + "tandem_host_" +
                            ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(HostReportTest, AHostInLines) {
  File("/proc/cpuinfo", "processor\t: 0\nmodel name\t: A Processor: 3 GHz\nflags: x\n");
  File("/proc/self/status", "Name:\ttandem\nCpus_allowed_list:\t4-6,9\n");
  File("/sys/devices/system/cpu/online", "0-63\n");
  File("/sys/devices/system/node/node0/cpulist", "0-31\n");
  File("/sys/devices/system/node/node1/cpulist", "32-63\n");
  File("/proc/meminfo",
       "MemTotal:       67108864 kB\nMemAvailable:   50331648 kB\nHugePages_Total:      16\n"
       "Hugepagesize:       2048 kB\n");
  File("/proc/self/cgroup", "0::/slurm/step_1\n");
  File("/sys/fs/cgroup/slurm/memory.max", "34359738368\n");
  File("/sys/fs/cgroup/slurm/step_1/memory.max", "max\n");
  File("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  File("/proc/sys/kernel/ostype", "Linux\n");
  File("/proc/sys/kernel/osrelease", "6.1.0-test\n");
  const std::string report =
      HostReport(3, {.host = "node7", .local_rank = 1, .local_size = 2}, root_);
  EXPECT_THAT(report,
              HasSubstr("rank 3 on node7 (2 of 2 there)\n  processor: A Processor: 3 GHz\n"));
  EXPECT_THAT(report, HasSubstr("\n  cores: 64 online, bound to 4-6,9\n"));
  EXPECT_THAT(report, HasSubstr("\n  NUMA nodes: 0 (cores 0-31), 1 (cores 32-63)\n"));
  EXPECT_THAT(report, HasSubstr("\n  memory: 64.0 GiB in all, 48.0 GiB available, this process's "
                                "group limited to 32.0 GiB\n"));
  EXPECT_THAT(report, HasSubstr("\n  huge pages: transparent: madvise; reserved: 16 of 2048 kB\n"));
  EXPECT_THAT(report, HasSubstr("\n  kernel: Linux 6.1.0-test\n"));
  EXPECT_EQ(AvailableMemory(root_), int64_t{32} << 30);
}

// The kernel's mask of allowed cores may be wider than the host.
TEST_F(HostReportTest, AllCoresAreNoBinding) {
  File("/proc/self/status", "Cpus_allowed_list:\t0-127\n");
  File("/sys/devices/system/cpu/online", "0-1\n");
  EXPECT_THAT(HostReport(0, {}, root_), HasSubstr("\n  cores: 2 online, not bound\n"));
}

TEST_F(HostReportTest, LimitsOfBothVersionsOfControlGroups) {
  EXPECT_EQ(MemoryLimit(root_), 0) << "nothing is told";
  File("/proc/self/cgroup", "5:cpu:/other\n4:memory:/job/1\n0::/\n");
  EXPECT_EQ(MemoryLimit(root_), 0);
  File("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(MemoryLimit(root_), 9223372036854771712) << "version 1 writes a large number";
  File("/sys/fs/cgroup/memory/job/1/memory.limit_in_bytes", "4096\n");
  EXPECT_EQ(MemoryLimit(root_), 4096);
  File("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2048\n");
  EXPECT_EQ(MemoryLimit(root_), 2048) << "the group around it is tighter";
  File("/sys/fs/cgroup/memory.max", "1024\n");
  EXPECT_EQ(MemoryLimit(root_), 1024) << "a container sees its own group as the root";
}

TEST_F(HostReportTest, WhatAHostDoesNotTellIsUnknown) {
  File("/proc/self/status", "Cpus_allowed_list:\tsome\n");
  File("/sys/devices/system/cpu/online", "all\n");
  File("/proc/meminfo", "MemTotal: much\n:\n");
  File("/proc/self/cgroup", "memory\n\n0::\n:::\n");
  const std::string report = HostReport(0, {}, root_);
  EXPECT_THAT(report, HasSubstr("\n  processor: unknown\n"));
  EXPECT_THAT(report, HasSubstr("\n  cores: unknown\n"));
  EXPECT_THAT(report, HasSubstr("\n  NUMA nodes: unknown\n  memory: unknown\n"));
  EXPECT_THAT(report,
              HasSubstr("\n  huge pages: transparent: unknown; reserved: unknown of unknown\n"));
  EXPECT_THAT(report, HasSubstr("\n  kernel: unknown unknown\n"));
  EXPECT_EQ(AvailableMemory(root_), 0);
}

}  // namespace
}  // namespace tandem
