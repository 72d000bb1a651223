// On which hosts the ranks of a job run.
#ifndef TANDEM_COMMON_TRANSPORT_HOST_INFO_H_
#define TANDEM_COMMON_TRANSPORT_HOST_INFO_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/parallel/world.h"

namespace tandem {

// This machine's name, as gethostname gives it.
std::string HostName();

// A rank's place among the ranks of its host.
struct RankPlace {
  std::string host;
  int local_rank = 0;  // Counted from 0 in rank order.
  int local_size = 1;
};

// Every rank's, by rank. Collective over all ranks. Ranks share a host where its name and the
// kernel's boot id are the same: names alone repeat where all are called "localhost".
absl::StatusOr<std::vector<RankPlace>> GatherPlaces(World& world);

}  // namespace tandem

#endif  // TANDEM_COMMON_TRANSPORT_HOST_INFO_H_
