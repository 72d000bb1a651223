// What is done with requests, as the job's loop sees it: generate and score (DecodeWork), embed
// (EmbedWork). No threads, no I/O: messages to and from the ranks pass through.
#ifndef TANDEM_COORDINATOR_REQUEST_WORK_H_
#define TANDEM_COORDINATOR_REQUEST_WORK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/protocol/coordinator_port.h"
#include "coordinator/io/request.h"
#include "coordinator/prepare_request.h"

namespace tandem {

// A request that is through.
struct FinishedRequest {
  int64_t number = 0;                         // As Start was given it.
  std::string line = {};                      // Its result, without the newline.
  std::optional<RejectedLine> rejected = {};  // Why it has none.
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

class RequestWork {
 public:
  virtual ~RequestWork() = default;

  // Whether more requests help to form batches.
  virtual bool WantsRequests() const = 0;
  virtual void Start(int64_t number, PreparedRequest request) = 0;
  // Takes a rank's message. INTERNAL / DATA_LOSS when it makes no sense.
  virtual absl::Status Handle(const Envelope& message) = 0;
  // What can be sent now; call after Start and Handle.
  virtual std::vector<CoordinatorPort::Outgoing> Dispatch() = 0;
  // Since the last call, in the order in which they ended.
  virtual absl::StatusOr<std::vector<FinishedRequest>> TakeFinished() = 0;
  virtual bool idle() const = 0;
  virtual const DispatchCounts& counts() const = 0;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_REQUEST_WORK_H_
