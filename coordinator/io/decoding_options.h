// How an answer is made of a prompt: what a request may ask of sampling, search and stopping.
#ifndef TANDEM_COORDINATOR_IO_DECODING_OPTIONS_H_
#define TANDEM_COORDINATOR_IO_DECODING_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tandem {

enum class EarlyStopping : uint8_t { kFalse, kTrue, kNever };

// Plain data. What comes out of ParseRequest lies within the bounds of request_fields.cc, is finite
// and contradicts itself nowhere (decoding_rules.h). The defaults decode greedily.
struct DecodingOptions {
  int32_t max_tokens = 256;
  int32_t min_tokens = 0;  // At most max_tokens.
  bool ignore_eos = false;
  std::vector<int32_t> stop_token_ids;  // Beside the model's eos ids; sorted, each once.

  float temperature = 0.0f;  // 0: greedy, or beams.
  int32_t top_k = 0;         // 0: off.
  float top_p = 1.0f;        // 1: off.
  float min_p = 0.0f;        // 0: off.
  // Set by ParseRequest in any case: the request's own, or derived from the job's and the id.
  std::optional<uint64_t> seed;

  int32_t n = 1;                   // Answers given back.
  std::optional<int32_t> best_of;  // Answers drawn, at least n; not set: n.

  int32_t num_beams = 1;
  float length_penalty = 1.0f;
  EarlyStopping early_stopping = EarlyStopping::kFalse;

  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int32_t no_repeat_ngram_size = 0;                   // 0: off.
  std::vector<std::string> bad_words;                 // None empty.
  std::vector<std::pair<int32_t, float>> logit_bias;  // Sorted by token id, each once.

  std::vector<std::string> stop;  // None empty.
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  std::optional<int32_t> logprobs;  // Alternatives a token; not set: no log-probabilities.
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_DECODING_OPTIONS_H_
