// Small text files, read and written whole.
#ifndef TANDEM_COMMON_CONFIG_TEXT_FILE_H_
#define TANDEM_COMMON_CONFIG_TEXT_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tandem {

// The file's bytes. NOT_FOUND; INVALID_ARGUMENT when it has more than max_bytes, in which case
// nothing of it was read. The path is in the message.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, int64_t max_bytes);

// Writes it as PATH.partial and renames, so that no half file has the name. Errors as the system
// reports them.
absl::Status WriteTextFile(const std::string& path, absl::string_view text);

}  // namespace tandem

#endif  // TANDEM_COMMON_CONFIG_TEXT_FILE_H_
