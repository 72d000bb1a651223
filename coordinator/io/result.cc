#include "coordinator/io/result.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/json_text.h"
#include "coordinator/io/openai_result.h"

namespace tandem {
namespace {

void AppendTokenLogprob(int32_t token_id, absl::string_view token, float logprob,
                        std::string* out) {
  absl::StrAppend(out, "{\"token_id\":", token_id, ",\"token\":");
  AppendJsonString(token, out);
  out->append(",\"logprob\":");
  AppendFloat(logprob, out);
}

void AppendLogprobs(const std::vector<TokenLogprob>& logprobs, std::string* out) {
  out->append(",\"logprobs\":[");
  for (size_t i = 0; i < logprobs.size(); ++i) {
    if (i > 0) out->push_back(',');
    AppendTokenLogprob(logprobs[i].token_id, logprobs[i].token, logprobs[i].logprob, out);
    out->append(",\"top\":[");
    for (size_t k = 0; k < logprobs[i].top.size(); ++k) {
      const TokenAlternative& alternative = logprobs[i].top[k];
      if (k > 0) out->push_back(',');
      AppendTokenLogprob(alternative.token_id, alternative.token, alternative.logprob, out);
      out->push_back('}');
    }
    out->append("]}");
  }
  out->push_back(']');
}

void AppendOutput(const ResultOutput& output, std::string* out) {
  absl::StrAppend(out, "{\"index\":", output.index, ",\"text\":");
  if (output.text.has_value()) {
    AppendJsonString(*output.text, out);
  } else {
    out->append("null");
  }
  absl::StrAppend(out, ",\"token_ids\":[", absl::StrJoin(output.token_ids, ","),
                  "],\"finish_reason\":\"", NameOf(output.finish_reason), "\",\"stop_reason\":");
  if (const auto* id = std::get_if<int32_t>(&output.stop_reason)) {
    absl::StrAppend(out, *id);
  } else if (const auto* text = std::get_if<std::string>(&output.stop_reason)) {
    AppendJsonString(*text, out);
  } else {
    out->append("null");
  }
  if (output.cumulative_logprob.has_value()) {
    out->append(",\"cumulative_logprob\":");
    AppendFloat(*output.cumulative_logprob, out);
  }
  if (output.score.has_value()) {
    out->append(",\"score\":");
    AppendFloat(*output.score, out);
  }
  if (output.logprobs.has_value()) AppendLogprobs(*output.logprobs, out);
  out->push_back('}');
}

void AppendMetadata(absl::string_view metadata_json, std::string* out) {
  if (!metadata_json.empty()) absl::StrAppend(out, ",\"metadata\":", metadata_json);
}

// Usage and what comes behind it; completion_tokens < 0: there is no completion.
void AppendTail(const ResultHead& head, int64_t completion_tokens, std::string* out) {
  absl::StrAppend(out, ",\"usage\":{\"prompt_tokens\":", head.prompt_tokens);
  if (completion_tokens >= 0) absl::StrAppend(out, ",\"completion_tokens\":", completion_tokens);
  absl::StrAppend(
      out, ",\"total_tokens\":", head.prompt_tokens + std::max<int64_t>(completion_tokens, 0), "}");
  if (head.truncated) out->append(",\"truncated\":true");
  AppendMetadata(head.metadata_json, out);
  out->push_back('}');
}

}  // namespace

absl::string_view NameOf(FinishReason reason) {
  return reason == FinishReason::kStop ? "stop" : "length";
}

void AppendFloat(float value, std::string* out) {
  if (!std::isfinite(value)) {
    out->append("null");
    return;
  }
  char digits[32];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), value);
  out->append(digits, static_cast<size_t>(end.ptr - digits));
}

void AppendFloats(absl::Span<const float> values, std::string* out) {
  out->push_back('[');
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out->push_back(',');
    AppendFloat(values[i], out);
  }
  out->push_back(']');
}

std::string FormatResult(const Result& result) {
  if (result.openai != nullptr) return FormatOpenAiResult(result);
  std::string out = absl::StrCat("{\"id\":", result.id.json, ",\"outputs\":[");
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    if (i > 0) out.push_back(',');
    AppendOutput(result.outputs[i], &out);
  }
  out.push_back(']');
  AppendTail(result, result.completion_tokens, &out);
  return out;
}

std::string FormatScore(const ScoreResult& result) {
  std::string out = absl::StrCat("{\"id\":", result.id.json, ",\"token_ids\":[",
                                 absl::StrJoin(result.token_ids, ","), "],\"logprobs\":");
  AppendFloats(result.logprobs, &out);
  out.append(",\"sum_logprob\":");
  AppendFloat(result.sum_logprob, &out);
  AppendTail(result, static_cast<int64_t>(result.token_ids.size()), &out);
  return out;
}

std::string FormatEmbedding(const EmbedResult& result) {
  if (result.openai != nullptr) return FormatOpenAiEmbedding(result);
  std::string out = absl::StrCat("{\"id\":", result.id.json, ",\"embedding\":");
  AppendFloats(result.embeddings.empty() ? absl::Span<const float>() : result.embeddings.front(),
               &out);
  AppendTail(result, /*completion_tokens=*/-1, &out);
  return out;
}

std::string FormatError(const RejectedLine& rejected) {
  if (rejected.openai != nullptr) return FormatOpenAiError(rejected);
  std::string out = absl::StrCat("{\"id\":", rejected.id.json, ",\"error\":{\"code\":\"",
                                 NameOf(rejected.error.code), "\",\"message\":");
  AppendJsonString(rejected.error.message, &out);
  out.append(",\"param\":");
  if (rejected.error.param.empty()) {
    out.append("null");
  } else {
    AppendJsonString(rejected.error.param, &out);
  }
  absl::StrAppend(&out, "},\"line\":", rejected.line);
  AppendMetadata(rejected.metadata_json, &out);
  out.push_back('}');
  return out;
}

std::string FormatResultAsText(const Result& result) {
  return absl::StrJoin(result.outputs, "\n", [](std::string* out, const ResultOutput& output) {
    if (output.text.has_value()) {
      out->append(*output.text);
    } else {
      absl::StrAppend(out, absl::StrJoin(output.token_ids, " "));
    }
  });
}

}  // namespace tandem
