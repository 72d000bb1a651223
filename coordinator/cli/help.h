// Texts made of the tables: --help and the reference page.
#ifndef TANDEM_COORDINATOR_CLI_HELP_H_
#define TANDEM_COORDINATOR_CLI_HELP_H_

#include <string>

#include "coordinator/cli/option_table.h"

namespace tandem {

std::string ProgramHelp();        // tandem --help
std::string VerbHelp(Verb verb);  // tandem VERB --help

// docs/reference.md: verbs, flags, request fields, error codes, exit codes.
std::string ReferencePage();

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_HELP_H_
