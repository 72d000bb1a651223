// --config job.yaml: settings by name, in a file.
#ifndef TANDEM_COORDINATOR_CLI_CONFIG_FILE_H_
#define TANDEM_COORDINATOR_CLI_CONFIG_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/cli/options.h"

namespace tandem {

// Sets what the YAML text says, with Origin::kConfigFile. Keys are the flags' names ('_' or '-');
// null is not given; token ids are a sequence or text with commas. A key of another verb is passed
// over, so that one file serves several. `path` is for messages: "job.yaml:3: unknown setting ...".
absl::Status ApplyConfigFile(absl::string_view yaml, const std::string& path, Options* options);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_CONFIG_FILE_H_
