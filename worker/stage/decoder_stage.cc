#include "worker/stage/decoder_stage.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "worker/stage/encoder_stage.h"
#include "worker/stage/sampler.h"

namespace tandem {
namespace {

// Rows of a step beside one for each sequence that decodes: how long decoder prompts are cut.
constexpr int64_t kPrefillRows = 512;

}  // namespace

DecoderStage::DecoderStage(const LayoutGroup& group, const ModelConfig& config, int max_num_seqs,
                           Decoder& decoder, KvPool& pool, const Runtime& runtime,
                           SendFunction send)
    : group_(group),
      config_(config),
      max_num_seqs_(static_cast<size_t>(max_num_seqs)),
      decoder_(decoder),
      pool_(pool),
      runtime_(runtime),
      send_(std::move(send)),
      memories_(decoder, pool, config.decoder.hidden_dim) {}

std::vector<std::byte> DecoderStage::Plan::Encode() const {
  // Parts are whole messages, each behind its length.
  ByteWriter writer;
  writer.PutVector(drop);
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
  if (!live_.empty()) return true;
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
  for (const SequenceSpec& sequence : plan.join) TANDEM_RETURN_IF_ERROR(Join(sequence));
  if (plan.forward.has_value()) return ForwardRows(*plan.forward);
  return Step();
}

// ------------------------------------------------------------------------------ On the leader

std::deque<SequenceSpec>::iterator DecoderStage::FirstArrived() {
  return std::find_if(waiting_.begin(), waiting_.end(), [this](const SequenceSpec& sequence) {
    return memories_.Has(sequence.memory);
  });
}

bool DecoderStage::Fits(const SequenceSpec& sequence, int64_t free_pages) const {
  // One page for each sequence at work is kept back, so that a newcomer does not at once push out
  // the youngest: but a sequence alone gets all there is.
  const int64_t needed = memories_.PagesNeeded(sequence.memory) +
                         PagesFor(static_cast<int64_t>(sequence.prompt.size()) + 1);
  return needed + static_cast<int64_t>(live_.size()) <= free_pages;
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
  if (!forwards_.empty() && Arrived(forwards_.front()) && live_.empty()) {
    plan.forward = std::move(forwards_.front());
    forwards_.pop_front();
    return plan;
  }
  std::vector<MemoryKey> joining;  // Memories that this plan stores.
  while (live_.size() + plan.join.size() < max_num_seqs_) {
    const auto next = FirstArrived();
    if (next == waiting_.end()) break;
    int64_t available = free_pages - static_cast<int64_t>(plan.join.size());
    const bool shared = std::find(joining.begin(), joining.end(), next->memory) != joining.end();
    if (shared) available += memories_.PagesNeeded(next->memory);
    if (!Fits(*next, available)) {
      if (!live_.empty() || !plan.join.empty()) break;
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
    free_pages -= PagesFor(static_cast<int64_t>(next->prompt.size()) + 1);
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
  MemoryStore::Memory& memory = memories_.At(sequence.memory);
  if (!memory.stored) TANDEM_RETURN_IF_ERROR(memories_.Store(sequence.memory));
  ++memory.num_live;
  Live live;
  live.spec = sequence;
  live.tokens = sequence.prompt;
  live.done.id = sequence.id;
  live.done.start_seconds = NowSeconds();
  live_.push_back(std::move(live));
  if (!leads()) return absl::OkStatus();
  return send_(kCoordinatorRank, MessageKind::kSequenceStarted,
               SequenceNote{.id = sequence.id, .seconds = NowSeconds()}.Encode());
}

bool DecoderStage::AllocateFor(Live& sequence, int64_t new_tokens) {
  const int64_t needed =
      PagesFor(sequence.num_computed + new_tokens) - static_cast<int64_t>(sequence.pages.size());
  return needed <= 0 || pool_.Allocate(needed, sequence.pages);
}

// Frees pages: a memory that nobody at work reads, else those of the youngest sequence, which is
// put back and computed again later, to the same bytes.
absl::Status DecoderStage::MakeRoom() {
  const std::vector<MemoryKey> idle = memories_.Idle(/*keep=*/0);
  if (!idle.empty()) {
    memories_.Drop(idle.back());
    return leads() ? ForgetEarly(idle.back()) : absl::OkStatus();
  }
  if (live_.size() < 2) {
    return absl::InternalError("one sequence alone ran out of K/V memory");
  }
  Live& youngest = live_.back();
  pool_.Free(youngest.pages);
  --memories_.At(youngest.spec.memory).num_live;
  const SequenceId id = youngest.spec.id;
  live_.pop_back();
  return leads() ? ReturnToCoordinator(id) : absl::OkStatus();
}

void DecoderStage::AddRows(Live& sequence, int64_t rows, StepBatch& batch) {
  const MemoryStore::Memory& memory = memories_.At(sequence.spec.memory);
  AttentionSequence attention;
  attention.first_row = static_cast<int64_t>(batch.token_ids.size());
  attention.num_rows = rows;
  attention.self_pages = sequence.pages;
  attention.self_len = sequence.num_computed + rows;
  attention.cross_pages = memory.pages;
  attention.cross_len = memory.length;
  attention.cross_valid = memory.valid.empty() ? nullptr : memory.valid.data();
  batch.sequences.push_back(attention);
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t position = sequence.num_computed + i;
    positions.push_back(static_cast<int32_t>(position));
    batch.token_ids.push_back(sequence.tokens[static_cast<size_t>(position)]);
  }
  const std::vector<KvSlot> slots = SlotsOf(sequence.pages, positions);
  batch.slots.insert(batch.slots.end(), slots.begin(), slots.end());
  batch.positions.insert(batch.positions.end(), positions.begin(), positions.end());
}

absl::Status DecoderStage::Step() {
  int64_t budget = static_cast<int64_t>(live_.size()) + kPrefillRows;
  std::vector<int64_t> rows;
  for (size_t i = 0; i < live_.size(); ++i) {
    const auto left = static_cast<int64_t>(live_[i].tokens.size()) - live_[i].num_computed;
    const int64_t later = static_cast<int64_t>(live_.size() - i) - 1;  // One row each is theirs.
    rows.push_back(std::min(left, budget - later));
    budget -= rows.back();
    while (!AllocateFor(live_[i], rows.back())) {
      TANDEM_RETURN_IF_ERROR(MakeRoom());
      if (i == live_.size()) break;  // It was the youngest itself.
    }
    if (i == live_.size()) rows.pop_back();
  }
  if (live_.empty()) return absl::OkStatus();
  StepBatch batch;
  std::vector<Live*> sampled;
  std::vector<int64_t> last_rows;
  for (size_t i = 0; i < live_.size(); ++i) {
    AddRows(live_[i], rows[i], batch);
    live_[i].num_computed += rows[i];
    if (live_[i].num_computed == static_cast<int64_t>(live_[i].tokens.size())) {
      sampled.push_back(&live_[i]);
      last_rows.push_back(static_cast<int64_t>(batch.token_ids.size()) - 1);
    }
  }
  TANDEM_ASSIGN_OR_RETURN(const Matrix states, decoder_.Forward(batch, 0, TapSink()));
  const Matrix picked = sampled_states_.Shape(static_cast<int64_t>(sampled.size()), states.cols);
  for (size_t i = 0; i < sampled.size(); ++i) {
    std::copy_n(states.row(last_rows[i]), states.cols, picked.row(static_cast<int64_t>(i)));
  }
  return Choose(picked, sampled);
}

absl::Status DecoderStage::Choose(ConstMatrix states, const std::vector<Live*>& sampled) {
  std::vector<HeadRequest> requests;
  for (const Live* sequence : sampled) {
    const SequenceSpec& spec = sequence->spec;
    HeadRequest request;
    request.num_top = std::max(spec.num_logprobs, 0);
    request.log_sum_exp = spec.num_logprobs >= 0;
    if (sequence->num_generated < spec.min_tokens) request.forbidden = spec.stop_token_ids;
    requests.push_back(request);
  }
  std::vector<HeadResult> mine(requests.size());
  if (!requests.empty()) decoder_.ScanHead(states, requests, absl::MakeSpan(mine));
  TANDEM_ASSIGN_OR_RETURN(const std::vector<HeadResult> results,
                          JoinHeadResults(requests, mine, *runtime_.tp));
  for (size_t i = 0; i < sampled.size(); ++i) Take(results[i], *sampled[i]);
  std::vector<Live> kept;
  for (Live& sequence : live_) {
    if (sequence.done.completion_tokens == 0) {
      kept.push_back(std::move(sequence));
    } else {
      TANDEM_RETURN_IF_ERROR(Retire(sequence));
    }
  }
  live_ = std::move(kept);
  return absl::OkStatus();
}

void DecoderStage::Take(const HeadResult& result, Live& sequence) {
  const SequenceSpec& spec = sequence.spec;
  SequenceDone& done = sequence.done;
  const int32_t token = result.best.id;
  const auto finish = [&](SequenceEnd reason) {
    done.reason = reason;
    done.completion_tokens = std::max(sequence.num_generated, 1);
  };
  if (result.nonfinite || token < 0) return finish(SequenceEnd::kNonfinite);
  ++sequence.num_generated;
  const bool stops =
      std::binary_search(spec.stop_token_ids.begin(), spec.stop_token_ids.end(), token);
  if (spec.num_logprobs >= 0) {
    const float log_sum = LogOf(result.log_sum_exp);
    TokenLogprobs logprobs{.logprob = result.best.logit - log_sum, .top = result.top};
    for (Candidate& candidate : logprobs.top) candidate.logit -= log_sum;
    done.cumulative_logprob += logprobs.logprob;
    if (!stops) done.logprobs.push_back(std::move(logprobs));
  }
  if (stops) {
    done.stop_token = token;
    return finish(SequenceEnd::kStop);
  }
  done.token_ids.push_back(token);
  sequence.tokens.push_back(token);
  if (sequence.num_generated >= spec.max_tokens) finish(SequenceEnd::kLength);
}

absl::Status DecoderStage::Retire(Live& sequence) {
  pool_.Free(sequence.pages);
  --memories_.At(sequence.spec.memory).num_live;
  if (!leads()) return absl::OkStatus();
  sequence.done.end_seconds = NowSeconds();
  return send_(kCoordinatorRank, MessageKind::kSequenceDone, sequence.done.Encode());
}

// ------------------------------------------------------------------------------ forward

absl::Status DecoderStage::ForwardRows(const ForwardDecode& forward) {
  TapSink taps;
  absl::Status tapped;
  if (leads()) {
    taps = [&](const std::string& name, int64_t first_row, ConstMatrix rows) {
      if (forward.taps == 0 && name != "decoder.final") return;
      tapped.Update(SendForwardTensor(send_, name, first_row, 0, rows));
    };
  }
  int64_t first_row = 0;
  for (const ForwardRow& row : forward.rows) {
    TANDEM_RETURN_IF_ERROR(ForwardOne(row, first_row, taps));
    TANDEM_RETURN_IF_ERROR(tapped);
    first_row += static_cast<int64_t>(row.token_ids.size());
  }
  return SendForwardEnd(send_);
}

// Teacher-forced: all tokens at their columns, in chunks; logits of every token.
absl::Status DecoderStage::ForwardOne(const ForwardRow& row, int64_t first_row,
                                      const TapSink& taps) {
  TANDEM_RETURN_IF_ERROR(AwaitMemory(row.memory));
  const auto num_rows = static_cast<int64_t>(row.token_ids.size());
  const int64_t length = num_rows == 0 ? 0 : row.positions.back() + int64_t{1};
  const int64_t needed = memories_.PagesNeeded(row.memory) + PagesFor(length);
  if (needed > pool_.num_free()) {
    return WithExitCode(absl::ResourceExhaustedError(absl::StrCat(
                            "a row of the input needs ", needed, " K/V pages, ", pool_.num_free(),
                            " are there: give the decoder more memory with --kv-cache-mb")),
                        ExitCode::kUsage);
  }
  TANDEM_RETURN_IF_ERROR(memories_.Store(row.memory));
  const MemoryStore::Memory& memory = memories_.At(row.memory);
  std::vector<int32_t> pages;
  TANDEM_CHECK(pool_.Allocate(PagesFor(length), pages));
  std::vector<uint8_t> valid(static_cast<size_t>(length), 0);
  for (const int32_t position : row.positions) valid[static_cast<size_t>(position)] = 1;
  for (int64_t begin = 0; begin < num_rows; begin += kPrefillRows) {
    const int64_t count = std::min(kPrefillRows, num_rows - begin);
    StepBatch batch;
    batch.token_ids.assign(row.token_ids.begin() + begin, row.token_ids.begin() + begin + count);
    batch.positions.assign(row.positions.begin() + begin, row.positions.begin() + begin + count);
    batch.slots = SlotsOf(pages, batch.positions);
    AttentionSequence attention;
    attention.num_rows = count;
    attention.self_pages = pages;
    attention.self_len = batch.positions.back() + int64_t{1};
    attention.self_valid = valid.data();
    attention.cross_pages = memory.pages;
    attention.cross_len = memory.length;
    attention.cross_valid = memory.valid.empty() ? nullptr : memory.valid.data();
    batch.sequences.push_back(attention);
    TANDEM_ASSIGN_OR_RETURN(const Matrix states, decoder_.Forward(batch, first_row + begin, taps));
    TANDEM_RETURN_IF_ERROR(SendForwardTensor(send_, "logits", first_row + begin,
                                             decoder_.vocabulary().begin(),
                                             decoder_.Logits(states)));
  }
  pool_.Free(pages);
  memories_.Drop(row.memory);
  return absl::OkStatus();
}

}  // namespace tandem
