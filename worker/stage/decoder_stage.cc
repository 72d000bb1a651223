#include "worker/stage/decoder_stage.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tandem {

DecoderStage::DecoderStage(const ModelConfig& config, int max_num_seqs, Decoder& decoder,
                           KvPool& pool, const Runtime& runtime, SendFunction send)
    : max_num_seqs_(max_num_seqs),
      pool_(pool),
      runtime_(runtime),
      send_(std::move(send)),
      memories_(decoder, pool, config.decoder.hidden_dim),
      batch_(decoder, pool, memories_, *runtime.tp, BatchEvents()),
      forward_(decoder, pool, memories_, leads(), send_) {}

std::vector<std::byte> DecoderStage::Plan::Encode() const {
  // Parts are whole messages, each behind its length.
  ByteWriter writer;
  writer.PutVector(drop);
  writer.PutVector(finish);
  writer.Put(static_cast<uint64_t>(join.size()));
  for (const SequenceSpec& sequence : join) {
    writer.PutVector(Admit{.decoder_group = 0, .sequence = sequence}.Encode());
  }
  writer.Put(static_cast<uint8_t>(forward.has_value()));
  if (forward.has_value()) writer.PutVector(forward->Encode());
  return writer.Take();
}

absl::StatusOr<DecoderStage::Plan> DecoderStage::Plan::Decode(absl::Span<const std::byte> bytes) {
  Plan plan;
  ByteReader reader(bytes);
  plan.drop = reader.GetVector<MemoryKey>();
  plan.finish = reader.GetVector<SequenceId>();
  const uint64_t num_join = reader.GetCount(/*min_bytes=*/8);
  for (uint64_t i = 0; i < num_join; ++i) {
    TANDEM_ASSIGN_OR_RETURN(Admit admit, Admit::Decode(reader.GetVector<std::byte>()));
    plan.join.push_back(std::move(admit.sequence));
  }
  if (reader.Get<uint8_t>() != 0) {
    TANDEM_ASSIGN_OR_RETURN(plan.forward, ForwardDecode::Decode(reader.GetVector<std::byte>()));
  }
  TANDEM_RETURN_IF_ERROR(reader.Finish());
  return plan;
}

absl::Status DecoderStage::Handle(const Envelope& message) {
  switch (static_cast<MessageKind>(message.kind)) {
    case MessageKind::kAdmit: {
      TANDEM_ASSIGN_OR_RETURN(Admit admit, Admit::Decode(message.payload));
      if (dropped_early_.contains(admit.sequence.memory)) {
        return ReturnToCoordinator(admit.sequence.id);
      }
      waiting_.push_back(std::move(admit.sequence));
      return absl::OkStatus();
    }
    case MessageKind::kReleaseMemory: {
      TANDEM_ASSIGN_OR_RETURN(const ReleaseMemory release, ReleaseMemory::Decode(message.payload));
      if (dropped_early_.erase(release.key) == 0) released_.push_back(release.key);
      return absl::OkStatus();
    }
    case MessageKind::kFinishSequence: {
      TANDEM_ASSIGN_OR_RETURN(const FinishSequence finish, FinishSequence::Decode(message.payload));
      finish_.push_back(finish.id);
      return absl::OkStatus();
    }
    case MessageKind::kEncoderOutput: {
      TANDEM_ASSIGN_OR_RETURN(EncoderOutput output, EncoderOutput::Decode(message.payload));
      return memories_.Arrive(std::move(output));
    }
    case MessageKind::kForwardDecode: {
      TANDEM_ASSIGN_OR_RETURN(ForwardDecode forward, ForwardDecode::Decode(message.payload));
      forwards_.push_back(std::move(forward));
      return absl::OkStatus();
    }
    default:
      return absl::InternalError(absl::StrCat("message ", message.kind, " at a decoder"));
  }
}

