#include "common/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace tandem {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s (a bug of tandem's; please report it)\n", file,
               line, condition);
  std::abort();
}

}  // namespace tandem
