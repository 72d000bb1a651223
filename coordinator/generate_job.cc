#include "coordinator/generate_job.h"

#include <chrono>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

// How often progress is told while nothing comes from the ranks.
constexpr std::chrono::milliseconds kTick(200);

void LogDone(const SequenceDone& done) {
  if (!LogEnabled(LogLevel::kDebug)) return;
  LogDebug(absl::StrFormat("sequence %d decoded from %.6f to %.6f, %d tokens", done.id,
                           done.start_seconds, done.end_seconds, done.completion_tokens));
}

void LogEncoded(const Envelope& message) {
  if (static_cast<MessageKind>(message.kind) != MessageKind::kEncoded) return;
  if (!LogEnabled(LogLevel::kDebug)) return;
  const absl::StatusOr<Encoded> encoded = Encoded::Decode(message.payload);
  if (!encoded.ok()) return;  // The dispatcher reports it.
  LogDebug(absl::StrFormat("batch %d encoded from %.6f to %.6f, %d prompts, %d tokens",
                           encoded->batch_id, encoded->start_seconds, encoded->end_seconds,
                           encoded->items, encoded->tokens));
}

}  // namespace

void SendShutdown(const Layout& layout, CoordinatorPort& port) {
  const std::vector<int> schedulers = IslandSchedulers(layout);
  std::set<int> destinations;
  for (int rank = 0; rank < layout.world_size; ++rank) {
    const int scheduler = schedulers[static_cast<size_t>(rank)];
    destinations.insert(scheduler < 0 ? rank : scheduler);
  }
  for (const int rank : destinations) port.Send(rank, MessageKind::kShutdown, {});
}

GenerateJob::GenerateJob(GenerateJobOptions options, DispatcherConfig config, InputPipeline& input,
                         ResultWriter& writer, CoordinatorPort& port)
    : options_(std::move(options)),
      dispatcher_(std::move(config)),
      input_(input),
      writer_(writer),
      port_(port) {}

absl::Status GenerateJob::Run() {
  while (true) {
    TANDEM_RETURN_IF_ERROR(Feed());
    SendAll(dispatcher_.Dispatch());
    if (options_.on_progress) {
      const auto total = static_cast<double>(input_.total_bytes());
      options_.on_progress(counts_,
                           total > 0 ? static_cast<double>(input_.bytes_taken()) / total : -1.0);
    }
    if (dispatcher_.idle() && !held_.has_value() && input_.AtEnd()) break;
    std::optional<Envelope> message = port_.Receive(kTick);
    TANDEM_RETURN_IF_ERROR(port_.failure());
    while (message.has_value()) {
      LogEncoded(*message);
      TANDEM_RETURN_IF_ERROR(dispatcher_.Handle(*message));
      message = port_.Receive(std::chrono::milliseconds(0));
    }
    for (const SequenceDone& done : dispatcher_.TakeDone()) {
      LogDone(done);
      TANDEM_RETURN_IF_ERROR(WriteDone(done));
    }
  }
  SendAll(dispatcher_.Dispatch());  // The last releases.
  return writer_.Finish();
}

absl::Status GenerateJob::Feed() {
  while (dispatcher_.WantsRequests()) {
    if (!held_.has_value()) {
      TANDEM_ASSIGN_OR_RETURN(held_, input_.Next());
      if (!held_.has_value()) return absl::OkStatus();
    }
    if (!writer_.MayAdmit(next_number_)) return absl::OkStatus();
    InputPipeline::Item item = *std::exchange(held_, std::nullopt);
    ++counts_.requests;
    if (std::holds_alternative<RejectedLine>(item)) {
      const auto& rejected = std::get<RejectedLine>(item);
      // A bad line's own id counts among the job's ids too; its own fault is what it is told.
      if (rejected.id_given) ids_.Insert(rejected.id.key);
      TANDEM_RETURN_IF_ERROR(WriteRejected(rejected));
    } else {
      TANDEM_RETURN_IF_ERROR(Admit(std::get<PreparedRequest>(std::move(item))));
    }
  }
  return absl::OkStatus();
}

