// Where the values of an object's members lie in its text, for giving them back byte for byte.
#ifndef TANDEM_COORDINATOR_IO_JSON_MEMBERS_H_
#define TANDEM_COORDINATOR_IO_JSON_MEMBERS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace tandem {

// Calls visit(index, value) for each member of the object that `json` is, in order, with the
// value's own bytes. `json` must be valid JSON, an object (it was parsed before); on other text the
// result is meaningless, but no byte outside it is read. (By index, since a key may be spelled with
// escapes.)
void VisitMembers(absl::string_view json,
                  absl::FunctionRef<void(int64_t index, absl::string_view value)> visit);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_JSON_MEMBERS_H_
