#include "worker/stage/beam_search.h"

#include <algorithm>
#include <utility>

#include "common/kernels/math.h"

namespace tandem {

BeamSearch::BeamSearch(const SequenceSpec& spec)
    : spec_(spec),
      num_beams_(static_cast<size_t>(spec.beams.num_beams)),
      // Enough that as many beams go on even if every stop token is among the best.
      num_kept_(std::max(2, 1 + static_cast<int>(spec.stop_token_ids.size())) *
                spec.beams.num_beams),
      beams_(1) {}

bool BeamSearch::Ends(int32_t token) const {
  return num_generated_ >= spec_.max_tokens ||
         std::binary_search(spec_.stop_token_ids.begin(), spec_.stop_token_ids.end(), token);
}

float BeamSearch::Normalised(float score, int64_t length) const {
  const auto penalty = static_cast<double>(spec_.beams.length_penalty);
  return score / static_cast<float>(PowOf(static_cast<double>(length), penalty));
}

// Over all beams: higher score first, then the earlier beam, then the lower id.
std::vector<BeamSearch::Continuation> BeamSearch::BestContinuations(
    absl::Span<const RowAnswer> answers) const {
  std::vector<Continuation> all;
  for (size_t parent = 0; parent < beams_.size(); ++parent) {
    for (const Extension& token : answers[parent].extensions) {
      all.push_back({.parent = parent,
                     .token = token,
                     .score = beams_[parent].score + token.score,
                     .ends = Ends(token.id)});
    }
  }
  std::sort(all.begin(), all.end(), [](const Continuation& a, const Continuation& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.parent != b.parent ? a.parent < b.parent : a.token.id < b.token.id;
  });
  all.resize(std::min(all.size(), static_cast<size_t>(num_kept_)));
  return all;
}

BeamSearch::Beam BeamSearch::Extend(const Continuation& continuation,
                                    const RowAnswer& parent) const {
  Beam beam = beams_[continuation.parent];
  beam.token_ids.push_back(continuation.token.id);
  beam.score = continuation.score;
  if (spec_.num_logprobs >= 0) {
    beam.logprobs.push_back({.logprob = continuation.token.logprob, .top = parent.top});
  }
  return beam;
}

// Among the ended ones, where it belongs to the best.
void BeamSearch::Finish(const Continuation& continuation, const RowAnswer& parent) {
  const bool full = ended_.size() == num_beams_;
  SequenceOutput output;
  output.score = Normalised(continuation.score, num_generated_);
  if (full && output.score <= ended_.back().score) return;
  Beam beam = Extend(continuation, parent);
  output.token_ids = std::move(beam.token_ids);
  output.logprobs = std::move(beam.logprobs);
  const int32_t token = continuation.token.id;
  if (std::binary_search(spec_.stop_token_ids.begin(), spec_.stop_token_ids.end(), token)) {
    output.reason = SequenceEnd::kStop;
    output.stop_token = token;
    output.token_ids.pop_back();
  }
  if (full) ended_.pop_back();
  const auto worse = std::find_if(ended_.begin(), ended_.end(), [&](const SequenceOutput& other) {
    return other.score < output.score;
  });
  ended_.insert(worse, std::move(output));
}

// Whether a running beam can still become better than the worst ended one. transformers' estimate.
// Sums of log-probabilities only fall, so with `never`, or a length penalty of 0 or below, none is
// given up that could (unless a bias lifts sums); `false` with a penalty above 0 takes the length
// so far for the final one, which is a guess.
bool BeamSearch::MayImprove(float best_running_score) const {
  if (ended_.size() < num_beams_) return true;
  const bool longest =
      spec_.beams.early_stopping == EarlyStop::kNever && spec_.beams.length_penalty > 0.0f;
  const int64_t length = longest ? spec_.max_tokens : num_generated_;
  return Normalised(best_running_score, length) > ended_.back().score;
}

void BeamSearch::Advance(absl::Span<const RowAnswer> answers) {
  ++num_generated_;
  const std::vector<Continuation> best = BestContinuations(answers);
  std::vector<Beam> running;
  steps_.clear();
  // Those that end count only among the first num_beams; those behind are there to go on.
  for (size_t i = 0; i < best.size(); ++i) {
    const Continuation& continuation = best[i];
    const RowAnswer& parent = answers[continuation.parent];
    if (continuation.ends) {
      if (i < num_beams_) Finish(continuation, parent);
    } else if (running.size() < num_beams_) {
      running.push_back(Extend(continuation, parent));
      steps_.push_back({continuation.parent, continuation.token.id});
    }
  }
  beams_ = std::move(running);
  const bool full = ended_.size() == num_beams_;
  finished_ = beams_.empty() || !MayImprove(beams_.front().score) ||
              (full && spec_.beams.early_stopping == EarlyStop::kTrue);
  if (finished_) steps_.clear();
}

std::vector<SequenceOutput> BeamSearch::TakeOutputs() {
  std::vector<SequenceOutput> outputs = std::move(ended_);
  outputs.resize(std::min(outputs.size(), static_cast<size_t>(spec_.beams.num_outputs)));
  return outputs;
}

}  // namespace tandem
