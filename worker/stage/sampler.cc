#include "worker/stage/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "common/base/status_macros.h"
#include "worker/stage/head_results.h"
#include "worker/stage/kept_tokens.h"

namespace tandem {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// So many rows go through the head together, which bounds the logits that are kept for them. Its
// weights are read again for the next rows: with that many, products are what takes the time.
constexpr size_t kRowsAtOnce = 64;

bool WantsLogprobs(const RowQuestion& question) {
  return question.target >= 0 || question.num_extensions > 0 || question.spec->num_logprobs >= 0;
}

bool IsDrawn(const RowQuestion& question) {
  return question.target < 0 && question.num_extensions == 0 &&
         question.spec->choice.temperature > 0.0f;
}

DrawKey KeyOf(const RowQuestion& question) {
  return {.seed = question.spec->choice.seed,
          .sample = question.spec->choice.sample,
          .step = static_cast<uint32_t>(question.tokens.size() - question.num_prompt)};
}

// A token with its noise.
Candidate WithNoise(const DrawKey& key, int32_t id, float value) {
  return {id, value + GumbelOf(DrawBits(key, id))};
}

// The token with the largest value + noise, of tokens whose values are at most `max`. Few of many
// need the noise's logarithms: those whose draw is large enough to win with the largest value. In
// the order of ids four tokens share the work of a draw.
Candidate DrawAmong(const DrawKey& key, absl::Span<const Candidate> tokens, float max) {
  Candidate drawn;
  uint32_t least = 0;
  uint32_t block = UINT32_MAX;
  std::array<uint32_t, 4> words = {};
  for (const Candidate& token : tokens) {
    const auto id = static_cast<uint32_t>(token.id);
    if (id / 4 != block) {
      block = id / 4;
      words = DrawBlock(key, block);
    }
    if (words[id % 4] < least) continue;
    const Candidate candidate{token.id, token.logit + GumbelOf(words[id % 4])};
    if (!Better(candidate, drawn)) continue;
    drawn = candidate;
    // Rounding of the sum may lift a token by half a step.
    const float slack = 1e-6f * (std::fabs(drawn.logit) + std::fabs(max));
    least = LeastBitsFor(drawn.logit - max - slack);
  }
  return drawn;
}

std::vector<float> EditedLogits(const LogitEdits& edits, const ChoiceSpec& choice,
                                const std::vector<float>& raw) {
  std::vector<float> out;
  for (size_t i = 0; i < raw.size(); ++i) out.push_back(Apply(edits.edits[i], choice, raw[i]));
  return out;
}

}  // namespace

Sampler::Sampler(ScanFunction scan, const LeafShard& vocabulary, Communicator& tp)
    : scan_(std::move(scan)), vocabulary_(vocabulary), tp_(tp) {}

absl::StatusOr<std::vector<RowAnswer>> Sampler::Answer(ConstMatrix states,
                                                       absl::Span<const RowQuestion> questions) {
  std::vector<RowAnswer> answers;
  for (size_t begin = 0; begin < questions.size(); begin += kRowsAtOnce) {
    const size_t count = std::min(kRowsAtOnce, questions.size() - begin);
    const ConstMatrix some = states.Rows(static_cast<int64_t>(begin), static_cast<int64_t>(count));
    TANDEM_RETURN_IF_ERROR(AnswerSome(some, questions.subspan(begin, count), answers));
  }
  return answers;
}

absl::Status Sampler::AnswerSome(ConstMatrix states, absl::Span<const RowQuestion> questions,
                                 std::vector<RowAnswer>& answers) {
  std::vector<Row> rows(questions.size());
  std::vector<HeadRequest> requests;
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].question = &questions[i];
    requests.push_back(RequestOf(rows[i]));
  }
  std::vector<HeadResult> mine(rows.size());
  scan_(states, requests, absl::MakeSpan(mine));
  TANDEM_ASSIGN_OR_RETURN(const std::vector<HeadResult> found,
                          JoinHeadResults(requests, std::move(mine), tp_));
  for (size_t i = 0; i < rows.size(); ++i) {
    TANDEM_ASSIGN_OR_RETURN(RowAnswer answer, AnswerOf(rows[i], found[i]));
    answers.push_back(std::move(answer));
  }
  return absl::OkStatus();
}

