#include "coordinator/embed_work.h"

#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tandem {

EmbedWork::EmbedWork(const std::vector<LayoutGroup>& groups, int64_t max_batch_tokens,
                     Pooling pooling, Format format)
    : groups_(groups),
      max_batch_tokens_(max_batch_tokens),
      pooling_(pooling),
      format_(std::move(format)),
      encoders_(groups) {}

void EmbedWork::Start(int64_t number, PreparedRequest request) {
  auto waiting = std::make_shared<Waiting>();
  EmbeddedRequest& embedded = waiting->embedded;
  embedded.number = number;
  embedded.prompt_tokens = request.prompt_tokens();
  embedded.truncated = request.truncated;
  embedded.request = std::move(request.request);
  embedded.prompts.resize(request.prompts.size());
  waiting->left = request.prompts.size();
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    pending_.push_back(
        {.waiting = waiting, .place = i, .ids = std::move(request.prompts[i].encoder_ids)});
  }
}

std::vector<CoordinatorPort::Outgoing> EmbedWork::Dispatch() {
  std::vector<CoordinatorPort::Outgoing> out;
  while (SendBatch(out)) {
  }
  return out;
}

bool EmbedWork::SendBatch(std::vector<CoordinatorPort::Outgoing>& out) {
  const int encoder = encoders_.FreeGroup();
  if (pending_.empty() || encoder < 0) return false;
  std::vector<size_t> candidates(std::min(pending_.size(), kPoolPrompts));
  std::iota(candidates.begin(), candidates.end(), 0);
  const std::vector<size_t> chosen = ChooseByLength(
      std::move(candidates),
      [this](size_t i) { return static_cast<int64_t>(pending_[i].ids.size()); }, max_batch_tokens_,
      [](size_t) { return true; });
  EncodeBatch batch;
  batch.batch_id = ++last_batch_;
  batch.encoder_group = encoder;
  batch.decoder_group = -1;
  batch.pooling = pooling_;
  for (const size_t i : chosen) {
    Prompt& prompt = pending_[i];
    const auto [key, fresh] = keys_.try_emplace(prompt.ids, last_key_ + 1);
    if (fresh) {
      ++last_key_;
      batch.items.push_back({.key = key->second, .token_ids = prompt.ids, .positions = {}});
    } else {
      ++counts_.prompts_shared;
    }
    in_flight_[key->second].push_back(std::move(prompt));
  }
  for (size_t i = chosen.size(); i-- > 0;) {
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(chosen[i]));
  }
  if (batch.items.empty()) return true;  // All were on their way already.
  ++counts_.encoder_batches;
  counts_.prompts_encoded += static_cast<int64_t>(batch.items.size());
  encoders_.Sent(encoder);
  out.push_back(
      {groups_[static_cast<size_t>(encoder)].leader(), MessageKind::kEncodeBatch, batch.Encode()});
  return true;
}

absl::Status EmbedWork::Handle(const Envelope& message) {
  switch (static_cast<MessageKind>(message.kind)) {
    case MessageKind::kEncoded: {
      TANDEM_ASSIGN_OR_RETURN(const Encoded encoded, Encoded::Decode(message.payload));
      return encoders_.Encoded(encoded.encoder_group);
    }
    case MessageKind::kEmbedded: {
      TANDEM_ASSIGN_OR_RETURN(const EncoderOutput output, EncoderOutput::Decode(message.payload));
      return Take(output);
    }
    default:
      return absl::InternalError(absl::StrCat("message ", message.kind, " at the coordinator"));
  }
}

absl::Status EmbedWork::Take(const EncoderOutput& output) {
  const auto found = in_flight_.find(output.key);
  const size_t rows = found == in_flight_.end()    ? 0
                      : pooling_ == Pooling::kNone ? found->second.front().ids.size()
                                                   : 1;
  // Divided, so that no product overflows.
  const size_t row_bytes = rows == 0 ? 0 : output.data.size() / rows;
  if (output.rows != rows || output.bf16 != 0 || row_bytes == 0 || output.data.size() % rows != 0 ||
      row_bytes % sizeof(float) != 0 || output.hidden_dim != row_bytes / sizeof(float)) {
    return absl::InternalError(absl::StrCat("embedding ", output.key, " makes no sense"));
  }
  EmbeddedRequest::States states;
  states.rows = static_cast<int64_t>(output.rows);
  states.data.resize(output.data.size() / sizeof(float));
  std::memcpy(states.data.data(), output.data.data(), output.data.size());
  const std::vector<Prompt> prompts = std::move(found->second);
  in_flight_.erase(found);
  keys_.erase(prompts.front().ids);
  for (const Prompt& prompt : prompts) {
    Waiting& waiting = *prompt.waiting;
    waiting.embedded.prompts[prompt.place] = states;
    if (--waiting.left > 0) continue;
    TANDEM_ASSIGN_OR_RETURN(FinishedRequest finished, format_(waiting.embedded));
    finished_.push_back(std::move(finished));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<FinishedRequest>> EmbedWork::TakeFinished() {
  return std::exchange(finished_, {});
}

}  // namespace tandem
