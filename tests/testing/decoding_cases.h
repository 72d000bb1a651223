// Cases of tests/golden/data/decoding as the decoder's specifications.
#ifndef TANDEM_TESTS_TESTING_DECODING_CASES_H_
#define TANDEM_TESTS_TESTING_DECODING_CASES_H_

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "common/protocol/messages.h"
#include "nlohmann/json.hpp"

namespace tandem {

inline nlohmann::json DecodingCases(const std::string& file) {
  std::ifstream in(std::string(TANDEM_TEST_DATA) + "/decoding/" + file);
  return nlohmann::json::parse(in).at("cases");
}

inline std::vector<int32_t> SortedIds(const nlohmann::json& ids) {
  auto sorted = ids.get<std::vector<int32_t>>();
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

// The options of a case, by FORMS' names. Every one must be known here.
inline SequenceSpec SpecOf(const nlohmann::json& options) {
  SequenceSpec spec;
  spec.prompt = {2};
  ChoiceSpec& choice = spec.choice;
  for (const auto& [name, value] : options.items()) {
    if (name == "temperature") {
      choice.temperature = value;
    } else if (name == "top_k") {
      choice.top_k = value;
    } else if (name == "top_p") {
      choice.top_p = value;
    } else if (name == "min_p") {
      choice.min_p = value;
    } else if (name == "repetition_penalty") {
      choice.repetition_penalty = value;
    } else if (name == "presence_penalty") {
      choice.presence_penalty = value;
    } else if (name == "frequency_penalty") {
      choice.frequency_penalty = value;
    } else if (name == "no_repeat_ngram_size") {
      choice.no_repeat_ngram_size = value;
    } else if (name == "bad_words_token_ids") {
      for (const auto& word : value) choice.bad_words.push_back({word.get<std::vector<int32_t>>()});
    } else if (name == "logit_bias") {
      for (const auto& [id, bias] : value.items()) {
        choice.logit_bias.push_back({.id = std::stoi(id), .bias = bias});
      }
      std::sort(choice.logit_bias.begin(), choice.logit_bias.end(),
                [](const TokenBias& a, const TokenBias& b) { return a.id < b.id; });
    } else if (name == "min_tokens") {
      spec.min_tokens = value;
    } else if (name == "stop_token_ids") {
      spec.stop_token_ids = SortedIds(value);
    } else if (name == "num_beams") {
      spec.beams.num_beams = value;
    } else if (name == "n") {
      spec.beams.num_outputs = value;
    } else if (name == "length_penalty") {
      spec.beams.length_penalty = value;
    } else if (name == "early_stopping") {
      spec.beams.early_stopping = value == "never" ? EarlyStop::kNever
                                  : value == true  ? EarlyStop::kTrue
                                                   : EarlyStop::kFalse;
    } else {
      throw std::runtime_error("unknown option " + name);
    }
  }
  return spec;
}

}  // namespace tandem

#endif  // TANDEM_TESTS_TESTING_DECODING_CASES_H_
