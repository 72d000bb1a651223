#include "coordinator/answer_text.h"

#include <algorithm>

namespace tandem {

AnswerText::AnswerText(const Tokenizer& tokenizer, const DecodingOptions& decoding)
    : tokenizer_(tokenizer), decoding_(decoding) {
  for (const std::string& stop : decoding.stop) {
    longest_stop_ = std::max(longest_stop_, stop.size());
  }
}

bool AnswerText::Push(int32_t token) {
  tokenizer_.DecodeNext(token, decoding_.skip_special_tokens, &state_, &text_);
  ++num_tokens_;
  if (num_tokens_ <= decoding_.min_tokens) {
    search_from_ = text_.size();
    return false;
  }
  return Search();
}

void AnswerText::End() {
  if (stop_ != nullptr) return;
  tokenizer_.DecodeEnd(decoding_.skip_special_tokens, &state_, &text_);
  if (num_tokens_ > decoding_.min_tokens) Search();
}

bool AnswerText::Search() {
  size_t begin = std::string::npos;
  for (const std::string& stop : decoding_.stop) {
    const size_t at = text_.find(stop, search_from_);
    if (at < begin) {
      begin = at;
      stop_ = &stop;
    }
  }
  if (stop_ != nullptr) {
    text_.resize(decoding_.include_stop_str_in_output ? begin + stop_->size() : begin);
    return true;
  }
  // The next token may complete what this one began.
  if (text_.size() + 1 > longest_stop_) {
    search_from_ = std::max(search_from_, text_.size() + 1 - std::max<size_t>(longest_stop_, 1));
  }
  return false;
}

}  // namespace tandem
