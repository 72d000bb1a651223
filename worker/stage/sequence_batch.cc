#include "worker/stage/sequence_batch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tandem {

SequenceBatch::SequenceBatch(Decoder& decoder, KvPool& pool, MemoryStore& memories,
                             Communicator& tp, Events events)
    : decoder_(decoder),
      pool_(pool),
      memories_(memories),
      events_(std::move(events)),
      sampler_(
          [&decoder](ConstMatrix states, absl::Span<const HeadRequest> requests,
                     absl::Span<HeadResult> results) {
            if (!requests.empty()) decoder.ScanHead(states, requests, results);
          },
          decoder.vocabulary(), tp) {}

int64_t SequenceBatch::num_rows() const {
  int64_t rows = 0;
  for (const auto& live : live_) rows += live->spec.beams.num_beams;
  return rows;
}

bool SequenceBatch::Has(SequenceId id) const {
  return std::any_of(live_.begin(), live_.end(),
                     [id](const auto& live) { return live->spec.id == id; });
}

void SequenceBatch::Join(const SequenceSpec& spec) {
  ++memories_.At(spec.memory).num_live;
  auto live = std::make_unique<Live>();
  live->spec = spec;
  live->branches.resize(1);
  live->branches[0].tokens = spec.prompt;
  std::vector<int32_t>& tokens = live->branches[0].tokens;
  tokens.insert(tokens.end(), spec.target.begin(), spec.target.end());
  if (spec.beams.num_beams > 1) live->beams = std::make_unique<BeamSearch>(live->spec);
  live->done.id = spec.id;
  live->done.start_seconds = NowSeconds();
  live_.push_back(std::move(live));
}

absl::Status SequenceBatch::Finish(SequenceId id) {
  for (const auto& live : live_) {
    if (live->spec.id != id) continue;
    live->ended = true;
    live->output.reason = SequenceEnd::kFinished;
  }
  return RetireEnded();
}

// ------------------------------------------------------------------------------ a step

absl::Status SequenceBatch::Step() {
  std::vector<std::vector<int64_t>> rows;  // By sequence and branch.
  TANDEM_RETURN_IF_ERROR(AllocateRows(rows));
  if (live_.empty()) return absl::OkStatus();
  StepBatch batch;
  std::vector<Asked> asked;
  std::vector<size_t> first_asked;  // By sequence.
  for (size_t i = 0; i < live_.size(); ++i) {
    first_asked.push_back(asked.size());
    for (size_t k = 0; k < rows[i].size(); ++k) AddRows(*live_[i], k, rows[i][k], batch, asked);
  }
  first_asked.push_back(asked.size());
  TANDEM_ASSIGN_OR_RETURN(const Matrix states, decoder_.Forward(batch, 0, TapSink()));
  TANDEM_ASSIGN_OR_RETURN(const std::vector<RowAnswer> answers, Ask(states, asked));
  for (size_t i = 0; i < live_.size(); ++i) {
    const size_t first = first_asked[i], count = first_asked[i + 1] - first;
    if (count > 0) Take(*live_[i], absl::MakeConstSpan(answers).subspan(first, count));
  }
  TANDEM_RETURN_IF_ERROR(Stream());
  return RetireEnded();
}

// The last of given tokens needs no row: nothing is asked behind it.
int64_t SequenceBatch::NumToCompute(const Live& live, const Branch& branch) {
  const auto tokens = static_cast<int64_t>(branch.tokens.size());
  return live.spec.target.empty() ? tokens : tokens - 1;
}

// How many rows of each branch go into the step, and pages for them. Sequences that find none are
// put back, the youngest first.
absl::Status SequenceBatch::AllocateRows(std::vector<std::vector<int64_t>>& rows) {
  int64_t later = 0;  // Branches behind: one row each is theirs.
  for (const auto& live : live_) later += static_cast<int64_t>(live->branches.size());
  int64_t budget = later + kPrefillRows;
  for (size_t i = 0; i < live_.size(); ++i) {
    rows.emplace_back();
    for (size_t k = 0; i < live_.size() && k < live_[i]->branches.size(); ++k) {
      Branch& branch = live_[i]->branches[k];
      --later;
      const int64_t left = NumToCompute(*live_[i], branch) - branch.num_computed;
      rows.back().push_back(std::min(left, budget - later));
      budget -= rows.back().back();
      while (i < live_.size() && !Allocate(*live_[i], branch, rows.back().back())) {
        TANDEM_RETURN_IF_ERROR(MakeRoom());  // It may put back this very sequence.
      }
    }
  }
  rows.resize(live_.size());
  return absl::OkStatus();
}

