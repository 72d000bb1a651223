// Text of a growing list of ids, in pieces that are certain.
#ifndef TANDEM_COMMON_TEXT_STREAM_DECODER_H_
#define TANDEM_COMMON_TEXT_STREAM_DECODER_H_

#include <cstdint>
#include <string>

#include "common/text/tokenizer.h"

namespace tandem {

// Push returns whole characters only: a character whose bytes come as several tokens appears with
// the last of them. With tokenizer.json a run of byte tokens appears when it is over, because one
// invalid byte changes the text of all of it. All returned text together equals Decode of all ids.
class StreamDecoder {
 public:
  // The tokenizer outlives this.
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}

  std::string Push(int32_t id) {
    std::string text;
    tokenizer_->DecodeNext(id, skip_special_, &state_, &text);
    return text;
  }

  // What is still held back. Then it begins anew.
  std::string Finish() {
    std::string text;
    tokenizer_->DecodeEnd(skip_special_, &state_, &text);
    state_ = DecodeState();
    return text;
  }

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  DecodeState state_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_STREAM_DECODER_H_
