// AllReduceSum (fixed order) beside MPI_Allreduce (the library's order), and both ways of the
// former.
//   mpirun -np N allreduce_benchmark [rounds]
// Prints, for each size, the median time of a call in us on rank 0, and bus bandwidth
// (2 (n - 1) / n x bytes / time). With more ranks than cores it shows that waiting ranks yield, and
// nothing else. The columns are measured in turns, so that other work on the machine meets all
// alike.
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "common/base/check.h"
#include "common/transport/mpi_communicator.h"
#include "common/transport/mpi_runtime.h"

namespace tandem {
namespace {

std::unique_ptr<MpiCommunicator> MakeGroup(const MpiRuntime& runtime,
                                           const MpiCollectiveLimits& limits) {
  MPI_Comm comm = MPI_COMM_NULL;
  TANDEM_CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &comm) == MPI_SUCCESS);
  return std::make_unique<MpiCommunicator>(comm, runtime.world_rank(), runtime.world_size(),
                                           runtime.world_rank(), limits);
}

double TimeUs(const std::function<void()>& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

double Median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

int Run(int rounds) {
  auto runtime = MpiRuntime::Start();
  TANDEM_CHECK(runtime.ok());
  const int ranks = (*runtime)->world_size();
  const bool prints = (*runtime)->world_rank() == 0;
  constexpr size_t kNever = std::numeric_limits<size_t>::max();
  const auto chosen = MakeGroup(**runtime, {});
  const auto whole = MakeGroup(**runtime, {.max_whole_sum_bytes = kNever});
  const auto slices = MakeGroup(**runtime, {.max_whole_sum_bytes = 0});
  if (prints) {
    std::printf("%d ranks, %u cores, %s\n", ranks, std::thread::hardware_concurrency(),
                MpiRuntime::LibraryVersion().c_str());
    std::printf("%9s %13s %13s %13s %13s %8s %9s\n", "bytes", "MPI_Allreduce", "AllReduceSum",
                "whole", "slices", "ratio", "bus GB/s");
  }
  for (size_t bytes = 256; bytes <= (size_t{4} << 20); bytes *= 2) {
    std::vector<float> data(bytes / sizeof(float), 0.0f);  // Zeros: sums of sums stay finite.
    const auto reduce_by = [&](MpiCommunicator& group) {
      TANDEM_CHECK(group.AllReduceSum(absl::MakeSpan(data)).ok());
    };
    const std::function<void()> calls[] = {
        [&] {
          MPI_Allreduce(MPI_IN_PLACE, data.data(), static_cast<int>(data.size()), MPI_FLOAT,
                        MPI_SUM, MPI_COMM_WORLD);
        },
        [&] { reduce_by(*chosen); }, [&] { reduce_by(*whole); }, [&] { reduce_by(*slices); }};
    std::vector<double> times[4];
    const int size_rounds = bytes <= (size_t{256} << 10) ? rounds : std::max(rounds / 8, 10);
    for (int round = 0; round < size_rounds; ++round) {
      for (int i = 0; i < 4; ++i) {
        MPI_Barrier(MPI_COMM_WORLD);
        times[i].push_back(TimeUs(calls[i]));
      }
    }
    if (!prints) continue;
    double median[4];
    for (int i = 0; i < 4; ++i) median[i] = Median(times[i]);
    const double volume = 2.0 * (ranks - 1) / ranks * static_cast<double>(bytes);
    std::printf("%9zu %13.1f %13.1f %13.1f %13.1f %8.2f %9.2f\n", bytes, median[0], median[1],
                median[2], median[3], median[1] / median[0], volume / median[1] / 1e3);
  }
  return 0;
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) { return tandem::Run(argc > 1 ? std::atoi(argv[1]) : 500); }
