// Text to token ids and back: byte-fallback BPE as Gemma's tokenizers have it.
#ifndef TANDEM_COMMON_TEXT_TOKENIZER_H_
#define TANDEM_COMMON_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tandem {

enum class AddBos : uint8_t { kAuto, kAlways, kNever };

// What decoding one id after another carries along; StreamDecoder is the way to use it.
struct DecodeState {
  std::string bytes;         // Of a run of byte pieces whose text is not known yet.
  int32_t num_stripped = 0;  // Characters taken off the front so far; -1: no more are.
  std::vector<int32_t> ids;  // All of them, in a tokenizer that cannot decode one by one.
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // DIR/tokenizer.json where it is, else DIR/tokenizer.model (then add_bos_token and add_eos_token
  // are read from tokenizer_config.json). NOT_FOUND where the folder has neither; DATA_LOSS /
  // INVALID_ARGUMENT with file and place for a damaged or unsupported one.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFromModelDir(const std::string& directory);
  // One file, told apart by its contents.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFile(const std::string& path);

  // Ids of the text without the special tokens that the file adds. Invalid UTF-8 is replaced by
  // U+FFFD as the reference of the format does. Thread-safe.
  virtual std::vector<int32_t> Encode(absl::string_view text) const = 0;
  // As above with what the tokenizer file adds in front and behind (its post-processor, or
  // add_bos_token and add_eos_token); kAlways and kNever override the bos in front. A tokenizer
  // without a bos (bos_id() < 0) adds none.
  virtual std::vector<int32_t> EncodeWithSpecial(absl::string_view text, AddBos add_bos) const = 0;
  // Whether encoding `text` makes a special token out of its characters: what
  // --no-special-in-prompt refuses. *which is the first one's text.
  virtual bool HasSpecialToken(absl::string_view text, std::string* which) const = 0;

  // Text of ids, as the reference of the format gives it. Ids outside the vocabulary are skipped.
  // tokenizer.model: control tokens have no text, whatever skip_special says, and all others have.
  virtual std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const = 0;
  // The same, id by id: appends what text is certain by now. DecodeEnd appends the rest; then all
  // that was appended equals Decode of all ids. (These defaults decode everything at the end.)
  virtual void DecodeNext(int32_t id, bool skip_special, DecodeState* state,
                          std::string* out) const;
  virtual void DecodeEnd(bool skip_special, DecodeState* state, std::string* out) const;

  virtual int32_t vocab_size() const = 0;
  // The piece; U+2581 as a space, byte pieces as the byte's character or U+FFFD.
  virtual std::string TokenText(int32_t id) const = 0;
  // tokenizer.model: control tokens and the turn markers, the tokens that its conversion to
  // tokenizer.json marks as special.
  virtual bool IsSpecial(int32_t id) const = 0;
  virtual int32_t bos_id() const = 0;  // -1 where there is none (also eos, pad, unk).
  virtual int32_t eos_id() const = 0;
  virtual bool adds_bos() const = 0;           // What kAuto does.
  virtual std::string format() const = 0;      // "tokenizer.json" or "tokenizer.model".
  virtual uint64_t identity_hash() const = 0;  // XXH3-64 of the file(s).
};

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_TOKENIZER_H_
