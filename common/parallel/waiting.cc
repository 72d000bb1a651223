#include "common/parallel/waiting.h"

#include <algorithm>
#include <thread>

#include "common/base/status_macros.h"

namespace tandem {

void Backoff::Wait() {
  if (yields_ < kYields) {
    ++yields_;
    std::this_thread::yield();
    return;
  }
  std::this_thread::sleep_for(std::min(sleep_, longest_sleep_));
  sleep_ = std::min(2 * sleep_, longest_sleep_);
}

absl::StatusOr<std::optional<Envelope>> WaitForMessage(World& world,
                                                       std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  Backoff backoff;
  while (true) {
    TANDEM_ASSIGN_OR_RETURN(std::optional<Envelope> message, world.Poll());
    if (message.has_value() || std::chrono::steady_clock::now() >= deadline) return message;
    backoff.Wait();
  }
}

}  // namespace tandem
