// The door between the coordinator and the job's messages. The coordinator runs on a thread of its
// own on rank 0; the thread that talks to the other ranks (the rank's worker, or a bare pump)
// delivers what is for it and takes what it sends.
#ifndef TANDEM_COMMON_PROTOCOL_COORDINATOR_PORT_H_
#define TANDEM_COMMON_PROTOCOL_COORDINATOR_PORT_H_

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/parallel/world.h"
#include "common/protocol/messages.h"

namespace tandem {

// Thread-safe; both queues are bounded by the credit of the protocol.
class CoordinatorPort {
 public:
  struct Outgoing {
    int destination = 0;
    MessageKind kind = MessageKind::kShutdown;
    std::vector<std::byte> payload;
  };

  // Either side: the job has failed. The first failure stays; both sides see it.
  void Fail(absl::Status failure) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      failure_.Update(std::move(failure));
      woken_ = true;
    }
    wake_.notify_one();
  }
  absl::Status failure() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return failure_;
  }

  // The messaging thread's side.
  void Deliver(Envelope message) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      incoming_.push_back(std::move(message));
    }
    wake_.notify_one();
  }
  // What the coordinator sent meanwhile; its failure, once it has one: the job must then be
  // aborted.
  absl::StatusOr<std::vector<Outgoing>> TakeOutgoing() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_.ok()) return failure_;
    return std::exchange(outgoing_, {});
  }

  // The coordinator's side.
  void Send(int destination, MessageKind kind, std::vector<std::byte> payload) {
    const std::lock_guard<std::mutex> lock(mutex_);
    outgoing_.push_back({destination, kind, std::move(payload)});
  }
  // The next message; waits up to `timeout` for one, or for Wake.
  std::optional<Envelope> Receive(std::chrono::milliseconds timeout) {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait_for(lock, timeout, [this] { return !incoming_.empty() || woken_; });
    woken_ = false;
    if (incoming_.empty()) return std::nullopt;
    Envelope message = std::move(incoming_.front());
    incoming_.pop_front();
    return message;
  }
  // Ends the coordinator's wait: another source of its work has news.
  void Wake() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      woken_ = true;
    }
    wake_.notify_one();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Envelope> incoming_;
  std::vector<Outgoing> outgoing_;
  absl::Status failure_;
  bool woken_ = false;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_PROTOCOL_COORDINATOR_PORT_H_
