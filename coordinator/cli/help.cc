#include "coordinator/cli/help.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "coordinator/io/request_error.h"
#include "coordinator/io/request_fields.h"

namespace tandem {
namespace {

constexpr size_t kHelpColumn = 28;
constexpr size_t kHelpWidth = 90;

// Words in lines of at most kHelpWidth, each line but the first indented.
std::string Wrapped(absl::string_view text, size_t indent) {
  std::string out;
  size_t column = indent;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    if (column > indent && column + 1 + word.size() > kHelpWidth) {
      absl::StrAppend(&out, "\n", std::string(indent, ' '));
      column = indent;
    }
    if (column > indent) {
      out.push_back(' ');
      ++column;
    }
    absl::StrAppend(&out, word);
    column += word.size();
  }
  return out;
}

std::string Indented(absl::string_view lines) {
  std::string out;
  for (const absl::string_view line : absl::StrSplit(lines, '\n', absl::SkipEmpty())) {
    absl::StrAppend(&out, "  ", line, "\n");
  }
  return out;
}

std::string VerbList() {
  std::string out;
  for (const VerbInfo& verb : VerbTable()) {
    absl::StrAppend(&out, "  ", verb.name, std::string(12 - verb.name.size(), ' '),
                    Wrapped(verb.summary, 14), "\n");
  }
  return out;
}

// In a table's cell '|' would end it.
std::string Cell(absl::string_view text) { return absl::StrReplaceAll(text, {{"|", "\\|"}}); }

std::string VerbsOf(const OptionInfo& option) {
  std::vector<std::string> names;
  for (int verb = 0; verb < kNumVerbs; ++verb) {
    if (option.BelongsTo(static_cast<Verb>(verb))) {
      names.push_back(std::string(NameOf(static_cast<Verb>(verb))));
    }
  }
  return names.size() == kNumVerbs ? "all" : absl::StrJoin(names, ", ");
}

// "generate, score, embed"; of OpenAI's bodies the ends of their urls.
std::string FormsOf(const FieldInfo& field) {
  constexpr std::pair<LineForm, absl::string_view> kForms[] = {
      {LineForm::kGenerate, "generate"},     {LineForm::kScore, "score"},
      {LineForm::kEmbed, "embed"},           {LineForm::kCompletions, "completions"},
      {LineForm::kChat, "chat/completions"}, {LineForm::kEmbeddings, "embeddings"}};
  std::vector<absl::string_view> names;
  const bool own = field.BelongsTo(LineForm::kGenerate) || field.BelongsTo(LineForm::kScore) ||
                   field.BelongsTo(LineForm::kEmbed);
  for (const auto& [form, name] : kForms) {
    if (field.BelongsTo(form) && (!own || form <= LineForm::kEmbed)) names.push_back(name);
  }
  return absl::StrJoin(names, ", ");
}

std::string ReferenceVerbs() {
  std::string out = "## Verbs\n";
  for (const VerbInfo& verb : VerbTable()) {
    absl::StrAppend(&out, "\n### tandem ", verb.name, "\n\nIt ", verb.summary, ".\n\n```\ntandem ",
                    verb.usage, "\n```\n\nExamples:\n\n```sh\n", verb.examples, "```\n");
  }
  return out;
}

std::string ReferenceFlags() {
  std::string out =
      "\n## Flags\n\n"
      "Each flag is also a key of the file that `--config` names (`max_tokens: 64`) and an "
      "environment variable (`TANDEM_MAX_TOKENS=64`); `_` and `-` are the same in names. The "
      "strongest word on a setting is the request's own field, then the flag, the environment, the "
      "`--config` file, the model's `generation_config.json`, and the default below. "
      "`--print-config` shows every value with where it came from. `--help` and `--version` "
      "do what they do everywhere.\n";
  for (int group = 0; group < kNumOptionGroups; ++group) {
    absl::StrAppend(&out, "\n### ", NameOf(static_cast<OptionGroup>(group)),
                    "\n\n| flag | of | default | what |\n| --- | --- | --- | --- |\n");
    for (const OptionInfo& option : OptionTable()) {
      if (static_cast<int>(option.group) != group) continue;
      absl::StrAppend(&out, "| `", Cell(FlagWithValue(option)), "` | ", VerbsOf(option), " | ",
                      option.default_value.empty() ? "-" : option.default_value, " | ",
                      Cell(option.help), " |\n");
    }
  }
  return out;
}

void AppendFieldRows(absl::FunctionRef<bool(const FieldInfo&)> wanted, bool with_forms,
                     std::string* out) {
  for (const FieldInfo& field : FieldTable()) {
    if (!wanted(field)) continue;
    absl::StrAppend(out, "| `", field.name, "` | ");
    if (with_forms) absl::StrAppend(out, FormsOf(field), " | ");
    absl::StrAppend(out, Cell(field.expects), " | ", Cell(field.default_text), " | ",
                    Cell(field.note), field.served ? "" : "; this version serves the default alone",
                    " |\n");
  }
}

bool IsOwn(const FieldInfo& field) {
  return field.BelongsTo(LineForm::kGenerate) || field.BelongsTo(LineForm::kScore) ||
         field.BelongsTo(LineForm::kEmbed);
}

std::string ReferenceFields() {
  std::string out =
      "\n## Requests\n\n"
      "One JSON object a line, UTF-8. Blank lines are skipped. `null` is the same as a field that "
      "is not there (`metadata` excepted). Where an integer is wanted, `2.0` is one and `2.5` is "
      "not; an id is written without fraction and exponent. A field may stand in a line once. "
      "Arrays and objects are nested at most 64 deep, and numbers lie within the range of a "
      "double.\n\n"
      "| field | of | value | default | what |\n| --- | --- | --- | --- | --- |\n";
  AppendFieldRows(IsOwn, /*with_forms=*/true, &out);
  absl::StrAppend(
      &out,
      "\nThe defaults are those of the flags of the same names, which flags, environment, "
      "`--config` and the model's `generation_config.json` may change. What a line says wins over "
      "what it inherits from them: where the line asks for a way of decoding that excludes an "
      "inherited one (`num_beams` above 1 against `temperature` above 0, `stop`, or a `best_of` "
      "that is not `n`), the inherited one is switched off for this line. Two of the line's own "
      "that exclude each other are an error, and so are numbers that do not fit one another "
      "(`min_tokens` above `max_tokens`, `n` above `best_of` or `num_beams`). Among flags, "
      "environment, `--config` and `generation_config.json` the stronger wins in the same way.\n\n"
      "`generation_config.json` sets `temperature` (with `do_sample`: without it or with `false` "
      "decoding is greedy, as in transformers), `top_k`, `top_p`, `min_p`, `num_beams`, `n` "
      "(`num_return_sequences`), `length_penalty`, `early_stopping`, `repetition_penalty`, "
      "`no_repeat_ngram_size`, `stop` (`stop_strings`), `max_tokens` (`max_new_tokens`, or "
      "`max_length` less the start token) and `min_tokens` (`min_new_tokens`, or `min_length` "
      "less the start token). Its other options that change results are warned of. What it does "
      "not say keeps the defaults above, not those of transformers (`top_k` 50, 20 tokens).\n\n"
      "### OpenAI batch lines\n\n"
      "A line with `custom_id`, or with `url` and `body`, is a line as OpenAI's Batch API takes "
      "them; both kinds may stand in one file.\n\n"
      "| field | value | default | what |\n| --- | --- | --- | --- |\n");
  AppendFieldRows([](const FieldInfo& field) { return field.BelongsTo(LineForm::kBatchLine); },
                  /*with_forms=*/false, &out);
  absl::StrAppend(
      &out,
      "\nThe body has these fields, and for `/v1/completions` and `/v1/chat/completions` all "
      "fields of decoding above, too (`top_k`, `num_beams`, ...). Where neither the line nor "
      "flags, environment, `--config` or `generation_config.json` say otherwise, `temperature` is "
      "1, and `max_tokens` of `/v1/completions` 16, as OpenAI has it. There is no chat template: "
      "the text of the one user message is the prompt.\n\n"
      "| field | of | value | default | what |\n| --- | --- | --- | --- | --- |\n");
  AppendFieldRows(
      [](const FieldInfo& field) {
        return !IsOwn(field) && !field.BelongsTo(LineForm::kBatchLine);
      },
      /*with_forms=*/true, &out);
  return out;
}

std::string ReferenceResults() {
  std::string out =
      "\n## Results\n\n"
      "```\n"
      "{\"id\":\"7\",\"outputs\":[{\"index\":0,\"text\":\"MMXXVI\",\"token_ids\":[88,301],"
      "\"finish_reason\":\"stop\",\"stop_reason\":1,\"cumulative_logprob\":-0.0123,"
      "\"logprobs\":[{\"token_id\":88,\"token\":\"MM\",\"logprob\":-0.01,"
      "\"top\":[{\"token_id\":88,\"token\":\"MM\",\"logprob\":-0.01}]}]}],"
      "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12},"
      "\"metadata\":{}}\n"
      "{\"id\":\"8\",\"error\":{\"code\":\"prompt_too_long\",\"message\":\"prompt has 131,090 "
      "tokens; "
      "the model takes 131,072 (use --truncate to cut it)\",\"param\":\"prompt\"},\"line\":9}\n"
      "```\n\n"
      "`token_ids` leaves the stop token out, `completion_tokens` counts it. `finish_reason` is "
      "`stop` or `length`; `stop_reason` is the stop token's id or the stop string, null with "
      "`length`. `logprobs` is there where it was asked for, `score` (a beam's, normalised by its "
      "length) with beams, `metadata` where it was given, `\"truncated\":true` where `--truncate` "
      "cut the prompt. `text` is null where the model folder has no tokenizer. Numbers are the "
      "shortest decimals that read back as the same fp32 value. `line` counts from 1. A line whose "
      "`id` cannot be read has the id of a line without one: its number from 0.\n\n"
      "`score` and `embed` requests, and OpenAI batch lines (one line each):\n\n"
      "```\n"
      "{\"id\":\"7\",\"token_ids\":[88,301,1],\"logprobs\":[-0.01,-0.5,-0.002],"
      "\"sum_logprob\":-0.512,\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,"
      "\"total_tokens\":12}}\n"
      "{\"id\":\"7\",\"embedding\":[0.25,-1.5],\"usage\":{\"prompt_tokens\":9,"
      "\"total_tokens\":9}}\n"
      "{\"id\":\"batch_req_HASH\",\"custom_id\":\"r-1\",\"response\":{\"status_code\":200,"
      "\"request_id\":\"req_HASH\",\"body\":{\"id\":\"cmpl-HASH\",\"object\":\"text_completion\","
      "\"created\":0,\"model\":\"m\",\"choices\":[{\"text\":\"MMXXVI\",\"index\":0,"
      "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
      "\"completion_tokens\":3,\"total_tokens\":12}}},\"error\":null}\n"
      "{\"id\":\"batch_req_HASH\",\"custom_id\":\"r-2\",\"response\":{\"status_code\":400,"
      "\"request_id\":\"req_HASH\",\"body\":{\"error\":{\"message\":\"n must be an integer from 1 "
      "to 256, not 0\",\"type\":\"invalid_request_error\",\"param\":\"n\","
      "\"code\":\"invalid_value\"}}},\"error\":null}\n"
      "```\n\n"
      "`HASH` is made of `custom_id` and the bytes of `body`, and `created` is 0, so that two runs "
      "give the same bytes. The choices of the i-th of several prompts are numbered from i times "
      "`n` on. `text_offset` counts the characters of `tokens`.\n\n"
      "### Error codes\n\n| code | what |\n| --- | --- |\n";
  for (const RequestErrorInfo& error : RequestErrorTable()) {
    absl::StrAppend(&out, "| `", error.name, "` | ", Cell(error.meaning), " |\n");
  }
  return out;
}

std::string ReferenceRunRecord() {
  return "\n## The run record\n\n"
         "`OUT.run.json` beside the results of `generate` is one JSON object: `version`, `commit`, "
         "`command`, `working_directory`; `settings`, each with `value` and `origin`; `model` with "
         "`path`, `identity` (a hash of configuration, index and tensor headers) and the "
         "`tokenizer`'s; `compute_type`, `numerics_class` and `isa`; `layout` as a layout file, "
         "and "
         "`hosts` and `ranks` by rank; `launch`, `start` (weights are loaded), `end` and `seconds` "
         "from `start`; `requests`, `answered`, `failed`, `errors` by code, `prompt_tokens` and "
         "`completion_tokens`. It is written when the results are complete; fields may be added.\n";
}

std::string ReferenceExitCodes() {
  std::string out = "\n## Exit codes\n\n| code | what |\n| --- | --- |\n";
  for (const ExitCodeInfo& exit : ExitCodeTable()) {
    absl::StrAppend(&out, "| ", exit.code, " | ", Cell(exit.meaning), " |\n");
  }
  return out;
}

}  // namespace

