// tandem(1). Words of the table are plain text with `code` in backticks; roff reads '\', '-', a
// leading '.' or '\'' and some ASCII signs as its own, so that every word is escaped here.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "coordinator/cli/help.h"
#include "coordinator/io/request_fields.h"

namespace tandem {
namespace {

// Text for a line of roff, or for a macro's argument in quotes. A '-' stays the ASCII one, so that
// flags can be copied from the page.
std::string Roff(absl::string_view text) {
  std::string out = absl::StrReplaceAll(text, {{"\\", "\\[rs]"},
                                               {"-", "\\-"},
                                               {"'", "\\[aq]"},
                                               {"\"", "\\[dq]"},
                                               {"`", "\\[ga]"},
                                               {"^", "\\[ha]"},
                                               {"~", "\\[ti]"}});
  if (!out.empty() && out[0] == '.') out.insert(0, "\\&");
  return out;
}

// The same with what stands in backticks in bold.
std::string RoffProse(absl::string_view text) {
  std::string out;
  bool code = false;
  for (const absl::string_view part : absl::StrSplit(text, '`')) {
    absl::StrAppend(&out, code ? "\\fB" : "", Roff(part), code ? "\\fR" : "");
    code = !code;
  }
  return out;
}

std::string Tagged(absl::string_view tag, absl::string_view text) {
  return absl::StrCat(".TP\n", tag, "\n", text, "\n");
}

// Lines as they are. "\&" keeps those that begin with a sign of roff's, and empty ones.
std::string Example(absl::string_view lines) {
  std::string out = ".PP\n.RS 4\n.nf\n";
  for (const absl::string_view line : absl::StrSplit(absl::StripSuffix(lines, "\n"), '\n')) {
    absl::StrAppend(&out, "\\&", Roff(line), "\n");
  }
  absl::StrAppend(&out, ".fi\n.RE\n");
  return out;
}

// "\fB--max-tokens\fR \fIN\fR"; words to be typed are bold, those to be replaced are not.
std::string FlagTag(const OptionInfo& option) {
  const std::string flag = FlagWithValue(option);
  const size_t space = std::min(flag.find(' '), flag.size());
  std::string tag = absl::StrCat("\\fB", Roff(flag.substr(0, space)), "\\fR");
  if (space < flag.size()) {
    const std::string font = option.type == OptionType::kChoice ? "\\fB" : "\\fI";
    absl::StrAppend(&tag, " ", font, Roff(flag.substr(space + 1)), "\\fR");
  }
  return tag;
}

bool IsOfEveryVerb(const OptionInfo& option) {
  for (int verb = 0; verb < kNumVerbs; ++verb) {
    if (!option.BelongsTo(static_cast<Verb>(verb))) return false;
  }
  return true;
}

std::string FlagEntry(const OptionInfo& option) {
  std::string help(option.help);
  if (ShowsDefault(option)) absl::StrAppend(&help, " (default: ", option.default_value, ")");
  return Tagged(FlagTag(option), RoffProse(help));
}

std::string VerbSection(Verb verb) {
  const VerbInfo& info = InfoOf(verb);
  std::string out =
      absl::StrCat(".SS \"tandem ", Roff(info.name), "\"\nIt ", RoffProse(info.summary), ".\n",
                   Example("tandem " + std::string(info.usage)));
  for (int group = 0; group < kNumOptionGroups; ++group) {
    std::string flags;
    for (const OptionInfo& option : OptionTable()) {
      if (static_cast<int>(option.group) != group || !option.BelongsTo(verb)) continue;
      if (!IsOfEveryVerb(option)) absl::StrAppend(&flags, FlagEntry(option));
    }
    if (flags.empty()) continue;
    absl::StrAppend(&out, ".PP\n\\fI", Roff(NameOf(static_cast<OptionGroup>(group))), "\\fR\n",
                    flags);
  }
  return out;
}

std::string VerbSections() {
  std::string out = ".SH VERBS\n";
  for (int verb = 0; verb < kNumVerbs; ++verb) {
    absl::StrAppend(&out, VerbSection(static_cast<Verb>(verb)));
  }
  absl::StrAppend(&out, ".SS \"Of every verb\"\n");
  for (const OptionInfo& option : OptionTable()) {
    if (IsOfEveryVerb(option)) absl::StrAppend(&out, FlagEntry(option));
  }
  absl::StrAppend(&out, Tagged("\\fB\\-\\-help\\fR", "the verb's flags, and end"));
  return out;
}

std::string FieldsSection() {
  std::string out =
      ".SH REQUEST FIELDS\nA request is one JSON object a line, UTF\\-8, with exactly one of "
      "\\fBprompt\\fR and \\fBprompt_token_ids\\fR. In brackets: the default.\n";
  for (const FieldInfo& field : FieldTable()) {
    std::string text = RoffProse(field.expects);
    if (field.default_text != "-" && !field.default_text.empty()) {
      absl::StrAppend(&text, " [", RoffProse(field.default_text), "]");
    }
    absl::StrAppend(&out, Tagged(absl::StrCat("\\fB", Roff(field.name), "\\fR"), text));
  }
  return out;
}

std::string ExitSection() {
  std::string out = ".SH EXIT STATUS\n";
  for (const ExitCodeInfo& exit : ExitCodeTable()) {
    absl::StrAppend(&out, Tagged(absl::StrCat("\\fB", exit.code, "\\fR"), RoffProse(exit.meaning)));
  }
  return out;
}

std::string ExamplesSection() {
  std::string out = ".SH EXAMPLES\n";
  for (const VerbInfo& verb : VerbTable()) absl::StrAppend(&out, Example(verb.examples));
  return out;
}

constexpr absl::string_view kDescription =
    ".SH DESCRIPTION\n"
    "tandem answers files of requests with T5Gemma 2, an encoder\\-decoder model, on one process "
    "or "
    "on many that \\fBmpirun\\fR(1) or \\fBsrun\\fR(1) starts. Each request line gets exactly one "
    "result line: an answer, or an error that says what was wrong with it. The bytes of a result "
    "do not depend on how many ranks computed it, nor on the batch it travelled in.\n"
    ".PP\n"
    "Each flag is also a key of the file that \\fB\\-\\-config\\fR names (\\fBmax_tokens: 64\\fR) "
    "and an environment variable (\\fBTANDEM_MAX_TOKENS=64\\fR). The strongest word on a setting "
    "is the request\\[aq]s own field, then the flag, the environment, the \\fB\\-\\-config\\fR "
    "file, the model\\[aq]s \\fIgeneration_config.json\\fR, and the built\\-in default. "
    "\\fB\\-\\-print\\-config\\fR shows every value with where it came from.\n";

constexpr absl::string_view kEnvironment =
    ".SH ENVIRONMENT\n"
    ".TP\n\\fBTANDEM_\\fR\\fIFLAG\\fR\n"
    "the flag of that name, with capitals and underscores: \\fBTANDEM_LOG_LEVEL\\fR is "
    "\\fB\\-\\-log\\-level\\fR. An empty one says nothing; one that is no flag is a warning.\n"
    ".TP\n\\fBNO_COLOR\\fR, \\fBTERM\\fR\n"
    "the progress bar is without color where \\fBNO_COLOR\\fR is set, and a plain line now and "
    "then where \\fBTERM\\fR is \\fBdumb\\fR.\n"
    ".TP\n\\fBOMPI_ALLOW_RUN_AS_ROOT\\fR, \\fBOMPI_ALLOW_RUN_AS_ROOT_CONFIRM\\fR\n"
    "both 1: Open MPI\\[aq]s \\fBmpirun\\fR starts jobs of root.\n";

constexpr absl::string_view kFiles =
    ".SH FILES\n"
    ".TP\n\\fIDIR\\fR/\\fBconfig.json\\fR, \\fBmodel.safetensors\\fR or its shards, "
    "\\fBtokenizer.json\\fR or \\fBtokenizer.model\\fR, \\fBgeneration_config.json\\fR\n"
    "the checkpoint, as Hugging Face publishes it. Without a tokenizer, requests are token ids.\n"
    ".TP\n\\fIOUT\\fR\\fB.partial\\fR\n"
    "the results while the job runs; renamed to \\fIOUT\\fR when they are complete.\n"
    ".TP\n\\fIOUT\\fR\\fB.run.json\\fR\n"
    "what the job was: version, command, settings and where each came from, the model, layout, "
    "hosts, times, and errors by code.\n";

}  // namespace

std::string ManPage(absl::string_view version) {
  return absl::StrCat(
      ".\\\" Made by tandem --man-page of the program's own tables.\n"
      ".TH TANDEM 1 \"\" \"tandem ",
      Roff(version),
      "\" \"User Commands\"\n"
      ".nh\n"  // A hyphen inside a flag or a variable would be copied with it.
      ".SH NAME\ntandem \\- distributed inference of T5Gemma 2\n"
      ".SH SYNOPSIS\n"
      "\\fBtandem\\fR \\fIVERB\\fR [\\fIflags\\fR]\n.br\n"
      "\\fBtandem\\fR \\fIVERB\\fR \\fB\\-\\-help\\fR\n.br\n"
      "\\fBtandem\\fR \\fB\\-\\-help\\fR | \\fB\\-\\-version\\fR | \\fB\\-\\-man\\-page\\fR | "
      "\\fB\\-\\-bash\\-completion\\fR\n",
      kDescription, VerbSections(), FieldsSection(), kEnvironment, kFiles, ExitSection(),
      ExamplesSection(), ".SH SEE ALSO\n\\fBmpirun\\fR(1), \\fBsrun\\fR(1)\n");
}

}  // namespace tandem
