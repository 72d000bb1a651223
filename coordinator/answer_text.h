// The text of an answer as its tokens come, and where a stop string ends it.
#ifndef TANDEM_COORDINATOR_ANSWER_TEXT_H_
#define TANDEM_COORDINATOR_ANSWER_TEXT_H_

#include <cstdint>
#include <string>

#include "common/text/tokenizer.h"
#include "coordinator/io/decoding_options.h"

namespace tandem {

// What an answer's tokens say, cut where the first stop string begins (or ends, if it is to be
// kept). Of several, the one that is complete first counts; of those that one token completes, the
// one that begins first in the text, then the first in the list. The text of the first min_tokens
// tokens is not searched. A function of the tokens alone: when they
// come, and how many more, changes nothing.
class AnswerText {
 public:
  // Borrows both.
  AnswerText(const Tokenizer& tokenizer, const DecodingOptions& decoding);

  // True when the answer ends with this token. Nothing may follow then.
  bool Push(int32_t token);
  // No more tokens come.
  void End();

  const std::string& text() const { return text_; }  // After End, or when Push was true.
  const std::string* stop() const { return stop_; }  // Null: none was found.
  int64_t num_tokens() const { return num_tokens_; }

 private:
  bool Search();

  const Tokenizer& tokenizer_;
  const DecodingOptions& decoding_;
  size_t longest_stop_ = 0;
  DecodeState state_;
  std::string text_;
  size_t search_from_ = 0;
  const std::string* stop_ = nullptr;
  int64_t num_tokens_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_ANSWER_TEXT_H_
