// The coordinator's part of `tandem forward`: one batch through the encoder and, teacher-forced,
// through the decoder, with every state wanted, assembled to padded tensors.
#ifndef TANDEM_COORDINATOR_FORWARD_JOB_H_
#define TANDEM_COORDINATOR_FORWARD_JOB_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/parallel/layout_groups.h"
#include "common/protocol/coordinator_port.h"
#include "common/protocol/messages.h"

namespace tandem {

// Token ids [rows, columns] with a mask; padding may be anywhere. Positions are column indices.
struct PaddedTokens {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<int32_t> ids;    // [rows * columns]
  std::vector<uint8_t> valid;  // [rows * columns]
};

// A padded float tensor [rows, columns, features]; zeros where the mask is 0.
struct PaddedStates {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t features = 0;
  std::vector<float> data;
};

struct ForwardJobOptions {
  PaddedTokens encoder;
  PaddedTokens decoder;
  bool taps = false;
  int64_t vocab_size = 0;
};

// Runs on its own thread of rank 0 against the first encoder and the first decoder group. Result by
// tensor name as `forward` writes them. Errors: a rank's message that makes no sense.
absl::StatusOr<std::map<std::string, PaddedStates>> RunForwardJob(
    const ForwardJobOptions& options, const std::vector<LayoutGroup>& groups,
    CoordinatorPort& port);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_FORWARD_JOB_H_
