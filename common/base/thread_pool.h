// A rank's compute threads: a fixed team that runs one function at a time, with fixed partitions.
//
// The calling thread is member 0; the others wait for work on one barrier that spins briefly and
// then sleeps on a futex (with fewer cores than threads it does not spin). Every member runs with
// round-to-nearest, flush-to-zero and denormals-are-zero (the caller's MXCSR is set by the
// constructor; see SetComputeFloatMode). Nothing allocates after construction.
#ifndef TANDEM_COMMON_BASE_THREAD_POOL_H_
#define TANDEM_COMMON_BASE_THREAD_POOL_H_

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"

namespace tandem {

// Round-to-nearest, flush-to-zero, denormals-are-zero for the calling thread. Every thread that
// computes calls it before its first float; bits depend on it.
void SetComputeFloatMode();

class ThreadPool {
 public:
  // num_threads >= 1, the caller among them. Threads inherit the caller's CPU affinity;
  // member i > 0 is pinned to the (i mod n)-th of its n CPUs when `pin` is set and num_threads <=
  // n.
  explicit ThreadPool(int num_threads, bool pin = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const;

  // Runs body(thread) once on every member; returns when all are done. Not reentrant.
  void Run(absl::FunctionRef<void(int thread)> body);

  // Cuts [0, count) into num_threads() contiguous ranges whose lengths differ by at most one
  // (in units of `grain`) and runs body(begin, end, thread) on those that are not empty.
  void ParallelFor(int64_t count, int64_t grain,
                   absl::FunctionRef<void(int64_t begin, int64_t end, int thread)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_BASE_THREAD_POOL_H_
