// Texts made of the tables: --help, the reference page, the man page, the shell's completion.
#ifndef TANDEM_COORDINATOR_CLI_HELP_H_
#define TANDEM_COORDINATOR_CLI_HELP_H_

#include <string>

#include "coordinator/cli/option_table.h"

namespace tandem {

std::string ProgramHelp();        // tandem --help
std::string VerbHelp(Verb verb);  // tandem VERB --help

// docs/reference.md: verbs, flags, request fields, error codes, exit codes.
std::string ReferencePage();

// tandem --man-page: tandem(1) as roff. `version` stands in its footer.
std::string ManPage(absl::string_view version);

// tandem --bash-completion: what bash sources to complete verbs, flags and their values. It needs
// bash alone, not the package bash-completion.
std::string BashCompletion();

// Parts of these texts.
std::string FlagWithValue(const OptionInfo& option);  // "--max-tokens N", "--load auto|map|read"
bool ShowsDefault(const OptionInfo& option);

struct ExitCodeInfo {
  int code;
  absl::string_view meaning;
};
absl::Span<const ExitCodeInfo> ExitCodeTable();

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_HELP_H_
