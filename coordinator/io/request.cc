#include "coordinator/io/request.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/json_text.h"
#include "coordinator/io/json_members.h"
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
void TakeSpelling(absl::string_view line, const RequestSax& sax, bool id_given, RequestId* id,
                  std::string* metadata_json) {
  const int64_t id_member = id_given ? sax.id_member() : -1;
  if (id_member < 0 && sax.metadata_member() < 0) return;
  VisitMembers(line, [&](int64_t index, absl::string_view value) {
    if (index == id_member) id->json = std::string(value);
    if (index == sax.metadata_member()) *metadata_json = std::string(value);
  });
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
  RequestSax sax(defaults, options);
  nlohmann::json::sax_parse(line.data(), line.data() + line.size(), &sax);
  std::optional<RequestError> error = sax.Finish();
  Request& request = sax.request();
  request.line = line_number;
  if (!sax.id_given()) request.id = DefaultId(line_number);
  if (!sax.syntax_failed()) {
    TakeSpelling(line, sax, sax.id_given(), &request.id, &request.metadata_json);
  }
  if (!error.has_value()) return std::move(request);
  rejected.id = std::move(request.id);
  rejected.id_given = sax.id_given();
  rejected.error = *std::move(error);
  rejected.metadata_json = std::move(request.metadata_json);
  return rejected;
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
          .metadata_json = request.metadata_json};
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