std::string FlagWithValue(const OptionInfo& option) {
  const absl::string_view value =
      option.type == OptionType::kChoice ? option.choices : option.value_name;
  std::string flag = absl::StrCat("--", option.name);
  if (!value.empty()) absl::StrAppend(&flag, " ", value);
  if (option.type == OptionType::kFlag && option.default_value == "true") {
    absl::StrAppend(&flag, "=false");
  }
  return flag;
}

bool ShowsDefault(const OptionInfo& option) {
  return !option.default_value.empty() && option.type != OptionType::kFlag;
}

absl::Span<const ExitCodeInfo> ExitCodeTable() {
  static constexpr ExitCodeInfo kCodes[] = {
      {0, "all requests were answered"},
      {1, "a bug of tandem's"},
      {2, "usage, configuration or layout, before any rank computes"},
      {3, "done, with failed requests"},
      {4, "the model or the tokenizer"},
      {5, "a rank or host is lost, or stalled"},
      {6, "input or output"},
      {75, "stopped on request; run it again to go on"},
  };
  return kCodes;
}

std::string ProgramHelp() {
  return absl::StrCat(
      "tandem - distributed inference of T5Gemma 2\n\nUsage:\n  tandem VERB [flags]\n"
      "  tandem VERB --help\n  tandem --version\n\nVerbs:\n",
      VerbList(),
      "\nFor a first try:\n  tandem generate --model DIR --prompt TEXT --format text\n"
      "\nMade of the same table of flags:\n"
      "  tandem --man-page           the manual, as man -l reads it\n"
      "  tandem --bash-completion    completion for bash: source <(tandem --bash-completion)\n");
}