// Pages for new tokens; a last page that is another beam's too is copied before it is written to.
bool SequenceBatch::Allocate(Live& live, Branch& branch, int64_t new_tokens) {
  const bool copies = branch.num_computed % kPageTokens != 0 && pool_.IsShared(branch.pages.back());
  const int64_t needed = PagesFor(branch.num_computed + new_tokens) -
                         static_cast<int64_t>(branch.pages.size()) + (copies ? 1 : 0);
  if (needed <= 0) return true;
  std::vector<int32_t> fresh;
  if (!pool_.Allocate(needed, fresh)) return false;
  if (copies) {
    const int32_t shared = branch.pages.back();
    pool_.Copy(shared, fresh.front());
    ++live.done.pages_copied;
    pool_.Free({shared});
    branch.pages.pop_back();
  }
  branch.pages.insert(branch.pages.end(), fresh.begin(), fresh.end());
  return true;
}

// Frees pages: a memory that nobody at work reads, else those of the youngest sequence, which is
// put back and computed again later, to the same bytes.
absl::Status SequenceBatch::MakeRoom() {
  const std::vector<MemoryKey> idle = memories_.Idle(/*keep=*/0);
  if (!idle.empty()) {
    memories_.Drop(idle.back());
    return events_.memory_dropped(idle.back());
  }
  if (live_.size() < 2) return absl::InternalError("one sequence alone ran out of K/V memory");
  Live& youngest = *live_.back();
  const SequenceId id = youngest.spec.id;
  Release(youngest);
  live_.pop_back();
  return events_.evicted(id);
}

void SequenceBatch::AddRows(Live& live, size_t index, int64_t rows, StepBatch& batch,
                            std::vector<Asked>& asked) {
  Branch& branch = live.branches[index];
  const MemoryStore::Memory& memory = memories_.At(live.spec.memory);
  AttentionSequence attention;
  attention.first_row = static_cast<int64_t>(batch.token_ids.size());
  attention.num_rows = rows;
  attention.self_pages = branch.pages;
  attention.self_len = branch.num_computed + rows;
  attention.cross_pages = memory.pages;
  attention.cross_len = memory.length;
  attention.cross_valid = memory.valid.empty() ? nullptr : memory.valid.data();
  batch.sequences.push_back(attention);
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < rows; ++i) {
    const auto position = static_cast<size_t>(branch.num_computed + i);
    positions.push_back(static_cast<int32_t>(position));
    batch.token_ids.push_back(branch.tokens[position]);
    // The state of a token before a given one is asked for that one.
    if (!live.spec.target.empty() && position + 1 >= live.spec.prompt.size()) {
      asked.push_back({.live = &live,
                       .branch = index,
                       .row = attention.first_row + i,
                       .target = branch.tokens[position + 1]});
    }
  }
  const std::vector<KvSlot> slots = SlotsOf(branch.pages, positions);
  batch.slots.insert(batch.slots.end(), slots.begin(), slots.end());
  batch.positions.insert(batch.positions.end(), positions.begin(), positions.end());
  branch.num_computed += rows;
  if (live.spec.target.empty() &&
      branch.num_computed == static_cast<int64_t>(branch.tokens.size())) {
    asked.push_back({.live = &live, .branch = index, .row = attention.first_row + rows - 1});
  }
}

absl::StatusOr<std::vector<RowAnswer>> SequenceBatch::Ask(ConstMatrix states,
                                                          const std::vector<Asked>& asked) {
  const Matrix picked = asked_states_.Shape(static_cast<int64_t>(asked.size()), states.cols);
  std::vector<RowQuestion> questions;
  for (size_t i = 0; i < asked.size(); ++i) {
    std::copy_n(states.row(asked[i].row), states.cols, picked.row(static_cast<int64_t>(i)));
    const Live& live = *asked[i].live;
    questions.push_back({.spec = &live.spec,
                         .tokens = live.branches[asked[i].branch].tokens,
                         .num_prompt = live.spec.prompt.size(),
                         .target = asked[i].target,
                         .num_extensions = live.beams ? live.beams->num_extensions() : 0});
  }
  return sampler_.Answer(picked, questions);
}

