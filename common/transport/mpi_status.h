// MPI's return codes as Statuses; the one place that turns them.
#ifndef TANDEM_COMMON_TRANSPORT_MPI_STATUS_H_
#define TANDEM_COMMON_TRANSPORT_MPI_STATUS_H_

#include <cstdint>

#include "absl/status/status.h"

namespace tandem {

// Where a call was made: "AllReduceSum #12 of rank 3".
struct MpiCallSite {
  const char* operation = "";
  int world_rank = 0;
  int64_t sequence = 0;  // Of this rank's calls on this communicator.
};

// OK for MPI_SUCCESS; else UNAVAILABLE (kLostRank) with the place and MPI's words.
absl::Status MpiStatus(int code, const MpiCallSite& site);

}  // namespace tandem

#endif  // TANDEM_COMMON_TRANSPORT_MPI_STATUS_H_
