// Both readers on any bytes: they answer, and what they accept encodes and decodes any text, alone
// and as a stream. The input is the file, or the file, a byte 0xFE and a text.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/base/json_text.h"
#include "common/text/stream_decoder.h"
#include "common/text/tokenizer_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tandem;
  // Copies of their own size: a sanitizer sees a byte read behind them.
  std::string file(reinterpret_cast<const char*>(data), size);
  std::string text = "a b\n<bos>\xC3\xA9\xFF\xF0\x9F\x98\x80  <0x41>";
  if (const size_t mark = file.rfind('\xFE'); mark != std::string::npos) {
    text = file.substr(mark + 1);
    file.resize(mark);
    file.shrink_to_fit();
  }
  const FileErrors errors("file");
  const size_t first = file.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string::npos && file[first] == '{';
  const auto tokenizer = is_json ? ParseTokenizerJson(file, nullptr, errors)
                                 : ParseTokenizerModel(file, nullptr, errors);
  if (!tokenizer.ok()) {
    TANDEM_CHECK(FirstInvalidUtf8(tokenizer.status().message()) == absl::string_view::npos);
    return 0;
  }
  const Tokenizer& t = **tokenizer;
  std::vector<int32_t> ids = t.EncodeWithSpecial(text, AddBos::kAlways);
  for (const int32_t id : ids) TANDEM_CHECK(id >= 0 && id < t.vocab_size());
  TANDEM_CHECK(ids == t.EncodeWithSpecial(text, AddBos::kAlways));  // The second time, remembered.
  for (const int32_t id : {-1, 0, 1, t.vocab_size() - 1, t.vocab_size()}) {
    ids.push_back(id);
    TANDEM_CHECK(FirstInvalidUtf8(t.TokenText(id)) == absl::string_view::npos);
  }
  for (const bool skip_special : {false, true}) {
    StreamDecoder stream(t, skip_special);
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.Push(id);
    streamed += stream.Finish();
    TANDEM_CHECK(streamed == t.Decode(ids, skip_special));
    TANDEM_CHECK(FirstInvalidUtf8(streamed) == absl::string_view::npos);
  }
  return 0;
}
