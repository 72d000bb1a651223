// Lines of the input to prepared requests, in order: one thread reads, several parse and tokenize.
#ifndef TANDEM_COORDINATOR_INPUT_PIPELINE_H_
#define TANDEM_COORDINATOR_INPUT_PIPELINE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/io/line_reader.h"
#include "coordinator/prepare_request.h"

namespace tandem {

struct InputPipelineOptions {
  int num_threads = 2;  // That parse and tokenize.
  int64_t max_line_bytes = 0;
  RequestDefaults defaults;
  RequestOptions parse;
  PrepareOptions prepare;
  std::function<void()> on_ready;  // Called on some thread when Next may have more than before.
};

class InputPipeline {
 public:
  using Item = std::variant<PreparedRequest, RejectedLine>;

  InputPipeline(std::unique_ptr<LineReader> reader, InputPipelineOptions options);
  ~InputPipeline();
  InputPipeline(const InputPipeline&) = delete;
  InputPipeline& operator=(const InputPipeline&) = delete;

  // The next line's item; none where it is not ready yet or the input has ended. The input's error
  // once the items before it are out.
  absl::StatusOr<std::optional<Item>> Next();
  // As Next, and waits for it: none only at the end.
  absl::StatusOr<std::optional<Item>> WaitNext();
  // All items are out.
  bool AtEnd();
  // Bytes of the input behind the items that are out; for progress. -1: the size is not known.
  int64_t total_bytes() const { return total_bytes_; }
  int64_t bytes_taken();

 private:
  // Lines that travel together: what is parsed at a time, in order.
  struct Chunk {
    std::vector<std::string> lines;
    std::vector<int64_t> numbers;
    std::vector<int64_t> too_long_bytes;  // By line; 0: not too long.
    int64_t bytes = 0;
    std::deque<Item> items;
    bool prepared = false;
  };

  void Read();
  absl::StatusOr<std::shared_ptr<Chunk>> ReadChunk();
  void Prepare();
  void PrepareChunk(Chunk& chunk) const;
  absl::StatusOr<std::optional<Item>> NextLocked();

  const std::unique_ptr<LineReader> reader_;
  const InputPipelineOptions options_;
  const int64_t total_bytes_;
  const size_t max_chunks_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Chunk>> chunks_;      // In order, not yet wholly taken.
  std::deque<std::shared_ptr<Chunk>> unprepared_;  // Those nobody works on yet.
  absl::Status read_status_;
  bool read_all_ = false;
  bool stopping_ = false;
  int64_t bytes_taken_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_INPUT_PIPELINE_H_
