// generate and score: a request's prompts go to the encoder, its sequences to a decoder group;
// when the last sequence is done, its result is made.
#ifndef TANDEM_COORDINATOR_DECODE_WORK_H_
#define TANDEM_COORDINATOR_DECODE_WORK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/text/tokenizer.h"
#include "coordinator/answer_text.h"
#include "coordinator/dispatcher.h"
#include "coordinator/request_work.h"

namespace tandem {

// A request whose sequences are done: those of its first prompt, then those of the next...
struct DecodedRequest {
  int64_t number = 0;
  Request request;
  int64_t num_prompts = 0;
  int64_t prompt_tokens = 0;
  bool truncated = false;
  std::vector<SequenceDone> sequences;
};

class DecodeWork : public RequestWork {
 public:
  using Format = std::function<FinishedRequest(const DecodedRequest&)>;

  // `tokenizer` finds stop strings while their tokens come; null: the model folder has none.
  DecodeWork(DispatcherConfig config, const Tokenizer* tokenizer, Format format);

  bool WantsRequests() const override { return dispatcher_.WantsRequests(); }
  void Start(int64_t number, PreparedRequest request) override;
  absl::Status Handle(const Envelope& message) override;
  std::vector<CoordinatorPort::Outgoing> Dispatch() override { return dispatcher_.Dispatch(); }
  absl::StatusOr<std::vector<FinishedRequest>> TakeFinished() override;
  bool idle() const override { return dispatcher_.idle(); }
  const DispatchCounts& counts() const override { return dispatcher_.counts(); }

 private:
  struct Waiting {
    DecodedRequest decoded;
    size_t left = 0;  // Sequences that are not done.
  };
  struct Sequence {
    std::shared_ptr<Waiting> waiting;
    size_t place = 0;                  // Among its request's sequences.
    std::unique_ptr<AnswerText> text;  // While stop strings are looked for.
  };

  void Follow(const Dispatcher::StreamEvent& event);

  Dispatcher dispatcher_;
  const Tokenizer* const tokenizer_;
  const Format format_;
  absl::flat_hash_map<SequenceId, Sequence> sequences_;
  SequenceId next_id_ = 0;
  std::vector<FinishedRequest> finished_;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_DECODE_WORK_H_
