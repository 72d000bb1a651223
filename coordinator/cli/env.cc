// tandem env, and the texts of --version: what a bug report needs.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/kernels/cpu_ops.h"
#include "common/transport/connect.h"
#include "common/transport/host_info.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/cli/version.h"

namespace tandem {
namespace {

std::string FirstLine(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line.empty() ? "unknown" : line;
}

// The value behind "key" of a file of "key : value" lines.
std::string ValueOf(const char* path, const std::string& key) {
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "unknown";
}

std::string IsaList() {
  std::vector<absl::string_view> names;
  for (const Isa isa : SupportedIsas()) names.push_back(NameOf(isa));
  return absl::StrJoin(names, ", ");
}

// One rank's host in lines.
std::string HostText(int rank) {
  return absl::StrCat(
      "rank ", rank, " on ", HostName(), "\n  processor: ", ValueOf("/proc/cpuinfo", "model name"),
      "\n  instruction sets: ", IsaList(),
      "\n  cores allowed: ", ValueOf("/proc/self/status", "Cpus_allowed_list"), " of ",
      sysconf(_SC_NPROCESSORS_ONLN), "\n  memory: ", ValueOf("/proc/meminfo", "MemTotal"),
      " in all, ", ValueOf("/proc/meminfo", "MemAvailable"),
      " available\n  huge pages: ", FirstLine("/sys/kernel/mm/transparent_hugepage/enabled"),
      "\n  kernel: ", FirstLine("/proc/version"), "\n");
}

}  // namespace

std::string VersionText() { return kVersion; }
std::string CommitText() { return kCommit; }

std::string FullVersionText() {
  const MpiVersions mpi = GetMpiVersions();
  std::string text = absl::StrCat("tandem ", kVersion, " (", kCommit, ")\ncompiler: ", kCompiler,
                                  "\nMPI built with: ", mpi.header, "\n");
  if (!mpi.library.empty()) absl::StrAppend(&text, "MPI at run time: ", mpi.library, "\n");
  absl::StrAppend(&text, "backends: CPU\ninstruction sets: ", IsaList(), "\n");
  return text;
}

ExitCode RunEnv(World& world) {
  const std::string mine = HostText(world.rank());
  absl::StatusOr<std::vector<std::vector<std::byte>>> all = world.Gather(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(mine.data()), mine.size()));
  if (!all.ok()) return Conclude(world, {.status = all.status(), .agreed = false});
  if (world.rank() != kCoordinatorRank) return ExitCode::kOk;
  std::string text = FullVersionText();
  for (const std::vector<std::byte>& bytes : *all) {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  std::fputs(text.c_str(), stdout);
  return ExitCode::kOk;
}

}  // namespace tandem
