#include "tests/testing/generate.h"

#include <chrono>

#include "common/base/status_macros.h"
#include "common/parallel/thread_world.h"

namespace tandem {

absl::StatusOr<std::map<SequenceId, SequenceDone>> GenerateAll(
    const Session& session, int max_num_seqs, int64_t max_batch_tokens,
    const std::vector<DispatchRequest>& requests, CoordinatorPort& port, GenerateTrace* trace) {
  DispatcherConfig config;
  config.groups = session.groups();
  config.max_num_seqs = max_num_seqs;
  config.max_batch_tokens = max_batch_tokens;
  Dispatcher dispatcher(config);
  for (const DispatchRequest& request : requests) dispatcher.Add(request);
  std::map<SequenceId, SequenceDone> answers;
  while (true) {
    for (CoordinatorPort::Outgoing& message : dispatcher.Dispatch()) {
      port.Send(message.destination, message.kind, std::move(message.payload));
    }
    if (dispatcher.idle()) break;
    const std::optional<Envelope> message = port.Receive(std::chrono::milliseconds(1000));
    TANDEM_RETURN_IF_ERROR(port.failure());
    if (!message.has_value()) continue;
    if (trace != nullptr && static_cast<MessageKind>(message->kind) == MessageKind::kEncoded) {
      TANDEM_ASSIGN_OR_RETURN(Encoded encoded, Encoded::Decode(message->payload));
      trace->batches.push_back(encoded);
    }
    TANDEM_RETURN_IF_ERROR(dispatcher.Handle(*message));
    for (SequenceDone& done : dispatcher.TakeDone()) {
      const SequenceId id = done.id;
      answers[id] = std::move(done);
    }
  }
  if (trace != nullptr) trace->counts = dispatcher.counts();
  return answers;
}

absl::StatusOr<std::map<SequenceId, SequenceDone>> GenerateInThreads(
    int ranks, const SessionSettings& settings, int64_t max_batch_tokens,
    const std::vector<DispatchRequest>& requests, GenerateTrace* trace) {
  std::map<SequenceId, SequenceDone> answers;
  const absl::Status status = RunRanksOrAbort(ranks, [&](World& world) {
    SetComputeFloatMode();
    return RunJob(world, settings, absl::OkStatus(),
                  [&](Session& session, CoordinatorPort& port) -> absl::Status {
                    absl::StatusOr<std::map<SequenceId, SequenceDone>> got = GenerateAll(
                        session, settings.max_num_seqs, max_batch_tokens, requests, port, trace);
                    if (got.ok()) answers = *std::move(got);
                    return got.status();
                  })
        .status;
  });
  TANDEM_RETURN_IF_ERROR(status);
  return answers;
}

}  // namespace tandem
