#include "coordinator/io/request.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/json_text.h"
#include "coordinator/io/decoding_rules.h"
#include "coordinator/io/json_members.h"
#include "coordinator/io/openai_request.h"
#include "coordinator/io/request_sax.h"

namespace tandem {
namespace {

// What nlohmann would take, and must not be taken.
std::optional<RequestError> CheckBytes(absl::string_view line) {
  if (const size_t at = FirstInvalidUtf8(line); at != absl::string_view::npos) {
    return RequestError{RequestErrorCode::kInvalidUtf8,
                        absl::StrCat("byte ", at + 1, " is not UTF-8"), ""};
  }
  // Its lexer takes a NUL for the end of the text.
  if (const size_t at = line.find('\0'); at != absl::string_view::npos) {
    return RequestError{RequestErrorCode::kInvalidJson,
                        absl::StrCat("not valid JSON at byte ", at + 1, ": a NUL byte"), ""};
  }
  if (absl::StartsWith(line, "\xef\xbb\xbf")) {
    return RequestError{RequestErrorCode::kInvalidJson,
                        "not valid JSON at byte 1: a byte order mark (only the input's very "
                        "beginning may have one)",
                        ""};
  }
  return std::nullopt;
}

// The id and the metadata as the line spells them.
void TakeSpelling(absl::string_view line, const RequestSax& sax, RequestId* id,
                  std::string* metadata_json) {
  const int64_t id_member = sax.id_given() ? sax.MemberOf(Field::kId) : -1;
  const int64_t metadata_member = sax.MemberOf(Field::kMetadata);
  if (id_member < 0 && metadata_member < 0) return;
  VisitMembers(line, [&](int64_t index, absl::string_view value) {
    if (index == id_member) id->json = std::string(value);
    if (index == metadata_member) *metadata_json = std::string(value);
  });
}

RequestError BothGiven(Field a, Field b) {
  return {RequestErrorCode::kInvalidValue,
          absl::StrCat(InfoOf(a).name, " and ", InfoOf(b).name,
                       " are both given; one of them is wanted"),
          std::string(InfoOf(b).name)};
}

// Exactly one of text and ids, or (where the form can do without) none.
std::optional<RequestError> CheckEither(const ParsedFields& fields, Field text, Field ids,
                                        bool needed) {
  if (fields.Given(text) && fields.Given(ids)) return BothGiven(text, ids);
  if (!needed || fields.Given(text) || fields.Given(ids)) return std::nullopt;
  return RequestError{RequestErrorCode::kMissingField,
                      absl::StrCat(InfoOf(text).name, " or ", InfoOf(ids).name, " is missing"),
                      std::string(InfoOf(text).name)};
}

// What the fields of one of tandem's own lines say together.
std::optional<RequestError> FinishOwn(LineForm form, const RequestDefaults& defaults,
                                      ParsedFields* fields) {
  Request& request = fields->request;
  std::optional<RequestError> error =
      CheckEither(*fields, Field::kPrompt, Field::kPromptTokenIds, /*needed=*/true);
  if (error.has_value()) return error;
  if (form == LineForm::kScore) {
    return CheckEither(*fields, Field::kTarget, Field::kTargetTokenIds, /*needed=*/true);
  }
  if (form != LineForm::kGenerate) return std::nullopt;
  error = CheckEither(*fields, Field::kDecoderPrompt, Field::kDecoderPromptTokenIds,
                      /*needed=*/false);
  if (error.has_value()) return error;
  if (!fields->Given(Field::kDecoderPrompt) && !fields->Given(Field::kDecoderPromptTokenIds)) {
    request.decoder_prompt = defaults.decoder_prompt;
    request.decoder_prompt_token_ids = defaults.decoder_prompt_token_ids;
  }
  return SettleContradictions([&](Field field) { return fields->Given(field) ? 0 : 1; },
                              &request.decoding, /*reset=*/nullptr);
}

}  // namespace

RequestId DefaultId(int64_t line_number) {
  const std::string number = absl::StrCat(line_number - 1);
  return {.json = absl::StrCat("\"", number, "\""), .key = number};
}

std::variant<Request, RejectedLine> ParseRequest(absl::string_view line, int64_t line_number,
                                                 const RequestDefaults& defaults,
                                                 const RequestOptions& options) {
  RejectedLine rejected;
  rejected.line = line_number;
  rejected.id = DefaultId(line_number);
  if (std::optional<RequestError> error = CheckBytes(line); error.has_value()) {
    rejected.error = *std::move(error);
    return rejected;
  }
  RequestSax sax(options.form, defaults, options);
  nlohmann::json::sax_parse(line.data(), line.data() + line.size(), &sax);
  Request& request = sax.fields().request;
  request.line = line_number;
  if (!sax.id_given()) request.id = DefaultId(line_number);
  if (sax.is_batch_line()) {
    if (!sax.syntax_failed()) return ParseBatchLine(line, line_number, defaults, options);
    return RejectBatchLine(line, std::move(request.id), sax.id_given(), line_number, *sax.error());
  }
  std::optional<RequestError> error = sax.error();
  if (!sax.syntax_failed()) TakeSpelling(line, sax, &request.id, &request.metadata_json);
  if (!error.has_value()) error = FinishOwn(options.form, defaults, &sax.fields());
  if (!error.has_value()) {
    FillSeed(defaults, &request);
    return std::move(request);
  }
  rejected.id = std::move(request.id);
  rejected.id_given = sax.id_given();
  rejected.error = *std::move(error);
  rejected.metadata_json = std::move(request.metadata_json);
  return rejected;
}

uint64_t DerivedSeed(uint64_t job_seed, absl::string_view id_key) {
  return XXH3_64bits_withSeed(id_key.data(), id_key.size(), job_seed);
}

std::string PromptParam(const Request& request, size_t i) {
  if (request.openai == nullptr) {
    return i < request.prompts.size() && request.prompts[i].text.has_value() ? "prompt"
                                                                             : "prompt_token_ids";
  }
  switch (request.openai->body) {
    case LineForm::kChat:
      return "messages";
    case LineForm::kEmbeddings:
      return "input";
    default:
      return "prompt";
  }
}

RejectedLine RejectTooLongLine(int64_t line_number, int64_t bytes, int64_t max_bytes) {
  RejectedLine rejected;
  rejected.line = line_number;
  rejected.id = DefaultId(line_number);
  rejected.error.code = RequestErrorCode::kLineTooLong;
  rejected.error.message = absl::StrCat("the line has ", WithCommas(bytes), " bytes; at most ",
                                        WithCommas(max_bytes), " are taken (--max-line-bytes)");
  return rejected;
}

RejectedLine Reject(const Request& request, RequestError error) {
  return {.line = request.line,
          .id = request.id,
          .id_given = true,
          .error = std::move(error),
          .metadata_json = request.metadata_json,
          .openai = request.openai};
}

std::string RequestLineFor(absl::string_view prompt) {
  std::string line = "{\"prompt\":";
  AppendJsonString(prompt, &line);
  line.push_back('}');
  return line;
}

std::string RequestLineFor(absl::Span<const int32_t> prompt_token_ids) {
  return absl::StrCat("{\"prompt_token_ids\":[", absl::StrJoin(prompt_token_ids, ","), "]}");
}

}  // namespace tandem
