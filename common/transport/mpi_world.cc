#include "common/transport/mpi_world.h"

#include <limits>
#include <numeric>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/parallel/group_ranks.h"

namespace tandem {
namespace {

constexpr int kMakeGroupTag = 3;  // No other call of MPI uses it; see MPI_Comm_create_group.

}  // namespace

absl::StatusOr<std::unique_ptr<MpiWorld>> MpiWorld::Connect(std::unique_ptr<MpiRuntime> runtime,
                                                            const Limits& limits) {
  // Of its own, so that no other user of MPI in the process can take its messages.
  MPI_Comm comm = MPI_COMM_NULL;
  const MpiCallSite site{.operation = "Connect", .world_rank = runtime->world_rank()};
  TANDEM_RETURN_IF_ERROR(MpiStatus(MPI_Comm_dup(MPI_COMM_WORLD, &comm), site));
  auto world = absl::WrapUnique(new MpiWorld(std::move(runtime), comm, limits));
  TANDEM_RETURN_IF_ERROR(MpiStatus(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), site));
  return world;
}

absl::StatusOr<std::unique_ptr<Communicator>> MpiWorld::MakeGroup(absl::Span<const int> ranks) {
  TANDEM_ASSIGN_OR_RETURN(const int index, FindInGroup(ranks, rank(), size()));
  const MpiCallSite site = NextCall("MakeGroup");
  MPI_Group everyone = MPI_GROUP_NULL;
  MPI_Group members = MPI_GROUP_NULL;
  TANDEM_RETURN_IF_ERROR(MpiStatus(MPI_Comm_group(comm_.get(), &everyone), site));
  int code = MPI_Group_incl(everyone, static_cast<int>(ranks.size()), ranks.data(), &members);
  MPI_Group_free(&everyone);
  TANDEM_RETURN_IF_ERROR(MpiStatus(code, site));
  MPI_Comm comm = MPI_COMM_NULL;
  code = MPI_Comm_create_group(comm_.get(), members, kMakeGroupTag, &comm);
  MPI_Group_free(&members);
  TANDEM_RETURN_IF_ERROR(MpiStatus(code, site));
  auto group = std::make_unique<MpiCommunicator>(comm, index, static_cast<int>(ranks.size()),
                                                 rank(), limits_.collectives);
  TANDEM_RETURN_IF_ERROR(MpiStatus(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), site));
  return group;
}

absl::StatusOr<std::vector<std::vector<std::byte>>> MpiWorld::Gather(
    absl::Span<const std::byte> mine) {
  const MpiCallSite site = NextCall("Gather");
  const auto num_ranks = static_cast<size_t>(size());
  std::vector<uint64_t> sizes(num_ranks);
  const uint64_t my_size = mine.size();
  TANDEM_RETURN_IF_ERROR(MpiStatus(
      MPI_Allgather(&my_size, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, comm_.get()), site));
  const uint64_t total = std::accumulate(sizes.begin(), sizes.end(), uint64_t{0});
  if (total > static_cast<uint64_t>(std::numeric_limits<int>::max())) {  // On all ranks alike.
    return absl::ResourceExhaustedError(
        absl::StrCat("Gather of ", total, " bytes: it is for start-up, and takes 2 GiB at most"));
  }
  std::vector<int> counts(sizes.begin(), sizes.end());
  std::vector<int> offsets(num_ranks, 0);
  std::partial_sum(counts.begin(), counts.end() - 1, offsets.begin() + 1);
  std::vector<std::byte> bytes(total);
  TANDEM_RETURN_IF_ERROR(
      MpiStatus(MPI_Allgatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, bytes.data(),
                               counts.data(), offsets.data(), MPI_BYTE, comm_.get()),
                site));
  std::vector<std::vector<std::byte>> parts;
  for (size_t r = 0; r < num_ranks; ++r) {
    const auto begin = bytes.begin() + offsets[r];
    parts.emplace_back(begin, begin + counts[r]);
  }
  return parts;
}

}  // namespace tandem
