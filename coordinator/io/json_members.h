// Where values lie in the text of an object or array: for giving them back byte for byte, and for
// reading nested ones without a tree of the whole.
#ifndef TANDEM_COORDINATOR_IO_JSON_MEMBERS_H_
#define TANDEM_COORDINATOR_IO_JSON_MEMBERS_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace tandem {

// The text must be valid JSON, of the kind that each function names (it was parsed before); on
// other text the result is meaningless, but no byte outside it is read.

// Calls visit(index, value) for each member of the object that `json` is, in order, with the
// value's own bytes. (By index, since a key may be spelled with escapes.)
void VisitMembers(absl::string_view json,
                  absl::FunctionRef<void(int64_t index, absl::string_view value)> visit);

// As above, with the key as it is spelled, quotes included.
void VisitMembersByKey(
    absl::string_view json,
    absl::FunctionRef<void(absl::string_view key, absl::string_view value)> visit);

// The same for each element of the array that `json` is, until `visit` returns false.
void VisitElements(absl::string_view json,
                   absl::FunctionRef<bool(int64_t index, absl::string_view value)> visit);

// The text of a string, from its JSON with the quotes; empty for what is none.
std::string DecodeJsonString(absl::string_view json);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_JSON_MEMBERS_H_
