// The known name that a mistyped one was most likely meant to be.
#ifndef TANDEM_COMMON_BASE_NEAREST_NAME_H_
#define TANDEM_COMMON_BASE_NEAREST_NAME_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tandem {

// The name of least edit distance (insert, delete, replace, swap of neighbours; case, '-' and '_'
// make no difference), the first of several; empty where `known` is. Only the first 64 bytes of
// `name` are looked at: it may be anything.
absl::string_view NearestName(absl::string_view name, absl::Span<const absl::string_view> known);

}  // namespace tandem

#endif  // TANDEM_COMMON_BASE_NEAREST_NAME_H_
