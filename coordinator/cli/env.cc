// tandem env, and the texts of --version: what a bug report needs.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/kernels/isa.h"
#include "common/transport/connect.h"
#include "common/transport/host_info.h"
#include "coordinator/cli/host_report.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/cli/version.h"

namespace tandem {
namespace {

std::string IsaList() {
  std::vector<absl::string_view> names;
  for (const Isa isa : SupportedIsas()) names.push_back(NameOf(isa));
  return absl::StrJoin(names, ", ");
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
  const absl::StatusOr<std::vector<RankPlace>> places = GatherPlaces(world);
  if (!places.ok()) return Conclude(world, {.status = places.status(), .agreed = false});
  const std::string mine = HostReport(world.rank(), (*places)[static_cast<size_t>(world.rank())]);
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
