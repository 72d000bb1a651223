// TANDEM_CHECK: an invariant of ours that, when broken, is a bug. Always on; for cold paths.
// TANDEM_DCHECK: the same, in debug builds only; for inner loops.
#ifndef TANDEM_COMMON_BASE_CHECK_H_
#define TANDEM_COMMON_BASE_CHECK_H_

namespace tandem {

// Prints the place and the condition to stderr and aborts. Never returns.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace tandem

#define TANDEM_CHECK(condition)                                              \
  do {                                                                       \
    if (!(condition)) ::tandem::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)

#ifdef NDEBUG
#define TANDEM_DCHECK(condition) \
  do {                           \
  } while (false)
#else
#define TANDEM_DCHECK(condition) TANDEM_CHECK(condition)
#endif

#endif  // TANDEM_COMMON_BASE_CHECK_H_
