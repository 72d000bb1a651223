#include "common/text/tokenizer_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/json_text.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tandem {
namespace {

constexpr size_t kMaxQuotedBytes = 60;

}  // namespace

absl::Status FileErrors::Damaged(absl::string_view place, absl::string_view what) const {
  return WithExitCode(
      absl::DataLossError(absl::StrCat(path_, ": ", place, place.empty() ? "" : ": ", what,
                                       "; the file is damaged: copy or download it again")),
      ExitCode::kModel);
}

absl::Status FileErrors::Unsupported(absl::string_view place, absl::string_view what) const {
  return WithExitCode(
      absl::InvalidArgumentError(absl::StrCat(
          path_, ": ", place, place.empty() ? "" : ": ", what,
          " is not supported; use the tokenizer file that was published with the model")),
      ExitCode::kModel);
}

absl::StatusOr<std::string> ReadTokenizerFile(const std::string& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                       &std::fclose);
  if (file == nullptr) {
    const std::string message =
        absl::StrCat(path, ": cannot open: ", std::strerror(errno), "; check the path");
    return WithExitCode(
        errno == ENOENT ? absl::NotFoundError(message) : absl::PermissionDeniedError(message),
        ExitCode::kModel);
  }
  std::string bytes;
  constexpr size_t kChunk = size_t{4} << 20;
  while (bytes.size() <= kMaxTokenizerFileBytes) {
    const size_t old_size = bytes.size();
    bytes.resize(old_size + kChunk);
    const size_t num_read = std::fread(&bytes[old_size], 1, kChunk, file.get());
    bytes.resize(old_size + num_read);
    if (num_read == kChunk) continue;
    if (std::ferror(file.get()) == 0) return bytes;
    return WithExitCode(
        absl::DataLossError(absl::StrCat(path, ": cannot read: ", std::strerror(errno),
                                         "; check that it is a file on a sound disk")),
        ExitCode::kModel);
  }
  return WithExitCode(
      absl::InvalidArgumentError(absl::StrCat(path, ": larger than ", kMaxTokenizerFileBytes >> 20,
                                              " MiB, which no tokenizer file is; check the path")),
      ExitCode::kModel);
}

absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(std::string bytes, const FileErrors& errors) {
  TokenizerConfig config;
  try {
    const nlohmann::json json = nlohmann::json::parse(bytes, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return errors.Damaged("", "not a JSON object");
    const auto flag = [&](const char* key, std::optional<bool>* out) -> absl::Status {
      const auto it = json.find(key);
      if (it == json.end() || it->is_null()) return absl::OkStatus();
      if (!it->is_boolean()) return errors.Damaged(key, "not true or false");
      *out = it->get<bool>();
      return absl::OkStatus();
    };
    // A token is its text, or an object with its text as "content".
    const auto token = [&](const char* key, std::optional<std::string>* out) -> absl::Status {
      const auto it = json.find(key);
      if (it == json.end() || it->is_null()) return absl::OkStatus();
      const nlohmann::json* text = &*it;
      if (it->is_object() && it->contains("content")) text = &(*it)["content"];
      if (!text->is_string()) return errors.Damaged(key, "not a token");
      *out = text->get<std::string>();
      return absl::OkStatus();
    };
    absl::Status status = flag("add_bos_token", &config.add_bos_token);
    status.Update(flag("add_eos_token", &config.add_eos_token));
    status.Update(token("bos_token", &config.bos_token));
    status.Update(token("eos_token", &config.eos_token));
    if (!status.ok()) return status;
  } catch (const std::exception& e) {
    return errors.Damaged("", e.what());
  }
  config.bytes = std::move(bytes);
  return config;
}

uint64_t IdentityHash(absl::string_view file, const TokenizerConfig* config) {
  const uint64_t hash = XXH3_64bits(file.data(), file.size());
  if (config == nullptr || config->bytes.empty()) return hash;
  return XXH3_64bits_withSeed(config->bytes.data(), config->bytes.size(), hash);
}

std::string Quoted(absl::string_view text) {
  // Cut at the end of a character: the message stays valid UTF-8.
  return absl::StrCat("\"", absl::Utf8SafeCHexEscape(Shorten(text, kMaxQuotedBytes)), "\"");
}

}  // namespace tandem
