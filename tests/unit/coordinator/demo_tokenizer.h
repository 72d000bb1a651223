// The demo model's tokenizer, and text as its tokens.
#ifndef TANDEM_TESTS_UNIT_COORDINATOR_DEMO_TOKENIZER_H_
#define TANDEM_TESTS_UNIT_COORDINATOR_DEMO_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/text/tokenizer.h"

namespace tandem {

inline constexpr int32_t kEos = 1;
inline constexpr int32_t kFirstByte = 9;  // <0x00>; of most ASCII the letter itself is a token.

inline const Tokenizer& DemoTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer = [] {
    auto loaded = Tokenizer::LoadFromModelDir(std::string(TANDEM_SOURCE_DIR) + "/models/demo");
    TANDEM_CHECK(loaded.ok());
    return *std::move(loaded);
  }();
  return *tokenizer;
}

// Each of these texts as one token.
inline std::vector<int32_t> Tokens(const std::vector<std::string>& texts) {
  std::vector<int32_t> ids;
  for (const std::string& text : texts) {
    const std::vector<int32_t> of_text = DemoTokenizer().Encode(text);
    TANDEM_CHECK(of_text.size() == 1);
    ids.push_back(of_text.front());
  }
  return ids;
}

inline int32_t Byte(int value) { return kFirstByte + value; }

}  // namespace tandem

#endif  // TANDEM_TESTS_UNIT_COORDINATOR_DEMO_TOKENIZER_H_
