// ParseRequest on any bytes: it answers, and what goes into results is valid JSON. The first byte
// chooses the options.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/base/json_text.h"
#include "coordinator/io/json_members.h"
#include "coordinator/io/request.h"
#include "coordinator/io/result.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tandem;
  if (size == 0) return 0;
  RequestOptions options;
  options.ignore_unknown_fields = (data[0] & 1) != 0;
  options.encoder_vocab_size = (data[0] & 2) != 0 ? 512 : 0;
  options.decoder_vocab_size = (data[0] & 4) != 0 ? 512 : 0;
  // A copy of its own size: a sanitizer sees a byte read behind it.
  const std::string line(reinterpret_cast<const char*>(data) + 1, size - 1);
  size_t bytes = 0;
  VisitMembers(line, [&](int64_t, absl::string_view value) { bytes += value.size(); });
  TANDEM_CHECK(bytes <= line.size());
  const auto parsed = ParseRequest(line, 1, {}, options);
  if (const auto* rejected = std::get_if<RejectedLine>(&parsed)) {
    TANDEM_CHECK(!rejected->error.message.empty());
    TANDEM_CHECK(nlohmann::json::accept(FormatError(*rejected)));
    return 0;
  }
  const auto& request = std::get<Request>(parsed);
  TANDEM_CHECK(nlohmann::json::accept(line));
  TANDEM_CHECK(nlohmann::json::accept(request.id.json));
  TANDEM_CHECK(request.metadata_json.empty() || nlohmann::json::accept(request.metadata_json));
  TANDEM_CHECK(request.prompt.has_value() == request.prompt_token_ids.empty());
  if (request.prompt.has_value()) {
    TANDEM_CHECK(FirstInvalidUtf8(*request.prompt) == absl::string_view::npos);
  }
  TANDEM_CHECK(request.min_tokens <= request.max_tokens && request.max_tokens >= 1);
  return 0;
}
