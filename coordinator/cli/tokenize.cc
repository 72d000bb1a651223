// tandem tokenize
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/text/tokenizer.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/io/line_reader.h"

namespace tandem {
namespace {

using nlohmann::json;

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const Options& options) {
  const std::string& file = options.Text("tokenizer");
  return file.empty() ? Tokenizer::LoadFromModelDir(options.Text("model"))
                      : Tokenizer::LoadFile(file);
}

absl::Status LineError(const InputLine& line, absl::string_view message) {
  return WithExitCode(
      absl::InvalidArgumentError(absl::StrCat("standard input, line ", line.number, ": ", message)),
      ExitCode::kFile);
}

absl::StatusOr<std::string> Encode(const Tokenizer& tokenizer, AddBos add_bos, const json& object,
                                   const InputLine& line) {
  const auto text = object.find("text");
  if (text == object.end() || !text->is_string()) {
    return LineError(line, "expected {\"text\": \"...\"}");
  }
  const json out = {{"ids", tokenizer.EncodeWithSpecial(text->get<std::string>(), add_bos)}};
  return out.dump();
}

absl::StatusOr<std::string> Decode(const Tokenizer& tokenizer, bool keep_special,
                                   const json& object, const InputLine& line) {
  const auto ids = object.find("ids");
  std::vector<int32_t> values;
  bool integers = ids != object.end() && ids->is_array();
  if (integers) {
    for (const json& id : *ids) {
      integers = integers && id.is_number_integer() && id.get<int64_t>() >= 0 &&
                 id.get<int64_t>() < tokenizer.vocab_size();
      if (integers) values.push_back(id.get<int32_t>());
    }
  }
  if (!integers) {
    return LineError(line, absl::StrCat("expected {\"ids\": [...]} with ids from 0 to ",
                                        tokenizer.vocab_size() - 1));
  }
  const json out = {{"text", tokenizer.Decode(values, /*skip_special=*/!keep_special)}};
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::Status Tokenize(const Options& options) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = OpenTokenizer(options);
  if (!tokenizer.ok()) return WithExitCode(tokenizer.status(), ExitCode::kModel);
  const std::string& bos = options.Text("add-bos");
  const AddBos add_bos = bos == "always"  ? AddBos::kAlways
                         : bos == "never" ? AddBos::kNever
                                          : AddBos::kAuto;
  TANDEM_ASSIGN_OR_RETURN(const std::unique_ptr<LineReader> reader,
                          LineReader::Open("-", int64_t{1} << 30));
  while (true) {
    TANDEM_ASSIGN_OR_RETURN(const std::optional<InputLine> line, reader->Next());
    if (!line.has_value()) break;
    const json object =
        json::parse(line->text.begin(), line->text.end(), nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return LineError(*line, "not a JSON object");
    absl::StatusOr<std::string> out =
        options.Flag("decode") ? Decode(**tokenizer, options.Flag("keep-special"), object, *line)
                               : Encode(**tokenizer, add_bos, object, *line);
    TANDEM_RETURN_IF_ERROR(out.status());
    std::cout << *out << '\n';
  }
  if (!std::cout.flush()) {
    return WithExitCode(absl::UnavailableError("standard output cannot be written"),
                        ExitCode::kFile);
  }
  return absl::OkStatus();
}

}  // namespace

ExitCode RunTokenize(const Options& options) {
  const absl::Status status = Tokenize(options);
  if (!status.ok()) LogError(status.message());
  return ExitCodeOf(status);
}

}  // namespace tandem
