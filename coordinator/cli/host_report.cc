#include "coordinator/cli/host_report.h"

#include <algorithm>
#include <fstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/kernels/isa.h"

namespace tandem {
namespace {

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// The value behind "key" of a file of "key : value" lines; empty: it is not there.
std::string ValueOf(const std::string& path, absl::string_view key) {
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (absl::StripAsciiWhitespace(parts.first) == key) {
      return std::string(absl::StripAsciiWhitespace(parts.second));
    }
  }
  return "";
}

std::string OrUnknown(const std::string& text) { return text.empty() ? "unknown" : text; }

std::string GiB(int64_t bytes) {
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

// /proc/meminfo's "16384 kB".
int64_t BytesOf(const std::string& meminfo, absl::string_view key) {
  int64_t kib = 0;
  const std::string value = ValueOf(meminfo, key);
  if (!absl::SimpleAtoi(absl::StripSuffix(value, " kB"), &kib)) return 0;
  return kib * 1024;
}

// "0-2,5" has 4; 0 where the text is no list.
int64_t CountOf(absl::string_view list) {
  int64_t count = 0;
  for (const absl::string_view range : absl::StrSplit(list, ',')) {
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(range, absl::MaxSplits('-', 1));
    int64_t first = 0;
    int64_t last = 0;
    if (!absl::SimpleAtoi(ends.first, &first)) return 0;
    if (ends.second.empty()) {
      last = first;
    } else if (!absl::SimpleAtoi(ends.second, &last)) {
      return 0;
    }
    count += last - first + 1;
  }
  return count;
}

std::string CoresText(const std::string& root) {
  const std::string allowed = ValueOf(root + "/proc/self/status", "Cpus_allowed_list");
  const std::string online = FirstLine(root + "/sys/devices/system/cpu/online");
  const int64_t online_count = CountOf(online);
  if (online_count == 0 || CountOf(allowed) == 0) return "unknown";
  // The kernel's list of allowed ones may name cores that the host does not have.
  const bool bound = CountOf(allowed) < online_count;
  return absl::StrCat(online_count, " online, ",
                      bound ? absl::StrCat("bound to ", allowed) : std::string("not bound"));
}

std::string NodesText(const std::string& root) {
  std::vector<std::string> nodes;
  for (int node = 0; node < 1024; ++node) {
    const std::string cores =
        FirstLine(absl::StrCat(root, "/sys/devices/system/node/node", node, "/cpulist"));
    if (cores.empty()) break;
    nodes.push_back(absl::StrCat(node, " (cores ", cores, ")"));
  }
  return OrUnknown(absl::StrJoin(nodes, ", "));
}

std::string MemoryText(const std::string& root) {
  const std::string meminfo = root + "/proc/meminfo";
  const int64_t total = BytesOf(meminfo, "MemTotal");
  if (total == 0) return "unknown";
  std::string text =
      absl::StrCat(GiB(total), " in all, ", GiB(BytesOf(meminfo, "MemAvailable")), " available");
  const int64_t limit = MemoryLimit(root);
  if (limit > 0 && limit < total) {
    absl::StrAppend(&text, ", this process's group limited to ", GiB(limit));
  }
  return text;
}

std::string HugePagesText(const std::string& root) {
  const std::string modes = FirstLine(root + "/sys/kernel/mm/transparent_hugepage/enabled");
  // "always [madvise] never": the one in brackets.
  const size_t begin = modes.find('[');
  const size_t end = modes.find(']');
  const std::string mode =
      begin == std::string::npos || end < begin ? modes : modes.substr(begin + 1, end - begin - 1);
  const std::string meminfo = root + "/proc/meminfo";
  return absl::StrCat("transparent: ", OrUnknown(mode),
                      "; reserved: ", OrUnknown(ValueOf(meminfo, "HugePages_Total")), " of ",
                      OrUnknown(ValueOf(meminfo, "Hugepagesize")));
}

std::string IsaText() {
  std::vector<absl::string_view> names;
  for (const Isa isa : SupportedIsas()) names.push_back(NameOf(isa));
  return absl::StrJoin(names, ", ");
}

}  // namespace

int64_t MemoryLimit(const std::string& root) {
  int64_t limit = 0;
  std::ifstream groups(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    // "0::/a/b" (version 2), "4:memory:/a/b" (version 1). A group's own limit and those of the
    // groups around it hold.
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || (!parts[1].empty() && parts[1] != "memory")) continue;
    const std::string base = root + (parts[1].empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory");
    const char* file = parts[1].empty() ? "/memory.max" : "/memory.limit_in_bytes";
    std::string path = parts[2] == "/" ? "" : parts[2];
    while (true) {
      int64_t bytes = 0;
      // "max" is no number: no limit.
      if (absl::SimpleAtoi(FirstLine(absl::StrCat(base, path, file)), &bytes) && bytes > 0) {
        limit = limit == 0 ? bytes : std::min(limit, bytes);
      }
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return limit;
}

int64_t AvailableMemory(const std::string& root) {
  const int64_t available = BytesOf(root + "/proc/meminfo", "MemAvailable");
  const int64_t limit = MemoryLimit(root);
  return limit > 0 && available > 0 ? std::min(available, limit) : available;
}

std::string HostReport(int rank, const RankPlace& place, const std::string& root) {
  return absl::StrCat(
      "rank ", rank, " on ", place.host, " (", place.local_rank + 1, " of ", place.local_size,
      " there)\n  processor: ", OrUnknown(ValueOf(root + "/proc/cpuinfo", "model name")),
      "\n  instruction sets: ", IsaText(), "\n  cores: ", CoresText(root),
      "\n  NUMA nodes: ", NodesText(root), "\n  memory: ", MemoryText(root),
      "\n  huge pages: ", HugePagesText(root),
      "\n  kernel: ", OrUnknown(FirstLine(root + "/proc/sys/kernel/ostype")), " ",
      OrUnknown(FirstLine(root + "/proc/sys/kernel/osrelease")), "\n");
}

}  // namespace tandem
