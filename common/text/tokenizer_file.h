// What both readers of tokenizer files share: bytes, errors and the facts they find.
#ifndef TANDEM_COMMON_TEXT_TOKENIZER_FILE_H_
#define TANDEM_COMMON_TEXT_TOKENIZER_FILE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/text/tokenizer.h"

namespace tandem {

// The largest published file of this kind has 33 MB.
inline constexpr size_t kMaxTokenizerFileBytes = size_t{256} << 20;

// The errors of one file; each says where, what and what to do.
class FileErrors {
 public:
  explicit FileErrors(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  // DATA_LOSS: not what a program wrote.
  absl::Status Damaged(absl::string_view place, absl::string_view what) const;
  // INVALID_ARGUMENT: sound, but nothing that this program can follow.
  absl::Status Unsupported(absl::string_view place, absl::string_view what) const;

 private:
  std::string path_;
};

// What tokenizer_config.json says, as far as it matters here.
struct TokenizerConfig {
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::string bytes;  // The file, for the identity hash.
};

absl::StatusOr<std::string> ReadTokenizerFile(const std::string& path);
absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(std::string bytes, const FileErrors& errors);

// XXH3-64 of the tokenizer file, followed by the config where one was read.
uint64_t IdentityHash(absl::string_view file, const TokenizerConfig* config);

// The readers. `config` is null where a file is read alone.
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerJson(absl::string_view bytes,
                                                              const TokenizerConfig* config,
                                                              const FileErrors& errors);
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerModel(absl::string_view bytes,
                                                               const TokenizerConfig* config,
                                                               const FileErrors& errors);

// `text` between quotes for a message: control characters escaped, cut where long.
std::string Quoted(absl::string_view text);

}  // namespace tandem

#endif  // TANDEM_COMMON_TEXT_TOKENIZER_FILE_H_
