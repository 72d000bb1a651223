// Generation in one process for tests: requests as token ids through the dispatcher and real ranks.
#ifndef TANDEM_TESTS_TESTING_GENERATE_H_
#define TANDEM_TESTS_TESTING_GENERATE_H_

#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/cli/run_job.h"
#include "coordinator/dispatcher.h"

namespace tandem {

// What a test may look at beside the answers.
struct GenerateTrace {
  std::vector<Encoded> batches;
  DispatchCounts counts;
};

// On the coordinator's thread: answers by sequence id. All requests are there from the start.
absl::StatusOr<std::map<SequenceId, SequenceDone>> GenerateAll(
    const Session& session, int max_num_seqs, int64_t max_batch_tokens,
    const std::vector<DispatchRequest>& requests, CoordinatorPort& port,
    GenerateTrace* trace = nullptr);

// A whole job: ranks as threads.
absl::StatusOr<std::map<SequenceId, SequenceDone>> GenerateInThreads(
    int ranks, const SessionSettings& settings, int64_t max_batch_tokens,
    const std::vector<DispatchRequest>& requests, GenerateTrace* trace = nullptr);

}  // namespace tandem

#endif  // TANDEM_TESTS_TESTING_GENERATE_H_
