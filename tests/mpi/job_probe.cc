// A program that joins its job as tandem does, and then does what its argument says; the tests look
// at exit codes and output.
//   job_probe connect      print this rank's place, end
//   job_probe abort CODE   the last rank aborts the job while the others wait for it
//   job_probe exit CODE    the last rank exits without a word, which ends the job too
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "common/base/exit_code.h"
#include "common/transport/connect.h"
#include "common/transport/host_info.h"

namespace tandem {
namespace {

// What a program's main does with an error.
int Fail(const absl::Status& status) {
  std::fprintf(stderr, "job_probe: %s\n", std::string(status.message()).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

int Run(const std::string& what, int code) {
  absl::StatusOr<std::unique_ptr<World>> world = ConnectWorld();
  if (!world.ok()) return Fail(world.status());
  const auto places = GatherPlaces(**world);
  if (!places.ok()) return Fail(places.status());
  const int rank = (*world)->rank();
  const RankPlace& place = (*places)[static_cast<size_t>(rank)];
  const std::string header = GetMpiVersions().header;
  std::printf("rank %d of %d, %d of %d on %s, built with %s\n", rank, (*world)->size(),
              place.local_rank, place.local_size, place.host.c_str(), header.c_str());
  if (what == "connect") return 0;

  if (rank == (*world)->size() - 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // Let the others wait first.
    if (what == "abort") (*world)->Abort(code);
    std::_Exit(code);
  }
  std::vector<int> ranks(static_cast<size_t>((*world)->size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  const auto group = (*world)->MakeGroup(ranks);
  return group.ok() ? 0 : Fail(group.status());
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  return tandem::Run(argc > 1 ? argv[1] : "connect", argc > 2 ? std::atoi(argv[2]) : 0);
}
