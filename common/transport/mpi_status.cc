#include "common/transport/mpi_status.h"

#include <mpi.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"

namespace tandem {

absl::Status MpiStatus(int code, const MpiCallSite& site) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  return WithExitCode(
      absl::UnavailableError(absl::StrCat(
          site.operation, " #", site.sequence, " of rank ", site.world_rank, ": MPI error ", code,
          length > 0 ? ": " : "", std::string(text, static_cast<size_t>(length)))),
      ExitCode::kLostRank);
}

}  // namespace tandem
