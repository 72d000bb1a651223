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
  options.form = (data[0] & 8) != 0    ? LineForm::kScore
                 : (data[0] & 16) != 0 ? LineForm::kEmbed
                                       : LineForm::kGenerate;
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
  TANDEM_CHECK(!request.prompts.empty());
  for (const Prompt& prompt : request.prompts) {
    TANDEM_CHECK(prompt.text.has_value() == prompt.token_ids.empty());
    if (!prompt.text.has_value()) continue;
    TANDEM_CHECK(FirstInvalidUtf8(*prompt.text) == absl::string_view::npos);
  }
  const DecodingOptions& decoding = request.decoding;
  TANDEM_CHECK(decoding.min_tokens <= decoding.max_tokens && decoding.max_tokens >= 1);
  TANDEM_CHECK(decoding.seed.has_value());
  TANDEM_CHECK(decoding.num_beams == 1 || (decoding.temperature == 0 && decoding.stop.empty()));
  return 0;
}
