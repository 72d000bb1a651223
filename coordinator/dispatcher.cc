#include "coordinator/dispatcher.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/kernels/kv_layout.h"

namespace tandem {
namespace {

uint64_t HashOf(const std::vector<int32_t>& ids) {
  return XXH3_64bits(ids.data(), ids.size() * sizeof(int32_t));
}

int64_t Pages(size_t tokens) {
  return (static_cast<int64_t>(tokens) + kPageTokens - 1) / kPageTokens;
}

}  // namespace

Dispatcher::Dispatcher(DispatcherConfig config)
    : config_(std::move(config)), encoders_(config_.groups), decoders_(config_.groups.size()) {}

int64_t Dispatcher::PagesAtMost(size_t encoder_tokens, const SequenceSpec& sequence) {
  const size_t generated = sequence.target.empty()
                               ? static_cast<size_t>(std::max(sequence.max_tokens, 1))
                               : sequence.target.size();
  // Beams share what they have in common; at worst that is nothing.
  return Pages(encoder_tokens) +
         sequence.beams.num_beams * Pages(sequence.prompt.size() + generated);
}

void Dispatcher::Add(DispatchRequest request) { pending_.push_back(std::move(request)); }

absl::Status Dispatcher::Handle(const Envelope& message) {
  switch (static_cast<MessageKind>(message.kind)) {
    case MessageKind::kEncoded: {
      TANDEM_ASSIGN_OR_RETURN(const Encoded encoded, Encoded::Decode(message.payload));
      return encoders_.Encoded(encoded.encoder_group);
    }
    case MessageKind::kSequenceStarted: {
      TANDEM_ASSIGN_OR_RETURN(const SequenceNote note, SequenceNote::Decode(message.payload));
      const auto found = in_flight_.find(note.id);
      if (found == in_flight_.end()) {
        return absl::InternalError(absl::StrCat("unknown sequence ", note.id, " started"));
      }
      InFlight& flight = found->second;
      counts_.memories_stored += note.stored_memory;
      if (flight.started) return absl::OkStatus();
      flight.started = true;
      DecoderState& decoder = decoders_[static_cast<size_t>(flight.decoder_group)];
      --decoder.unstarted;
      decoder.unstarted_tokens -= flight.encoder_tokens;
      return absl::OkStatus();
    }
    case MessageKind::kSequenceEvicted: {
      TANDEM_ASSIGN_OR_RETURN(const SequenceNote note, SequenceNote::Decode(message.payload));
      ++counts_.evictions;
      const auto found = in_flight_.find(note.id);
      if (found != in_flight_.end() && found->second.sequence.streams != 0) {
        streamed_.push_back({.id = note.id, .token = -1});
      }
      return Leave(note.id, /*evicted=*/true);
    }
    case MessageKind::kSequenceDone: {
      TANDEM_ASSIGN_OR_RETURN(SequenceDone done, SequenceDone::Decode(message.payload));
      TANDEM_RETURN_IF_ERROR(Leave(done.id, /*evicted=*/false));
      counts_.pages_copied += done.pages_copied;
      done_.push_back(std::move(done));
      return absl::OkStatus();
    }
    case MessageKind::kTokens: {
      TANDEM_ASSIGN_OR_RETURN(const StreamedTokens tokens, StreamedTokens::Decode(message.payload));
      for (const StreamedToken& token : tokens.tokens) {
        streamed_.push_back({.id = token.id, .token = token.token});
      }
      return absl::OkStatus();
    }
    default:
      return absl::InternalError(absl::StrCat("message ", message.kind, " at the coordinator"));
  }
}

absl::Status Dispatcher::Leave(SequenceId id, bool evicted) {
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end()) {
    return absl::InternalError(absl::StrCat("unknown sequence ", id, " left its decoder"));
  }
  InFlight flight = std::move(found->second);
  in_flight_.erase(found);
  DecoderState& decoder = decoders_[static_cast<size_t>(flight.decoder_group)];
  --decoder.in_flight;
  if (!flight.started) {
    --decoder.unstarted;
    decoder.unstarted_tokens -= flight.encoder_tokens;
  }
  const auto memory = memories_.find(flight.sequence.memory);
  TANDEM_CHECK(memory != memories_.end());
  // First in line again: it was the youngest of its group, older requests are at work already.
  if (evicted) {
    memory->second->shareable = false;
    pending_.push_front({.encoder_ids = memory->second->ids, .sequence = flight.sequence});
  }
  if (--memory->second->users == 0) {
    const ReleaseMemory release{.decoder_group = flight.decoder_group, .key = memory->second->key};
    Send(flight.decoder_group, MessageKind::kReleaseMemory, release.Encode());
    const auto newest = newest_by_hash_.find(HashOf(memory->second->ids));
    if (newest != newest_by_hash_.end() && newest->second == memory->second->key) {
      newest_by_hash_.erase(newest);
    }
    memories_.erase(memory);
  }
  return absl::OkStatus();
}

void Dispatcher::Finish(SequenceId id) {
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end()) return;
  const FinishSequence finish{.decoder_group = found->second.decoder_group, .id = id};
  Send(found->second.decoder_group, MessageKind::kFinishSequence, finish.Encode());
}

std::vector<CoordinatorPort::Outgoing> Dispatcher::Dispatch() {
  ShareEncodings();
  while (SendBatch()) {
  }
  return std::exchange(outgoing_, {});
}

