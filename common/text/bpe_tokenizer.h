// The tokenizer that both readers build: their formats differ in its parts only.
#ifndef TANDEM_COMMON_TEXT_BPE_TOKENIZER_H_
#define TANDEM_COMMON_TEXT_BPE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/text/added_tokens.h"
#include "common/text/bpe_model.h"
#include "common/text/piece_decoder.h"
#include "common/text/text_steps.h"
#include "common/text/tokenizer.h"
#include "common/text/utf8.h"
#include "common/text/vocabulary.h"

namespace tandem {

struct TokenizerParts {
  std::string format;
  uint64_t identity_hash = 0;
  Vocabulary vocabulary;

  // Text to ids, in this order.
  Utf8Repair repair = Utf8Repair::kEveryByte;
  std::vector<AddedToken> raw_tokens;  // Matched in the text as it is.
  std::vector<NormalizeStep> normalizer;
  std::vector<AddedToken> normalized_tokens;  // Contents as they stand in normalized text.
  std::vector<SplitStep> splits;
  bool whole_pieces_first = false;  // A part that is a piece is that piece, whatever merges say.
  std::unique_ptr<BpeModel> model;

  // What is added around a text.
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
  int32_t bos_id = -1;
  int32_t eos_id = -1;

  PieceDecoder decoder;
  bool drops_special = false;    // Whether Decode's skip_special does anything.
  std::vector<bool> is_special;  // By id.
};

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(TokenizerParts parts);

  std::vector<int32_t> Encode(absl::string_view text) const override;
  std::vector<int32_t> EncodeWithSpecial(absl::string_view text, AddBos add_bos) const override;
  bool HasSpecialToken(absl::string_view text, std::string* which) const override;
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override;
  void DecodeNext(int32_t id, bool skip_special, DecodeState* state,
                  std::string* out) const override;
  void DecodeEnd(bool skip_special, DecodeState* state, std::string* out) const override;
  int32_t vocab_size() const override { return parts_.vocabulary.size(); }
  std::string TokenText(int32_t id) const override;
  bool IsSpecial(int32_t id) const override;
  int32_t bos_id() const override { return parts_.bos_id; }
  int32_t eos_id() const override { return parts_.eos_id; }
  bool adds_bos() const override;
  std::string format() const override { return parts_.format; }
  uint64_t identity_hash() const override { return parts_.identity_hash; }

 private:
  // Added tokens and normalized text between them, in order.
  void SplitAtTokens(absl::string_view text,
                     absl::FunctionRef<void(absl::string_view normalized)> on_text,
                     absl::FunctionRef<void(const AddedToken& token)> on_token) const;
  void EncodeTo(absl::string_view text, std::vector<int32_t>* ids) const;
  void EncodePart(absl::string_view part, std::vector<int32_t>* ids) const;

  TokenizerParts parts_;
  AddedTokenMatcher raw_matcher_;
  AddedTokenMatcher normalized_matcher_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_BPE_TOKENIZER_H_
