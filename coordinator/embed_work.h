// embed: prompts go to the encoder groups, and what comes back is the result. No decoder.
#ifndef TANDEM_COORDINATOR_EMBED_WORK_H_
#define TANDEM_COORDINATOR_EMBED_WORK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "coordinator/encoder_batches.h"
#include "coordinator/request_work.h"

namespace tandem {

// A request whose prompts are encoded.
struct EmbeddedRequest {
  int64_t number = 0;
  Request request;
  int64_t prompt_tokens = 0;
  bool truncated = false;
  // One a prompt: [1, hidden] pooled, or [tokens, hidden]; f32.
  struct States {
    int64_t rows = 0;
    std::vector<float> data;
  };
  std::vector<States> prompts;
};

class EmbedWork : public RequestWork {
 public:
  using Format = std::function<absl::StatusOr<FinishedRequest>(const EmbeddedRequest&)>;

  EmbedWork(const std::vector<LayoutGroup>& groups, int64_t max_batch_tokens, Pooling pooling,
            Format format);

  bool WantsRequests() const override { return pending_.size() < kPoolPrompts; }
  void Start(int64_t number, PreparedRequest request) override;
  absl::Status Handle(const Envelope& message) override;
  std::vector<CoordinatorPort::Outgoing> Dispatch() override;
  absl::StatusOr<std::vector<FinishedRequest>> TakeFinished() override;
  // The last Encoded too: a message on its way would find nobody.
  bool idle() const override { return pending_.empty() && in_flight_.empty() && encoders_.idle(); }
  const DispatchCounts& counts() const override { return counts_; }

 private:
  static constexpr size_t kPoolPrompts = 512;

  struct Waiting {
    EmbeddedRequest embedded;
    size_t left = 0;  // Prompts that are not encoded.
  };
  struct Prompt {
    std::shared_ptr<Waiting> waiting;
    size_t place = 0;
    std::vector<int32_t> ids;
  };

  bool SendBatch(std::vector<CoordinatorPort::Outgoing>& out);
  absl::Status Take(const EncoderOutput& output);

  const std::vector<LayoutGroup> groups_;
  const int64_t max_batch_tokens_;
  const Pooling pooling_;
  const Format format_;
  EncoderCredit encoders_;
  std::deque<Prompt> pending_;
  // Equal prompts in flight are encoded once: the key of each, and those that it is encoded for.
  absl::flat_hash_map<std::vector<int32_t>, MemoryKey> keys_;
  absl::flat_hash_map<MemoryKey, std::vector<Prompt>> in_flight_;
  MemoryKey last_key_ = 0;
  uint64_t last_batch_ = 0;
  std::vector<FinishedRequest> finished_;
  DispatchCounts counts_;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_EMBED_WORK_H_