bool Dispatcher::HasRoom(const DecoderState& decoder) const {
  return decoder.unstarted < config_.max_num_seqs &&
         (decoder.unstarted == 0 || decoder.unstarted_tokens < 2 * config_.max_batch_tokens);
}

int Dispatcher::RoomiestDecoder() const {
  int best = -1;
  for (const LayoutGroup& group : config_.groups) {
    if (group.stage != StageKind::kDecoder) continue;
    const DecoderState& decoder = decoders_[static_cast<size_t>(group.id)];
    if (!HasRoom(decoder)) continue;
    if (best < 0 || decoder.in_flight < decoders_[static_cast<size_t>(best)].in_flight) {
      best = group.id;
    }
  }
  return best;
}

Dispatcher::Memory* Dispatcher::FindShareable(const std::vector<int32_t>& ids) const {
  const auto newest = newest_by_hash_.find(HashOf(ids));
  if (newest == newest_by_hash_.end()) return nullptr;
  Memory& memory = *memories_.at(newest->second);
  return memory.shareable && memory.ids == ids ? &memory : nullptr;
}

// Pending requests whose prompt is in flight go straight to the decoder group that has it.
void Dispatcher::ShareEncodings() {
  if (newest_by_hash_.empty()) return;
  std::deque<DispatchRequest> left;
  for (DispatchRequest& request : pending_) {
    Memory* memory = FindShareable(request.encoder_ids);
    if (memory != nullptr && HasRoom(decoders_[static_cast<size_t>(memory->decoder_group)])) {
      ++counts_.prompts_shared;
      Launch(request, *memory);
    } else {
      left.push_back(std::move(request));
    }
  }
  pending_ = std::move(left);
}

// The oldest request, and those of the pool nearest to it in length, up to the token budget and the
// decoder's room. A request whose prompt is in flight waits for room at the group that has it: it
// is not encoded again. Indices into pending_, ascending; none where all wait so.
std::vector<size_t> Dispatcher::ChooseBatch(const DecoderState& decoder) const {
  std::vector<size_t> candidates;
  for (size_t i = 0; i < std::min(pending_.size(), kPoolRequests); ++i) {
    if (FindShareable(pending_[i].encoder_ids) == nullptr) candidates.push_back(i);
  }
  int64_t sequences = decoder.unstarted;
  return ChooseByLength(
      std::move(candidates),
      [this](size_t i) { return static_cast<int64_t>(pending_[i].encoder_ids.size()); },
      config_.max_batch_tokens,
      [&](size_t i) {
        if (sequences >= config_.max_num_seqs) return false;
        sequences += pending_[i].num_samples;
        return true;
      });
}

bool Dispatcher::SendBatch() {
  if (pending_.empty()) return false;
  const int encoder = encoders_.FreeGroup();
  const int decoder = RoomiestDecoder();
  if (encoder < 0 || decoder < 0) return false;
  const std::vector<size_t> chosen = ChooseBatch(decoders_[static_cast<size_t>(decoder)]);
  if (chosen.empty()) return false;
  EncodeBatch batch;
  batch.batch_id = ++last_batch_;
  batch.encoder_group = encoder;
  batch.decoder_group = decoder;
  for (const size_t i : chosen) {
    DispatchRequest& request = pending_[i];
    Memory* memory = FindShareable(request.encoder_ids);
    if (memory != nullptr) {  // A twin within this batch.
      ++counts_.prompts_shared;
    } else {
      auto made = std::make_unique<Memory>();
      made->key = ++last_key_;
      made->decoder_group = decoder;
      made->ids = request.encoder_ids;
      memory = made.get();
      newest_by_hash_[HashOf(made->ids)] = made->key;
      batch.items.push_back({.key = made->key, .token_ids = made->ids, .positions = {}});
      memories_[made->key] = std::move(made);
    }
    Launch(request, *memory);
  }
  for (size_t i = chosen.size(); i-- > 0;) {
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(chosen[i]));
  }
  ++counts_.encoder_batches;
  counts_.prompts_encoded += static_cast<int64_t>(batch.items.size());
  encoders_.Sent(encoder);
  Send(encoder, MessageKind::kEncodeBatch, batch.Encode());
  return true;
}

void Dispatcher::Launch(const DispatchRequest& request, Memory& memory) {
  DecoderState& decoder = decoders_[static_cast<size_t>(memory.decoder_group)];
  const auto encoder_tokens = static_cast<int64_t>(memory.ids.size());
  for (uint32_t i = 0; i < request.num_samples; ++i) {
    Admit admit{.decoder_group = memory.decoder_group, .sequence = request.sequence};
    admit.sequence.id += i;
    admit.sequence.choice.sample += i;
    admit.sequence.memory = memory.key;
    ++memory.users;
    ++decoder.in_flight;
    ++decoder.unstarted;
    decoder.unstarted_tokens += encoder_tokens;
    Send(memory.decoder_group, MessageKind::kAdmit, admit.Encode());
    const SequenceId id = admit.sequence.id;
    in_flight_[id] = {.sequence = std::move(admit.sequence),
                      .encoder_tokens = encoder_tokens,
                      .decoder_group = memory.decoder_group,
                      .started = false};
  }
}

void Dispatcher::Send(int group, MessageKind kind, std::vector<std::byte> payload) {
  outgoing_.push_back(
      {config_.groups[static_cast<size_t>(group)].leader(), kind, std::move(payload)});
}

}  // namespace tandem
