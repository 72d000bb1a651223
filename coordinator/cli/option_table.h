// The table of all flags: what parses them, --help, the reference page and completion are made of
// it.
#ifndef TANDEM_COORDINATOR_CLI_OPTION_TABLE_H_
#define TANDEM_COORDINATOR_CLI_OPTION_TABLE_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tandem {

enum class Verb : uint8_t {
  kGenerate,
  kScore,
  kEmbed,
  kForward,
  kTokenize,
  kInspect,
  kInit,
  kEnv,
};
inline constexpr int kNumVerbs = 8;
// Whether it reads lines of requests and writes lines of results.
inline bool TakesRequests(Verb verb) {
  return verb == Verb::kGenerate || verb == Verb::kScore || verb == Verb::kEmbed;
}

struct VerbInfo {
  absl::string_view name;
  absl::string_view summary;   // Half a sentence.
  absl::string_view usage;     // Behind "tandem ".
  absl::string_view examples;  // Lines.
};
absl::Span<const VerbInfo> VerbTable();  // In the enum's order.
inline const VerbInfo& InfoOf(Verb verb) { return VerbTable()[static_cast<size_t>(verb)]; }
inline absl::string_view NameOf(Verb verb) { return InfoOf(verb).name; }
const Verb* FindVerb(absl::string_view name);  // Null: there is none.
std::vector<absl::string_view> VerbNames();

enum class OptionType : uint8_t {
  kFlag,      // true or false; without a value: true.
  kInteger,   // From `minimum` to `maximum`.
  kText,      //
  kChoice,    // One of `choices`.
  kTokenIds,  // Integers from 0 to 2^31 - 1 with commas between them.
  // Of requests' fields; their bounds are the field's (request_fields.h).
  kNumber,       //
  kTexts,        // May be given several times; or a JSON array of strings.
  kTokenBiases,  // ID=BIAS,ID=BIAS
};

enum class OptionGroup : uint8_t { kInputOutput, kRequest, kLayout, kEngine, kSettings };
inline constexpr int kNumOptionGroups = 5;
absl::string_view NameOf(OptionGroup group);  // A heading.

struct OptionInfo {
  absl::string_view name;  // "max-num-seqs"
  uint32_t verbs = 0;      // Bit i: the verb i has it.
  OptionType type = OptionType::kText;
  OptionGroup group = OptionGroup::kSettings;
  absl::string_view value_name;  // For help: "FILE". Of kChoice: the choices themselves.
  // As a user would write it; empty: none. A word ("auto", "off") as the default of an integer may
  // be written too, and is no integer then.
  absl::string_view default_value;
  absl::string_view choices;  // With '|' between them.
  int64_t minimum = 0;
  int64_t maximum = 0;
  absl::string_view help;

  bool BelongsTo(Verb verb) const { return (verbs >> static_cast<int>(verb) & 1u) != 0; }
};

// A name may stand in two rows, of different verbs.
absl::Span<const OptionInfo> OptionTable();
// The row of that name ('_' and '-' are the same) that belongs to the verb, as an index; -1: there
// is none.
int FindOption(Verb verb, absl::string_view name);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_OPTION_TABLE_H_
