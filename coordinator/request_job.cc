#include "coordinator/request_job.h"

#include <chrono>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "coordinator/io/result.h"

namespace tandem {
namespace {

// How often progress is told while nothing comes from the ranks.
constexpr std::chrono::milliseconds kTick(200);

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

RequestJob::RequestJob(RequestJobOptions options, RequestWork& work, InputPipeline& input,
                       ResultWriter& writer, CoordinatorPort& port)
    : options_(std::move(options)), work_(work), input_(input), writer_(writer), port_(port) {}

absl::Status RequestJob::Run() {
  while (true) {
    TANDEM_RETURN_IF_ERROR(Feed());
    SendAll(work_.Dispatch());
    if (options_.on_progress) {
      const auto total = static_cast<double>(input_.total_bytes());
      options_.on_progress(counts_,
                           total > 0 ? static_cast<double>(input_.bytes_taken()) / total : -1.0);
    }
    if (work_.idle() && !held_.has_value() && input_.AtEnd()) break;
    std::optional<Envelope> message = port_.Receive(kTick);
    TANDEM_RETURN_IF_ERROR(port_.failure());
    while (message.has_value()) {
      LogEncoded(*message);
      TANDEM_RETURN_IF_ERROR(work_.Handle(*message));
      message = port_.Receive(std::chrono::milliseconds(0));
    }
    TANDEM_ASSIGN_OR_RETURN(const std::vector<FinishedRequest> finished, work_.TakeFinished());
    for (const FinishedRequest& request : finished) TANDEM_RETURN_IF_ERROR(Write(request));
  }
  SendAll(work_.Dispatch());  // The last releases.
  return writer_.Finish();
}

absl::Status RequestJob::Feed() {
  while (work_.WantsRequests()) {
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
      TANDEM_RETURN_IF_ERROR(Write({.number = next_number_++, .rejected = rejected}));
    } else {
      TANDEM_RETURN_IF_ERROR(Admit(std::get<PreparedRequest>(std::move(item))));
    }
  }
  return absl::OkStatus();
}

absl::Status RequestJob::Admit(PreparedRequest prepared) {
  const int64_t number = next_number_++;
  if (!ids_.Insert(prepared.request.id.key)) {
    const RequestError error = DuplicateIdError(prepared.request.id.json);
    return Write({.number = number, .rejected = Reject(prepared.request, error)});
  }
  work_.Start(number, std::move(prepared));
  return absl::OkStatus();
}

absl::Status RequestJob::Write(const FinishedRequest& finished) {
  if (finished.rejected.has_value()) {
    ++counts_.errors[static_cast<int>(finished.rejected->error.code)];
    if (!options_.on_failed) {
      return writer_.Write(finished.number, FormatError(*finished.rejected));
    }
    options_.on_failed(*finished.rejected);
    return writer_.Write(finished.number, "");
  }
  ++counts_.answered;
  counts_.prompt_tokens += finished.prompt_tokens;
  counts_.completion_tokens += finished.completion_tokens;
  return writer_.Write(finished.number, finished.line);
}

void RequestJob::SendAll(std::vector<CoordinatorPort::Outgoing> messages) {
  for (CoordinatorPort::Outgoing& message : messages) {
    port_.Send(message.destination, message.kind, std::move(message.payload));
  }
}

}  // namespace tandem