HeadRequest Sampler::RequestOf(Row& row) const {
  const RowQuestion& question = *row.question;
  const SequenceSpec& spec = *question.spec;
  HeadRequest request;
  request.log_sum_exp = WantsLogprobs(question);
  if (question.target >= 0) {
    row.edits = {.ids = {question.target}, .edits = {LogitEdit()}};
    request.edited = row.edits.ids;
    request.num_top = std::max(spec.num_logprobs, 0);
    return request;
  }
  row.edits = CollectEdits(spec, question.tokens, question.num_prompt);
  request.edited = row.edits.ids;
  request.num_top = std::max(spec.num_logprobs, 0);
  request.num_candidates = question.num_extensions;
  if (!IsDrawn(question)) return request;
  request.temperature = spec.choice.temperature;
  if (!Truncates(spec.choice)) {
    request.draw = true;
    request.draw_key = KeyOf(question);
    return request;
  }
  request.num_candidates = NumCandidates(spec.choice);
  request.scaled_sum = NeedsTotalMass(spec.choice);
  row.logits.resize(static_cast<size_t>(vocabulary_.size()));
  request.logits = row.logits.data();
  return request;
}

absl::StatusOr<RowAnswer> Sampler::AnswerOf(const Row& row, const HeadResult& found) {
  const RowQuestion& question = *row.question;
  RowAnswer answer;
  answer.nonfinite = found.nonfinite;
  if (found.nonfinite) return answer;
  const float log_sum = WantsLogprobs(question) ? LogOf(found.log_sum_exp) : 0.0f;
  answer.top = found.top;
  for (Candidate& candidate : answer.top) candidate.logit -= log_sum;
  if (question.target >= 0) {
    answer.token = question.target;
    answer.logprob = found.edited[0] - log_sum;
    return answer;
  }
  if (question.num_extensions > 0) {
    answer.extensions = Extend(row, found, log_sum);
    answer.no_token = answer.extensions.empty();
    return answer;
  }
  TANDEM_ASSIGN_OR_RETURN(const Candidate token, TokenOf(row, found));
  answer.no_token = token.id < 0;
  answer.token = token.id;
  answer.logprob = token.logit - log_sum;
  return answer;
}

// Beams are chosen by log-probabilities, and transformers' processors work on those.
std::vector<Extension> Sampler::Extend(const Row& row, const HeadResult& found,
                                       float log_sum) const {
  std::vector<Extension> extensions;
  for (const Candidate& candidate : found.candidates) {
    const float logprob = candidate.logit - log_sum;
    extensions.push_back({.id = candidate.id, .score = logprob, .logprob = logprob});
  }
  for (size_t i = 0; i < row.edits.ids.size(); ++i) {
    const float logprob = found.edited[i] - log_sum;
    const float score = Apply(row.edits.edits[i], row.question->spec->choice, logprob);
    if (score == kMinusInfinity) continue;
    extensions.push_back({.id = row.edits.ids[i], .score = score, .logprob = logprob});
  }
  std::sort(extensions.begin(), extensions.end(), [](const Extension& a, const Extension& b) {
    return Better({a.id, a.score}, {b.id, b.score});
  });
  extensions.resize(std::min(extensions.size(), static_cast<size_t>(row.question->num_extensions)));
  return extensions;
}

// The chosen token; logit holds its raw logit. Id -1: none may come.
absl::StatusOr<Candidate> Sampler::TokenOf(const Row& row, const HeadResult& found) {
  Candidate token;
  if (IsDrawn(*row.question)) {
    TANDEM_ASSIGN_OR_RETURN(token, Draw(row, found));
  } else {
    token = Best(row, found);
  }
  const std::vector<int32_t>& ids = row.edits.ids;
  const auto edited = std::lower_bound(ids.begin(), ids.end(), token.id);
  if (edited != ids.end() && *edited == token.id) {
    token.logit = found.edited[static_cast<size_t>(edited - ids.begin())];
  }
  return token;
}

Candidate Sampler::Best(const Row& row, const HeadResult& found) const {
  const std::vector<float> edited =
      EditedLogits(row.edits, row.question->spec->choice, found.edited);
  Candidate best = found.best;
  for (size_t i = 0; i < edited.size(); ++i) {
    const Candidate candidate{row.edits.ids[i], edited[i]};
    if (edited[i] > kMinusInfinity && Better(candidate, best)) best = candidate;
  }
  return best;
}

