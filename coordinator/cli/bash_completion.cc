// Completion for bash: a script that holds the table's names, and starts no process but bash's own.
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/config/presets.h"
#include "coordinator/cli/help.h"

namespace tandem {
namespace {

// What may stand behind a flag, in the script's words: ":files", ":folders", or the words
// themselves. Empty: anything, so that nothing is offered.
std::string ValuesOf(const OptionInfo& option) {
  if (option.type == OptionType::kChoice) return absl::StrReplaceAll(option.choices, {{"|", " "}});
  std::vector<std::string> values;
  // "NAME|CONFIG", "FILE|-", "DIR", "FILE".
  for (const absl::string_view part : absl::StrSplit(option.value_name, '|')) {
    if (part == "DIR") values.emplace_back(":folders");
    if (part == "FILE" || part == "CONFIG") values.emplace_back(":files");
    if (part == "NAME") {
      for (const std::string& preset : PresetNames()) values.push_back(preset);
    }
  }
  // The words of an integer: "auto", "off".
  if (option.type == OptionType::kInteger && !option.default_value.empty() &&
      absl::ascii_isalpha(static_cast<unsigned char>(option.default_value[0]))) {
    values.emplace_back(option.default_value);
  }
  return absl::StrJoin(values, " ");
}

std::string FlagsOf(Verb verb) {
  std::vector<std::string> flags;
  for (const OptionInfo& option : OptionTable()) {
    if (!option.BelongsTo(verb)) continue;
    // One that is on can only be turned off.
    const bool is_on = option.type == OptionType::kFlag && option.default_value == "true";
    flags.push_back(absl::StrCat("--", option.name, is_on ? "=false" : ""));
  }
  flags.emplace_back("--help");
  return absl::StrJoin(flags, " ");
}

// Patterns "VERB FLAG" of a row.
std::string PatternOf(const OptionInfo& option) {
  std::vector<std::string> patterns;
  for (int verb = 0; verb < kNumVerbs; ++verb) {
    if (!option.BelongsTo(static_cast<Verb>(verb))) continue;
    patterns.push_back(absl::StrCat("'", NameOf(static_cast<Verb>(verb)), " --", option.name, "'"));
  }
  return absl::StrJoin(patterns, "|");
}

std::string FlagCases() {
  std::string out;
  for (int verb = 0; verb < kNumVerbs; ++verb) {
    absl::StrAppend(&out, "    ", NameOf(static_cast<Verb>(verb)), ") echo '",
                    FlagsOf(static_cast<Verb>(verb)), "' ;;\n");
  }
  return out;
}

std::string ValueCases() {
  std::string out;
  for (const OptionInfo& option : OptionTable()) {
    const std::string words =
        option.type == OptionType::kFlag ? ":flag" : absl::StrCat(":value ", ValuesOf(option));
    absl::StrAppend(&out, "    ", PatternOf(option), ") echo '", words, "' ;;\n");
  }
  return out;
}

constexpr absl::string_view kHead =
    R"sh(# bash completion for tandem. Made by `tandem --bash-completion` of the program's table of flags.

# The flags of verb $1.
_tandem_flags() {
  case $1 in
)sh";

constexpr absl::string_view kValues = R"sh(  esac
}

# What stands behind flag $2 of verb $1: ":flag" (true or false, behind '=' alone), or ":value" and
# what it may be. Nothing: there is no such flag.
_tandem_values() {
  case "$1 ${2//_/-}" in
)sh";

constexpr absl::string_view kTail = R"sh(  esac
}

# Puts into COMPREPLY what of these words and kinds begins with $1.
_tandem_offer() {
  local begin=$1 word found
  shift
  for word in "$@"; do
    case $word in
      :files | :folders)
        local action=-f
        [[ $word == :folders ]] && action=-d
        compopt -o filenames 2>/dev/null
        while IFS= read -r found; do COMPREPLY+=("$found"); done < <(compgen "$action" -- "$begin")
        ;;
      *) [[ $word == "$begin"* ]] && COMPREPLY+=("$word") ;;
    esac
  done
}

_tandem() {
  COMPREPLY=()
  local verb=${COMP_WORDS[1]} word=${COMP_WORDS[COMP_CWORD]} flag='' equals='' prefix=''
  if ((COMP_CWORD == 1)); then
    _tandem_offer "$word" @VERBS@ help --help --version --man-page --bash-completion
    return
  fi
  if [[ $verb == help ]]; then
    ((COMP_CWORD == 2)) && _tandem_offer "$word" @VERBS@
    return
  fi
  # bash splits "--flag=value" into three words, unless '=' was taken out of COMP_WORDBREAKS.
  if [[ $word == --*=* ]]; then
    flag=${word%%=*} prefix=$flag= equals=1 word=${word#*=}
  elif [[ $word == = ]]; then
    flag=${COMP_WORDS[COMP_CWORD - 1]} equals=1 word=''
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == = ]] && ((COMP_CWORD > 2)); then
    flag=${COMP_WORDS[COMP_CWORD - 2]} equals=1
  else
    flag=${COMP_WORDS[COMP_CWORD - 1]}
  fi
  local values
  values=$(_tandem_values "$verb" "$flag")
  if [[ $values == :value* ]]; then
    local -a offered
    read -r -a offered <<<"${values#:value}"
    _tandem_offer "$word" "${offered[@]}"
  elif [[ -n $equals ]]; then
    [[ $values == :flag ]] && _tandem_offer "$word" true false
  elif [[ $verb == inspect && $word != -* ]]; then
    _tandem_offer "$word" :files
  elif [[ -z $word || $word == -* ]]; then
    local -a flags
    read -r -a flags <<<"$(_tandem_flags "$verb")"
    _tandem_offer "${word//_/-}" "${flags[@]}"
  fi
  [[ -n $prefix ]] && COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
}

complete -F _tandem tandem
)sh";

}  // namespace

std::string BashCompletion() {
  return absl::StrCat(kHead, FlagCases(), kValues, ValueCases(),
                      absl::StrReplaceAll(kTail, {{"@VERBS@", absl::StrJoin(VerbNames(), " ")}}));
}

}  // namespace tandem
