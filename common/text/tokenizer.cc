#include "common/text/tokenizer.h"

#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/text/tokenizer_file.h"

namespace tandem {
namespace {

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

bool LooksLikeJson(absl::string_view bytes) {
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  return first != absl::string_view::npos && bytes[first] == '{';
}

absl::StatusOr<std::optional<TokenizerConfig>> LoadConfig(const std::string& path) {
  if (!Exists(path)) return std::optional<TokenizerConfig>();
  TANDEM_ASSIGN_OR_RETURN(std::string bytes, ReadTokenizerFile(path));
  TANDEM_ASSIGN_OR_RETURN(TokenizerConfig config,
                          ParseTokenizerConfig(std::move(bytes), FileErrors(path)));
  return std::optional<TokenizerConfig>(std::move(config));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::LoadFromModelDir(
    const std::string& directory) {
  const std::string json_path = absl::StrCat(directory, "/tokenizer.json");
  const std::string model_path = absl::StrCat(directory, "/tokenizer.model");
  const bool is_json = Exists(json_path);
  if (!is_json && !Exists(model_path)) {
    return WithExitCode(
        absl::NotFoundError(absl::StrCat(directory,
                                         ": neither tokenizer.json nor tokenizer.model is here; "
                                         "copy the model's tokenizer file into it")),
        ExitCode::kModel);
  }
  TANDEM_ASSIGN_OR_RETURN(const std::optional<TokenizerConfig> config,
                          LoadConfig(absl::StrCat(directory, "/tokenizer_config.json")));
  const TokenizerConfig* const config_or_null = config.has_value() ? &*config : nullptr;
  const std::string& path = is_json ? json_path : model_path;
  TANDEM_ASSIGN_OR_RETURN(const std::string bytes, ReadTokenizerFile(path));
  return is_json ? ParseTokenizerJson(bytes, config_or_null, FileErrors(path))
                 : ParseTokenizerModel(bytes, config_or_null, FileErrors(path));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::LoadFile(const std::string& path) {
  TANDEM_ASSIGN_OR_RETURN(const std::string bytes, ReadTokenizerFile(path));
  const FileErrors errors(path);
  if (bytes.empty()) return errors.Damaged("", "empty");
  return LooksLikeJson(bytes) ? ParseTokenizerJson(bytes, nullptr, errors)
                              : ParseTokenizerModel(bytes, nullptr, errors);
}

void Tokenizer::DecodeNext(int32_t id, bool /*skip_special*/, DecodeState* state,
                           std::string* /*out*/) const {
  state->ids.push_back(id);
}

void Tokenizer::DecodeEnd(bool skip_special, DecodeState* state, std::string* out) const {
  *out += Decode(state->ids, skip_special);
}

}  // namespace tandem