absl::StatusOr<Candidate> Sampler::Draw(const Row& row, const HeadResult& found) {
  const ChoiceSpec& choice = row.question->spec->choice;
  std::vector<float> edited_values = EditedLogits(row.edits, choice, found.edited);
  for (float& value : edited_values) value /= choice.temperature;
  if (Truncates(choice)) return DrawFromKept(row, found, edited_values);
  const DrawKey key = KeyOf(*row.question);
  Candidate drawn = found.drawn;
  float logit = found.drawn_logit;
  for (size_t i = 0; i < edited_values.size(); ++i) {
    if (edited_values[i] == kMinusInfinity) continue;
    const Candidate candidate = WithNoise(key, row.edits.ids[i], edited_values[i]);
    if (!Better(candidate, drawn)) continue;
    drawn = candidate;
    logit = found.edited[i];
  }
  return Candidate{drawn.id, logit};
}

absl::StatusOr<Candidate> Sampler::DrawFromKept(const Row& row, const HeadResult& found,
                                                const std::vector<float>& edited_values) {
  const ChoiceSpec& choice = row.question->spec->choice;
  std::vector<Candidate> tokens;
  for (const Candidate& candidate : found.candidates) {
    tokens.push_back({candidate.id, candidate.logit / choice.temperature});
  }
  // Fewer than were asked for are all there are.
  const bool whole = static_cast<int>(tokens.size()) < NumCandidates(choice);
  const float floor = whole ? kMinusInfinity : tokens.back().logit;
  for (size_t i = 0; i < edited_values.size(); ++i) {
    if (edited_values[i] > kMinusInfinity) tokens.push_back({row.edits.ids[i], edited_values[i]});
  }
  if (tokens.empty()) return Candidate();
  std::sort(tokens.begin(), tokens.end(), Better);
  const float max = tokens.front().logit;
  const double total_mass =
      NeedsTotalMass(choice) ? TotalMass(found.scaled_sum, edited_values, max) : 0.0;
  const std::optional<std::vector<Candidate>> kept = KeptOf(choice, tokens, floor, total_mass);
  if (!kept.has_value()) return DrawFromSearch(row, edited_values, max, total_mass);
  const Candidate drawn = DrawAmong(KeyOf(*row.question), *kept, max);
  for (const Candidate& candidate : found.candidates) {
    if (candidate.id == drawn.id) return candidate;
  }
  return drawn;  // An edited one, whose raw logit the caller knows.
}

absl::StatusOr<Candidate> Sampler::DrawFromSearch(const Row& row,
                                                  const std::vector<float>& edited_values,
                                                  float max, double total_mass) {
  ++num_searches_;
  const ChoiceSpec& choice = row.question->spec->choice;
  const auto first_id = static_cast<int32_t>(vocabulary_.begin());
  std::vector<float> values = row.logits;
  for (float& value : values) value /= choice.temperature;
  for (size_t i = 0; i < edited_values.size(); ++i) {
    const int64_t at = row.edits.ids[i] - int64_t{first_id};
    if (at >= 0 && at < vocabulary_.size()) values[static_cast<size_t>(at)] = edited_values[i];
  }
  TANDEM_ASSIGN_OR_RETURN(const std::vector<Candidate> kept,
                          SearchKept(choice, values, first_id, max, total_mass, tp_));
  Pick mine{.token = DrawAmong(KeyOf(*row.question), kept, max)};
  if (mine.token.id >= 0) mine.logit = row.logits[static_cast<size_t>(mine.token.id - first_id)];
  std::vector<Pick> picks(static_cast<size_t>(tp_.size()));
  TANDEM_RETURN_IF_ERROR(
      tp_.AllGather({reinterpret_cast<const std::byte*>(&mine), sizeof mine},
                    {reinterpret_cast<std::byte*>(picks.data()), picks.size() * sizeof(Pick)}));
  Pick drawn;
  for (const Pick& pick : picks) {
    if (pick.token.id >= 0 && Better(pick.token, drawn.token)) drawn = pick;
  }
  return Candidate{drawn.token.id, drawn.logit};
}

}  // namespace tandem
