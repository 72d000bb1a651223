// What a bug report needs to know of a rank's host: processor, cores and binding, memory, huge
// pages.
#ifndef TANDEM_COORDINATOR_CLI_HOST_REPORT_H_
#define TANDEM_COORDINATOR_CLI_HOST_REPORT_H_

#include <cstdint>
#include <string>

#include "common/transport/host_info.h"

namespace tandem {

// Lines, the first "rank 1 on node3 (2 of 2 there)", the others indented. What a host
// does not tell is "unknown". `root` stands before /proc and /sys: tests have a tree of their own.
std::string HostReport(int rank, const RankPlace& place, const std::string& root = "");

// The memory that control groups leave this process (a container, a Slurm step), in bytes; 0: all
// of the host's.
int64_t MemoryLimit(const std::string& root = "");

// What new memory this process can take without swapping, limits of control groups included, in
// bytes; 0: the host does not tell.
int64_t AvailableMemory(const std::string& root = "");

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_HOST_REPORT_H_