// ------------------------------------------------------------------------------ what came out

void SequenceBatch::Take(Live& live, absl::Span<const RowAnswer> answers) {
  for (const RowAnswer& answer : answers) {
    if (!answer.nonfinite && !answer.no_token) continue;
    live.ended = live.broken = true;
    live.output.reason = answer.nonfinite ? SequenceEnd::kNonfinite : SequenceEnd::kNoToken;
    return;
  }
  if (!live.spec.target.empty()) return TakeTargets(live, answers);
  if (live.beams != nullptr) return TakeBeams(live, answers);
  TakeToken(live, answers[0]);
}

void SequenceBatch::TakeToken(Live& live, const RowAnswer& answer) {
  const SequenceSpec& spec = live.spec;
  SequenceOutput& output = live.output;
  if (spec.num_logprobs >= 0) {
    output.logprobs.push_back({.logprob = answer.logprob, .top = answer.top});
  }
  if (std::binary_search(spec.stop_token_ids.begin(), spec.stop_token_ids.end(), answer.token)) {
    output.reason = SequenceEnd::kStop;
    output.stop_token = answer.token;
    live.ended = true;
    return;
  }
  output.token_ids.push_back(answer.token);
  live.branches[0].tokens.push_back(answer.token);
  if (static_cast<int64_t>(output.token_ids.size()) >= spec.max_tokens) {
    output.reason = SequenceEnd::kLength;
    live.ended = true;
  }
}

void SequenceBatch::TakeTargets(Live& live, absl::Span<const RowAnswer> answers) {
  for (const RowAnswer& answer : answers) {
    live.output.token_ids.push_back(answer.token);
    live.output.logprobs.push_back({.logprob = answer.logprob, .top = answer.top});
  }
  live.ended = live.output.token_ids.size() == live.spec.target.size();
  live.output.reason = SequenceEnd::kFinished;
}

// New beams take over the pages of those that they go on from, all of them: which needs a page of
// its own is seen when it is written to.
void SequenceBatch::TakeBeams(Live& live, absl::Span<const RowAnswer> answers) {
  live.beams->Advance(answers);
  std::vector<Branch> next;
  for (const BeamSearch::Step& step : live.beams->running()) {
    next.push_back(live.branches[step.parent]);
    next.back().tokens.push_back(step.token);
    pool_.Share(next.back().pages);
  }
  for (const Branch& branch : live.branches) pool_.Free(branch.pages);
  live.branches = std::move(next);
  live.ended = live.beams->finished();
}

absl::Status SequenceBatch::Stream() {
  StreamedTokens message;
  for (const auto& live : live_) {
    if (live->spec.streams == 0 || live->ended || live->output.token_ids.empty()) continue;
    // One still in its decoder prompt has none; any other has got one in this step.
    message.tokens.push_back({.id = live->spec.id, .token = live->output.token_ids.back()});
  }
  return message.tokens.empty() ? absl::OkStatus() : events_.streamed(message);
}

absl::Status SequenceBatch::RetireEnded() {
  std::vector<std::unique_ptr<Live>> kept;
  for (std::unique_ptr<Live>& live : live_) {
    if (!live->ended) {
      kept.push_back(std::move(live));
      continue;
    }
    Release(*live);
    SequenceDone& done = live->done;
    if (live->beams != nullptr && !live->broken) {
      done.outputs = live->beams->TakeOutputs();
    } else {
      done.outputs.push_back(std::move(live->output));
    }
    done.end_seconds = NowSeconds();
    TANDEM_RETURN_IF_ERROR(events_.done(done));
  }
  live_ = std::move(kept);
  return absl::OkStatus();
}

void SequenceBatch::Release(Live& live) {
  for (const Branch& branch : live.branches) pool_.Free(branch.pages);
  live.branches.clear();
  --memories_.At(live.spec.memory).num_live;
}

}  // namespace tandem
