#include "coordinator/cli/verbs.h"
namespace tandem { ExitCode RunInit(const Options&) { return ExitCode::kBug; } }