bool DecoderStage::Arrived(const ForwardDecode& forward) const {
  return std::all_of(forward.rows.begin(), forward.rows.end(),
                     [this](const ForwardRow& row) { return memories_.Has(row.memory); });
}

bool DecoderStage::HasWork() const {
  if (!batch_.empty()) return true;
  if (!forwards_.empty() && Arrived(forwards_.front())) return true;
  return std::any_of(waiting_.begin(), waiting_.end(), [this](const SequenceSpec& sequence) {
    return memories_.Has(sequence.memory);
  });
}

absl::Status DecoderStage::DoWork() {
  std::vector<std::byte> bytes;
  if (leads()) {
    TANDEM_ASSIGN_OR_RETURN(const Plan made, MakePlan());
    bytes = made.Encode();
  }
  TANDEM_RETURN_IF_ERROR(BroadcastBytes(*runtime_.tp, 0, bytes));
  TANDEM_ASSIGN_OR_RETURN(const Plan plan, Plan::Decode(bytes));
  for (const MemoryKey key : plan.drop) {
    TANDEM_RETURN_IF_ERROR(AwaitMemory(key));
    memories_.Drop(key);
  }
  for (const SequenceId id : plan.finish) TANDEM_RETURN_IF_ERROR(batch_.Finish(id));
  for (const SequenceSpec& sequence : plan.join) TANDEM_RETURN_IF_ERROR(Join(sequence));
  if (!plan.forward.has_value()) return batch_.empty() ? absl::OkStatus() : batch_.Step();
  for (const ForwardRow& row : plan.forward->rows) {
    TANDEM_RETURN_IF_ERROR(AwaitMemory(row.memory));
  }
  return forward_.Run(*plan.forward);
}

// ------------------------------------------------------------------------------ On the leader

namespace {

// Pages for the tokens that are given, and for one more where answers are made.
int64_t FirstPages(const SequenceSpec& sequence) {
  const size_t given = sequence.prompt.size() + sequence.target.size();
  return PagesFor(static_cast<int64_t>(given) + (sequence.target.empty() ? 1 : 0));
}

}  // namespace

std::deque<SequenceSpec>::iterator DecoderStage::FirstArrived() {
  return std::find_if(waiting_.begin(), waiting_.end(), [this](const SequenceSpec& sequence) {
    return memories_.Has(sequence.memory);
  });
}

bool DecoderStage::Fits(const SequenceSpec& sequence, int64_t free_pages) const {
  // One page for each sequence at work is kept back, so that a newcomer does not at once push out
  // the youngest: but a sequence alone gets all there is.
  return memories_.PagesNeeded(sequence.memory) + FirstPages(sequence) + batch_.num_rows() <=
         free_pages;
}

absl::Status DecoderStage::ReturnToCoordinator(SequenceId id) {
  return send_(kCoordinatorRank, MessageKind::kSequenceEvicted,
               SequenceNote{.id = id, .seconds = NowSeconds()}.Encode());
}

absl::Status DecoderStage::ForgetEarly(MemoryKey key) {
  dropped_early_.insert(key);
  for (const SequenceSpec& sequence : waiting_) {
    if (sequence.memory == key) TANDEM_RETURN_IF_ERROR(ReturnToCoordinator(sequence.id));
  }
  std::erase_if(waiting_, [key](const SequenceSpec& sequence) { return sequence.memory == key; });
  return absl::OkStatus();
}

