#include "worker/stage/logit_edits.h"

#include <algorithm>
#include <limits>

#include "absl/container/btree_map.h"

namespace tandem {
namespace {

using EditMap = absl::btree_map<int32_t, LogitEdit>;

// Whether `tokens` end with `part`.
bool EndsWith(absl::Span<const int32_t> tokens, absl::Span<const int32_t> part) {
  return tokens.size() >= part.size() &&
         std::equal(part.begin(), part.end(), tokens.end() - static_cast<ptrdiff_t>(part.size()));
}

// Tokens that would end an n-gram which is there already.
void ForbidRepeatedNgrams(size_t size, absl::Span<const int32_t> tokens, EditMap& edits) {
  if (size == 0 || tokens.size() + 1 < size) return;
  const absl::Span<const int32_t> last = tokens.last(size - 1);
  for (size_t i = 0; i + size <= tokens.size(); ++i) {
    if (tokens.subspan(i, size - 1) == last) edits[tokens[i + size - 1]].forbidden = true;
  }
}

void ForbidBadWords(const SequenceSpec& spec, absl::Span<const int32_t> tokens, EditMap& edits) {
  for (const BadWord& word : spec.choice.bad_words) {
    const absl::Span<const int32_t> ids = word.token_ids;
    const bool stops =
        std::binary_search(spec.stop_token_ids.begin(), spec.stop_token_ids.end(), ids.back());
    if (ids.size() == 1 && stops) continue;  // transformers: a stop token is no bad word.
    if (EndsWith(tokens, ids.first(ids.size() - 1))) edits[ids.back()].forbidden = true;
  }
}

}  // namespace

LogitEdits CollectEdits(const SequenceSpec& spec, absl::Span<const int32_t> tokens,
                        size_t num_prompt) {
  const ChoiceSpec& choice = spec.choice;
  EditMap edits;
  for (const TokenBias& bias : choice.logit_bias) edits[bias.id].bias = bias.bias;
  const absl::Span<const int32_t> answer = tokens.subspan(num_prompt);
  if (choice.repetition_penalty != 1.0f || choice.presence_penalty != 0.0f ||
      choice.frequency_penalty != 0.0f) {
    for (const int32_t id : answer) ++edits[id].count;
  }
  ForbidRepeatedNgrams(static_cast<size_t>(choice.no_repeat_ngram_size), tokens, edits);
  ForbidBadWords(spec, tokens, edits);
  if (answer.size() < static_cast<size_t>(spec.min_tokens)) {
    for (const int32_t id : spec.stop_token_ids) edits[id].forbidden = true;
  }
  LogitEdits out;
  for (const auto& [id, edit] : edits) {
    out.ids.push_back(id);
    out.edits.push_back(edit);
  }
  return out;
}

float Apply(const LogitEdit& edit, const ChoiceSpec& choice, float logit) {
  if (edit.forbidden) return -std::numeric_limits<float>::infinity();
  logit += edit.bias;
  if (edit.count == 0) return logit;
  const float penalty = choice.repetition_penalty;
  if (penalty != 1.0f) logit = logit < 0.0f ? logit * penalty : logit / penalty;
  return logit -
         (choice.presence_penalty + choice.frequency_penalty * static_cast<float>(edit.count));
}

}  // namespace tandem
