// The coordinator's part of `tandem generate`: requests from the input pipeline to the ranks,
// finished sequences to the result writer. Runs on one thread of rank 0, and talks to the ranks
// through its port.
#ifndef TANDEM_COORDINATOR_GENERATE_JOB_H_
#define TANDEM_COORDINATOR_GENERATE_JOB_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/protocol/coordinator_port.h"
#include "common/text/tokenizer.h"
#include "coordinator/dispatcher.h"
#include "coordinator/input_pipeline.h"
#include "coordinator/io/id_set.h"
#include "coordinator/io/result.h"
#include "coordinator/io/result_writer.h"

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

struct GenerateJobOptions {
  const Tokenizer* tokenizer = nullptr;  // Null: texts are null.
  bool text_format = false;              // Answers as plain text instead of JSON lines.
  // With text_format: takes the requests that fail, whose lines stay empty.
  std::function<void(const RejectedLine& rejected)> on_failed;
  // Called now and then with what is done and the share of the input taken (-1: not known).
  std::function<void(const JobCounts& counts, double share)> on_progress;
};

class GenerateJob {
 public:
  // Borrows all but the dispatcher's configuration.
  GenerateJob(GenerateJobOptions options, DispatcherConfig config, InputPipeline& input,
              ResultWriter& writer, CoordinatorPort& port);

  // Until every line has its result and the output is complete. Errors: the input's, the output's
  // (the writer's messages), or a bug.
  absl::Status Run();

  const JobCounts& counts() const { return counts_; }
  const DispatchCounts& dispatch_counts() const { return dispatcher_.counts(); }

 private:
  // A request at the ranks; its sequence id is its number among the results.
  struct Waiting {
    Request request;
    int64_t prompt_tokens = 0;
    bool truncated = false;
  };

  absl::Status Feed();
  absl::Status Admit(PreparedRequest prepared);
  absl::Status WriteRejected(const RejectedLine& rejected);
  std::string ErrorLine(const RejectedLine& rejected) const;
  absl::Status WriteDone(const SequenceDone& done);
  ResultOutput OutputOf(const SequenceDone& done) const;
  void SendAll(std::vector<CoordinatorPort::Outgoing> messages);

  const GenerateJobOptions options_;
  Dispatcher dispatcher_;
  InputPipeline& input_;
  ResultWriter& writer_;
  CoordinatorPort& port_;
  IdSet ids_;
  std::optional<InputPipeline::Item> held_;  // Taken, but the reorder window is full.
  absl::flat_hash_map<SequenceId, Waiting> waiting_;
  int64_t next_number_ = 0;
  JobCounts counts_;
};

// Says to all ranks that no more work comes: the schedulers pass it on to their islands.
void SendShutdown(const Layout& layout, CoordinatorPort& port);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_GENERATE_JOB_H_