absl::StatusOr<DecoderStage::Plan> DecoderStage::MakePlan() {
  Plan plan;
  int64_t free_pages = pool_.num_free();
  const auto drop = [&](MemoryKey key) {
    free_pages += static_cast<int64_t>(memories_.At(key).pages.size());
    plan.drop.push_back(key);
  };
  std::vector<MemoryKey> not_yet;
  for (const MemoryKey key : released_) {
    // A memory may be released before it came: its only sequence was refused. It is dropped when
    // here.
    if (memories_.Has(key)) {
      drop(key);
    } else {
      not_yet.push_back(key);
    }
  }
  released_ = std::move(not_yet);
  for (const SequenceId id : std::exchange(finish_, {})) {
    if (batch_.Has(id)) plan.finish.push_back(id);  // Else it is done, or was put back.
  }
  if (!forwards_.empty() && Arrived(forwards_.front()) && batch_.empty()) {
    plan.forward = std::move(forwards_.front());
    forwards_.pop_front();
    return plan;
  }
  std::vector<MemoryKey> joining;  // Memories that this plan stores.
  int64_t rows = batch_.num_rows();
  while (rows < max_num_seqs_) {
    const auto next = FirstArrived();
    if (next == waiting_.end()) break;
    // A beam search with more beams than a step has rows is computed alone.
    if (rows > 0 && rows + next->beams.num_beams > max_num_seqs_) break;
    int64_t available = free_pages - static_cast<int64_t>(plan.join.size());
    const bool shared = std::find(joining.begin(), joining.end(), next->memory) != joining.end();
    if (shared) available += memories_.PagesNeeded(next->memory);
    if (!Fits(*next, available)) {
      if (!batch_.empty() || !plan.join.empty()) break;
      // Nobody works and it does not fit: memories that wait for later sequences give way. Those
      // are encoded again when their turn comes.
      for (const MemoryKey key : memories_.Idle(next->memory)) {
        if (std::find(plan.drop.begin(), plan.drop.end(), key) != plan.drop.end()) continue;
        drop(key);
        TANDEM_RETURN_IF_ERROR(ForgetEarly(key));
      }
      const auto again = FirstArrived();
      if (again == waiting_.end() || !Fits(*again, free_pages)) {
        return absl::InternalError("a sequence that fits the K/V memory found no place in it");
      }
      continue;
    }
    free_pages -= FirstPages(*next);
    rows += next->beams.num_beams;
    if (!shared) {
      free_pages -= memories_.PagesNeeded(next->memory);
      joining.push_back(next->memory);
    }
    plan.join.push_back(std::move(*next));
    waiting_.erase(next);
  }
  return plan;
}

// ------------------------------------------------------------------------------ On every rank

absl::Status DecoderStage::AwaitMemory(MemoryKey key) {
  // The leader has it; the sender of this rank's copy may be a little behind.
  while (!memories_.Has(key)) {
    TANDEM_RETURN_IF_ERROR(runtime_.progress());
    if (!memories_.Has(key)) std::this_thread::yield();
  }
  return absl::OkStatus();
}

absl::Status DecoderStage::Join(const SequenceSpec& sequence) {
  TANDEM_RETURN_IF_ERROR(AwaitMemory(sequence.memory));
  const bool stores = !memories_.At(sequence.memory).stored;
  if (stores) TANDEM_RETURN_IF_ERROR(memories_.Store(sequence.memory));
  batch_.Join(sequence);
  if (!leads()) return absl::OkStatus();
  const SequenceNote note{
      .id = sequence.id, .seconds = NowSeconds(), .stored_memory = static_cast<uint8_t>(stores)};
  return send_(kCoordinatorRank, MessageKind::kSequenceStarted, note.Encode());
}

SequenceBatch::Events DecoderStage::BatchEvents() {
  SequenceBatch::Events events;
  events.evicted = [this](SequenceId id) {
    return leads() ? ReturnToCoordinator(id) : absl::OkStatus();
  };
  events.memory_dropped = [this](MemoryKey key) {
    return leads() ? ForgetEarly(key) : absl::OkStatus();
  };
  events.done = [this](const SequenceDone& done) {
    if (!leads()) return absl::OkStatus();
    return send_(kCoordinatorRank, MessageKind::kSequenceDone, done.Encode());
  };
  events.streamed = [this](const StreamedTokens& tokens) {
    if (!leads()) return absl::OkStatus();
    return send_(kCoordinatorRank, MessageKind::kTokens, tokens.Encode());
  };
  return events;
}

}  // namespace tandem
