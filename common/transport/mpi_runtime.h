// MPI's life: initialised in main, finalised at its end, and nowhere else.
#ifndef TANDEM_COMMON_TRANSPORT_MPI_RUNTIME_H_
#define TANDEM_COMMON_TRANSPORT_MPI_RUNTIME_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/transport/launcher.h"

namespace tandem {

class MpiRuntime {
 public:
  // Initialises MPI for calls by this thread only, with errors returned. Once in a process.
  static absl::StatusOr<std::unique_ptr<MpiRuntime>> Start();
  ~MpiRuntime();  // MPI_Finalize: waits for the other ranks.
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  int world_rank() const { return world_rank_; }
  int world_size() const { return world_size_; }

  // Ends all processes of the job with this code, at once.
  [[noreturn]] static void Abort(int exit_code);

  // These work before Start().
  static MpiBuild Build();
  static std::string HeaderVersion();   // "MPI 3.1, Open MPI 4.1.4"
  static std::string LibraryVersion();  // The library's own words, its first line.

 private:
  MpiRuntime() = default;

  int world_rank_ = 0;
  int world_size_ = 1;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TRANSPORT_MPI_RUNTIME_H_
