// The settings of one run: each has a value and remembers where it came from.
#ifndef TANDEM_COORDINATOR_CLI_OPTIONS_H_
#define TANDEM_COORDINATOR_CLI_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/log.h"
#include "common/parallel/layout.h"
#include "coordinator/cli/option_table.h"
#include "coordinator/io/request.h"
#include "coordinator/io/run_record.h"

namespace tandem {

// The nearer to the front, the stronger. The request itself is stronger than all.
enum class Origin : uint8_t { kFlag, kEnvironment, kConfigFile, kModel, kBuiltIn };
absl::string_view NameOf(Origin origin);  // "flag", "environment", "config file", ...

class Options {
 public:
  explicit Options(Verb verb);  // Every option of the verb at its built-in value.

  Verb verb() const { return verb_; }

  // By the table's name ("max-num-seqs"). A name that the verb has not, or another type, is a bug
  // (TANDEM_CHECK).
  bool Flag(absl::string_view name) const;
  // Not set where there is no default, or it is a word ("auto", "off").
  std::optional<int64_t> Integer(absl::string_view name) const;
  const std::string& Text(absl::string_view name) const;  // kText and kChoice; empty: not given.
  std::vector<int32_t> TokenIds(absl::string_view name) const;
  double Number(absl::string_view name) const;
  std::vector<std::string> Texts(absl::string_view name) const;
  std::vector<std::pair<int32_t, float>> TokenBiases(absl::string_view name) const;  // Sorted.
  Origin OriginOf(absl::string_view name) const;
  // Given by the user: not the built-in value, nor the model's.
  bool IsGiven(absl::string_view name) const;

  // Takes a value if none of a stronger origin is there. `where` is what messages call the setting:
  // "--max-tokens", "TANDEM_MAX_TOKENS", "job.yaml:3: max_tokens". INVALID_ARGUMENT says what it
  // must be; exit code kUsage.
  absl::Status Set(int option, std::string value, Origin origin, absl::string_view where);

  // generation_config.json's word on a default of the requests: weaker than anything a user said.
  // `where` names its file and key. Exit code kModel.
  absl::Status SetModelDefault(absl::string_view name, std::string value, absl::string_view where);

  // Back to the built-in value.
  void Reset(absl::string_view name);

  // As YAML that --config takes: "max_tokens: 64  # flag", a line for each option of the verb.
  std::string PrintConfig() const;
  std::vector<RunSetting> Settings() const;  // The same, for OUT.run.json.

 private:
  struct Value {
    std::string text;
    Origin origin = Origin::kBuiltIn;
  };
  const Value& Find(absl::string_view name, OptionType type) const;

  Verb verb_;
  std::vector<Value> values_;  // By row of the table.
};

// What the rest of the program wants of them.
LogOptions MakeLogOptions(const Options& options);
LayoutFlags MakeLayoutFlags(const Options& options);  // generate, forward
// generate. Of settings that exclude each other the weaker is put back first
// (SettleRequestDefaults).
RequestDefaults MakeRequestDefaults(const Options& options);
// Applies the rule of decoding_rules.h to the settings: what gives way is reset. Two of the same
// origin are an error (exit code kModel where it is the model's, else kUsage).
absl::Status SettleRequestDefaults(Options* options);
// Whether the token ids among them lie in the model's vocabulary; exit code kUsage.
absl::Status CheckVocabulary(const RequestDefaults& defaults, int64_t decoder_vocab_size);
// "[a\"b, c]" and the like: a value of several texts for Set.
std::string TextsValue(const std::vector<std::string>& texts);
// The line of --prompt or --prompt-token-ids; not set: there is an --input.
std::optional<std::string> RequestLineOf(const Options& options);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_OPTIONS_H_
