#include "coordinator/cli/verbs.h"
namespace tandem { ExitCode RunInspect(const Options&) { return ExitCode::kBug; } }
