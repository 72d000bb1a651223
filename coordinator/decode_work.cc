#include "coordinator/decode_work.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

void LogDone(const SequenceDone& done) {
  if (!LogEnabled(LogLevel::kDebug)) return;
  int64_t tokens = 0;
  for (const SequenceOutput& output : done.outputs) tokens += output.completion_tokens();
  LogDebug(absl::StrFormat("sequence %d decoded from %.6f to %.6f, %d tokens", done.id,
                           done.start_seconds, done.end_seconds, tokens));
}

}  // namespace

DecodeWork::DecodeWork(DispatcherConfig config, const Tokenizer* tokenizer, Format format)
    : dispatcher_(std::move(config)), tokenizer_(tokenizer), format_(std::move(format)) {}

void DecodeWork::Start(int64_t number, PreparedRequest request) {
  auto waiting = std::make_shared<Waiting>();
  waiting->decoded.number = number;
  waiting->decoded.prompt_tokens = request.prompt_tokens();
  waiting->decoded.num_prompts = static_cast<int64_t>(request.prompts.size());
  waiting->decoded.truncated = request.truncated;
  waiting->decoded.request = std::move(request.request);
  for (const DispatchRequest& prompt : request.prompts) waiting->left += prompt.num_samples;
  waiting->decoded.sequences.resize(waiting->left);
  size_t place = 0;
  for (DispatchRequest& prompt : request.prompts) {
    prompt.sequence.id = next_id_;
    for (uint32_t i = 0; i < prompt.num_samples; ++i) {
      sequences_[next_id_++] = {.waiting = waiting, .place = place++, .text = nullptr};
    }
    dispatcher_.Add(std::move(prompt));
  }
}

absl::Status DecodeWork::Handle(const Envelope& message) {
  TANDEM_RETURN_IF_ERROR(dispatcher_.Handle(message));
  for (const Dispatcher::StreamEvent& event : dispatcher_.TakeStreamed()) Follow(event);
  for (SequenceDone& done : dispatcher_.TakeDone()) {
    LogDone(done);
    const auto found = sequences_.find(done.id);
    if (found == sequences_.end()) {
      return absl::InternalError(absl::StrFormat("sequence %d is done twice", done.id));
    }
    if (done.outputs.empty()) {
      return absl::InternalError(absl::StrFormat("sequence %d is done without an output", done.id));
    }
    const std::shared_ptr<Waiting> waiting = found->second.waiting;
    const size_t place = found->second.place;
    sequences_.erase(found);
    waiting->decoded.sequences[place] = std::move(done);
    if (--waiting->left == 0) finished_.push_back(format_(waiting->decoded));
  }
  return absl::OkStatus();
}

// A token of a sequence with stop strings. The result is cut again when all tokens are here; this
// only saves computing those that nobody wants.
void DecodeWork::Follow(const Dispatcher::StreamEvent& event) {
  const auto found = sequences_.find(event.id);
  if (found == sequences_.end() || tokenizer_ == nullptr) return;
  Sequence& sequence = found->second;
  const DecodingOptions& decoding = sequence.waiting->decoded.request.decoding;
  if (event.token < 0) {
    sequence.text = nullptr;
    return;
  }
  if (sequence.text == nullptr) {
    sequence.text = std::make_unique<AnswerText>(*tokenizer_, decoding);
  }
  if (sequence.text->stop() != nullptr) return;  // Its end is on the way.
  if (sequence.text->Push(event.token)) dispatcher_.Finish(event.id);
}

absl::StatusOr<std::vector<FinishedRequest>> DecodeWork::TakeFinished() {
  return std::exchange(finished_, {});
}

}  // namespace tandem