absl::Status GenerateJob::Admit(PreparedRequest prepared) {
  if (!ids_.Insert(prepared.request.id.key)) {
    return WriteRejected(Reject(prepared.request, DuplicateIdError(prepared.request.id.json)));
  }
  const auto number = static_cast<SequenceId>(next_number_++);
  waiting_[number] = {.request = std::move(prepared.request),
                      .prompt_tokens = static_cast<int64_t>(prepared.dispatch.encoder_ids.size()),
                      .truncated = prepared.truncated};
  prepared.dispatch.sequence.id = number;
  dispatcher_.Add(std::move(prepared.dispatch));
  return absl::OkStatus();
}

absl::Status GenerateJob::WriteRejected(const RejectedLine& rejected) {
  ++counts_.errors[static_cast<int>(rejected.error.code)];
  return writer_.Write(next_number_++, ErrorLine(rejected));
}

std::string GenerateJob::ErrorLine(const RejectedLine& rejected) const {
  if (!options_.text_format || !options_.on_failed) return FormatError(rejected);
  options_.on_failed(rejected);
  return "";
}

ResultOutput GenerateJob::OutputOf(const SequenceDone& done) const {
  ResultOutput output;
  output.token_ids = done.token_ids;
  if (options_.tokenizer != nullptr) {
    output.text = options_.tokenizer->Decode(done.token_ids, /*skip_special=*/true);
  }
  output.finish_reason =
      done.reason == SequenceEnd::kStop ? FinishReason::kStop : FinishReason::kLength;
  if (done.reason == SequenceEnd::kStop) output.stop_reason = done.stop_token;
  return output;
}

absl::Status GenerateJob::WriteDone(const SequenceDone& done) {
  const auto found = waiting_.find(done.id);
  TANDEM_CHECK(found != waiting_.end());
  const Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  const auto number = static_cast<int64_t>(done.id);
  if (done.reason == SequenceEnd::kNonfinite) {
    const RejectedLine rejected =
        Reject(waiting.request, NonFiniteError(static_cast<int64_t>(done.token_ids.size())));
    ++counts_.errors[static_cast<int>(rejected.error.code)];
    return writer_.Write(number, ErrorLine(rejected));
  }
  Result result;
  result.id = waiting.request.id;
  result.metadata_json = waiting.request.metadata_json;
  result.truncated = waiting.truncated;
  result.prompt_tokens = waiting.prompt_tokens;
  result.completion_tokens = done.completion_tokens;
  ResultOutput output = OutputOf(done);
  if (waiting.request.logprobs.has_value()) {
    const auto text_of = [this](int32_t id) {
      return options_.tokenizer == nullptr ? std::string() : options_.tokenizer->TokenText(id);
    };
    output.cumulative_logprob = done.cumulative_logprob;
    output.logprobs.emplace();
    for (size_t i = 0; i < done.logprobs.size(); ++i) {
      TokenLogprob entry{.token_id = done.token_ids[i],
                         .token = text_of(done.token_ids[i]),
                         .logprob = done.logprobs[i].logprob,
                         .top = {}};
      for (const Candidate& candidate : done.logprobs[i].top) {
        entry.top.push_back(
            {.token_id = candidate.id, .token = text_of(candidate.id), .logprob = candidate.logit});
      }
      output.logprobs->push_back(std::move(entry));
    }
  }
  result.outputs.push_back(std::move(output));
  ++counts_.answered;
  counts_.prompt_tokens += result.prompt_tokens;
  counts_.completion_tokens += result.completion_tokens;
  return writer_.Write(number,
                       options_.text_format ? FormatResultAsText(result) : FormatResult(result));
}

void GenerateJob::SendAll(std::vector<CoordinatorPort::Outgoing> messages) {
  for (CoordinatorPort::Outgoing& message : messages) {
    port_.Send(message.destination, message.kind, std::move(message.payload));
  }
}

}  // namespace tandem
