// A stage's part on one rank, as the worker's loop sees it: messages go in, pieces of work are done
// together by the ranks of a group.
#ifndef TANDEM_WORKER_STAGE_STAGE_H_
#define TANDEM_WORKER_STAGE_STAGE_H_

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "common/parallel/communicator.h"
#include "common/parallel/layout_groups.h"
#include "common/parallel/world.h"
#include "common/protocol/messages.h"

namespace tandem {

// Sends one message to a world rank.
using SendFunction =
    std::function<absl::Status(int destination, MessageKind kind, std::vector<std::byte> payload)>;

inline constexpr int kCoordinatorRank = 0;

class Stage {
 public:
  virtual ~Stage() = default;

  // Takes a message that is for this stage; never computes. DATA_LOSS for a damaged one.
  virtual absl::Status Handle(const Envelope& message) = 0;
  // On the leader: whether DoWork would do something now.
  virtual bool HasWork() const = 0;
  // One piece of work (an encoder batch, a decoder step). Collective: every rank of the group calls
  // it, the leader decides what is done.
  virtual absl::Status DoWork() = 0;
};

// The root's bytes to every rank of the group, whatever their length.
absl::Status BroadcastBytes(Communicator& group, int root, std::vector<std::byte>& bytes);

// Seconds since the epoch.
double NowSeconds();

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_STAGE_H_
