// The coordinator's part of the verbs that take requests: lines from the input pipeline to the work
// that is done with them, results to the writer. Runs on one thread of rank 0, and talks to the
// ranks through its port.
#ifndef TANDEM_COORDINATOR_REQUEST_JOB_H_
#define TANDEM_COORDINATOR_REQUEST_JOB_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "common/parallel/layout.h"
#include "common/protocol/coordinator_port.h"
#include "coordinator/input_pipeline.h"
#include "coordinator/io/id_set.h"
#include "coordinator/io/result_writer.h"
#include "coordinator/request_work.h"

namespace tandem {

// What the job has done so far.
struct JobCounts {
  int64_t requests = 0;
  int64_t answered = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t errors[kNumRequestErrorCodes] = {};

  int64_t failed() const { return requests - answered; }
};

struct RequestJobOptions {
  // Called now and then with what is done and the share of the input taken (-1: not known).
  std::function<void(const JobCounts& counts, double share)> on_progress;
  // Takes requests that fail, where results are no JSON lines: theirs stay empty. Null: error
  // results are written.
  std::function<void(const RejectedLine& rejected)> on_failed;
};

class RequestJob {
 public:
  // Borrows all but the options.
  RequestJob(RequestJobOptions options, RequestWork& work, InputPipeline& input,
             ResultWriter& writer, CoordinatorPort& port);

  // Until every line has its result and the output is complete. Errors: the input's, the output's
  // (the writer's messages), or a bug.
  absl::Status Run();

  const JobCounts& counts() const { return counts_; }

 private:
  absl::Status Feed();
  absl::Status Admit(PreparedRequest prepared);
  absl::Status Write(const FinishedRequest& finished);
  void SendAll(std::vector<CoordinatorPort::Outgoing> messages);

  const RequestJobOptions options_;
  RequestWork& work_;
  InputPipeline& input_;
  ResultWriter& writer_;
  CoordinatorPort& port_;
  IdSet ids_;
  std::optional<InputPipeline::Item> held_;  // Taken, but the reorder window is full.
  int64_t next_number_ = 0;
  JobCounts counts_;
};

// Says to all ranks that no more work comes: the schedulers pass it on to their islands.
void SendShutdown(const Layout& layout, CoordinatorPort& port);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_REQUEST_JOB_H_
