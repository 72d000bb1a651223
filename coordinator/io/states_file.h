// embed --pooling none: whole states, a tensor [tokens, hidden] of f32 for each id, as one
// safetensors file. What is in the file's header is known only at the end, so the data wait in a
// nameless file beside it until then; of each tensor only its name and size stay in memory.
#ifndef TANDEM_COORDINATOR_IO_STATES_FILE_H_
#define TANDEM_COORDINATOR_IO_STATES_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "coordinator/io/result_writer.h"

namespace tandem {

class StatesFile : public ResultSink {
 public:
  // `output`: the file that will hold them; the data wait in its folder.
  static absl::StatusOr<std::unique_ptr<StatesFile>> Open(const std::string& output);
  ~StatesFile() override;

  // A tensor [rows, data.size() / rows] as a result for Add.
  static std::string Encode(absl::string_view name, int64_t rows, absl::Span<const float> data);

  absl::Status Add(absl::string_view result) override;
  absl::Status Finish(int fd) override;

 private:
  explicit StatesFile(std::string output) : output_(std::move(output)) {}
  absl::Status Failed(absl::string_view what, int error) const;

  const std::string output_;
  int fd_ = -1;         // The data.
  std::string header_;  // Of the tensors so far, without the closing brace.
  int64_t num_bytes_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_STATES_FILE_H_
