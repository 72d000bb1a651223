// How a rank waits for messages: it polls, yields at first, then sleeps for longer and longer, so
// that a waiting rank takes no core from a computing one.
#ifndef TANDEM_COMMON_PARALLEL_WAITING_H_
#define TANDEM_COMMON_PARALLEL_WAITING_H_

#include <chrono>
#include <optional>

#include "absl/status/statusor.h"
#include "common/parallel/world.h"

namespace tandem {

// For loops that poll: Wait() after a turn that found nothing, Reset() after one that did.
class Backoff {
 public:
  // longest_sleep bounds how late an arrival is seen.
  explicit Backoff(std::chrono::microseconds longest_sleep = std::chrono::microseconds(200))
      : longest_sleep_(longest_sleep) {}

  void Wait();
  void Reset() {
    yields_ = 0;
    sleep_ = kFirstSleep;
  }

 private:
  static constexpr int kYields = 64;  // About 50 us where no other thread wants the core.
  static constexpr std::chrono::microseconds kFirstSleep{10};

  std::chrono::microseconds longest_sleep_;
  std::chrono::microseconds sleep_ = kFirstSleep;
  int yields_ = 0;
};

// The next message; none if `timeout` passes first. Errors: Poll()'s.
absl::StatusOr<std::optional<Envelope>> WaitForMessage(World& world,
                                                       std::chrono::milliseconds timeout);

}  // namespace tandem

#endif  // TANDEM_COMMON_PARALLEL_WAITING_H_