std::string VerbHelp(Verb verb) {
  const VerbInfo& info = InfoOf(verb);
  std::string out =
      absl::StrCat("tandem ", info.name, " - ", Wrapped(info.summary, 10 + info.name.size()),
                   "\n\nUsage:\n  tandem ", info.usage, "\n");
  for (int group = 0; group < kNumOptionGroups; ++group) {
    std::string lines;
    for (const OptionInfo& option : OptionTable()) {
      if (static_cast<int>(option.group) != group || !option.BelongsTo(verb)) continue;
      std::string help(option.help);
      if (ShowsDefault(option)) absl::StrAppend(&help, " (default: ", option.default_value, ")");
      std::string line = absl::StrCat("  ", FlagWithValue(option));
      if (line.size() + 2 > kHelpColumn) {
        absl::StrAppend(&line, "\n", std::string(kHelpColumn, ' '));
      } else {
        line.resize(kHelpColumn, ' ');
      }
      absl::StrAppend(&lines, line, Wrapped(help, kHelpColumn), "\n");
    }
    if (lines.empty()) continue;
    absl::StrAppend(&out, "\n", NameOf(static_cast<OptionGroup>(group)), ":\n", lines);
  }
  absl::StrAppend(
      &out, "  --help", std::string(kHelpColumn - 8, ' '), "this text\n\nExamples:\n",
      Indented(info.examples),
      "\nEach flag is also a key of --config (max_tokens: 64) and an environment variable\n"
      "(TANDEM_MAX_TOKENS=64). The flag is the strongest.\n");
  return out;
}

std::string ReferencePage() {
  return absl::StrCat(
      "# Reference\n\n"
      "Made of the tables in the source (`coordinator/cli/option_table.cc`, "
      "`coordinator/io/request_fields.cc`, `coordinator/io/request_error.cc`); a test fails when "
      "this page and they differ.\n\n",
      ReferenceVerbs(), ReferenceFlags(), ReferenceFields(), ReferenceResults(),
      ReferenceRunRecord(), ReferenceExitCodes());
}

}  // namespace tandem
