// Source of the forms: OpenAI's API reference, "Batch", "Completions", "Chat", "Embeddings".
#include "coordinator/io/openai_result.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/json_text.h"

namespace tandem {
namespace {

// What is around the body.
std::string Wrapped(const OpenAiLine& line, int status, absl::string_view body) {
  return absl::StrCat("{\"id\":\"batch_req_", line.hash, "\",\"custom_id\":", line.custom_id_json,
                      ",\"response\":{\"status_code\":", status, ",\"request_id\":\"req_",
                      line.hash, "\",\"body\":", body, "},\"error\":null}");
}

// Characters of UTF-8 as Python counts them: code points.
int64_t CountCharacters(absl::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
  return count;
}

// "logprobs" of a completion: lists side by side.
void AppendCompletionLogprobs(const std::vector<TokenLogprob>& tokens, std::string* out) {
  out->append("{\"tokens\":[");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out->push_back(',');
    AppendJsonString(tokens[i].token, out);
  }
  out->append("],\"token_logprobs\":[");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out->push_back(',');
    AppendFloat(tokens[i].logprob, out);
  }
  out->append("],\"top_logprobs\":");
  bool any = false;
  for (const TokenLogprob& token : tokens) any = any || !token.top.empty();
  if (!any) {
    out->append("null");
  } else {
    for (size_t i = 0; i < tokens.size(); ++i) {
      out->push_back(i == 0 ? '[' : ',');
      // By text: of tokens that look alike (pieces of characters) the likeliest stands for all.
      absl::flat_hash_set<std::string> seen;
      out->push_back('{');
      const auto add = [&](const std::string& token, float logprob) {
        if (!seen.insert(token).second) return;
        if (seen.size() > 1) out->push_back(',');
        AppendJsonString(token, out);
        out->push_back(':');
        AppendFloat(logprob, out);
      };
      for (const TokenAlternative& alternative : tokens[i].top) {
        add(alternative.token, alternative.logprob);
      }
      add(tokens[i].token, tokens[i].logprob);  // Always there, likely or not.
      out->push_back('}');
    }
    out->push_back(']');
  }
  out->append(",\"text_offset\":[");
  int64_t offset = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    absl::StrAppend(out, i > 0 ? "," : "", offset);
    offset += CountCharacters(tokens[i].token);
  }
  out->append("]}");
}

void AppendChatToken(const std::string& token, float logprob, std::string* out) {
  out->append("{\"token\":");
  AppendJsonString(token, out);
  out->append(",\"logprob\":");
  AppendFloat(logprob, out);
  absl::StrAppend(out, ",\"bytes\":[",
                  absl::StrJoin(token, ",",
                                [](std::string* to, char c) {
                                  absl::StrAppend(to,
                                                  static_cast<int>(static_cast<unsigned char>(c)));
                                }),
                  "]");
}

void AppendChatLogprobs(const std::vector<TokenLogprob>& tokens, std::string* out) {
  out->append("{\"content\":[");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out->push_back(',');
    AppendChatToken(tokens[i].token, tokens[i].logprob, out);
    out->append(",\"top_logprobs\":[");
    for (size_t k = 0; k < tokens[i].top.size(); ++k) {
      if (k > 0) out->push_back(',');
      AppendChatToken(tokens[i].top[k].token, tokens[i].top[k].logprob, out);
      out->push_back('}');
    }
    out->append("]}");
  }
  out->append("],\"refusal\":null}");
}

void AppendText(const ResultOutput& output, std::string* out) {
  if (output.text.has_value()) {
    AppendJsonString(*output.text, out);
  } else {
    out->append("null");
  }
}

void AppendChoice(const ResultOutput& output, bool chat, std::string* out) {
  if (chat) {
    absl::StrAppend(out, "{\"index\":", output.index,
                    ",\"message\":{\"role\":\"assistant\",\"content\":");
    AppendText(output, out);
    out->append(",\"refusal\":null}");
  } else {
    out->append("{\"text\":");
    AppendText(output, out);
    absl::StrAppend(out, ",\"index\":", output.index);
  }
  out->append(",\"logprobs\":");
  if (!output.logprobs.has_value()) {
    out->append("null");
  } else if (chat) {
    AppendChatLogprobs(*output.logprobs, out);
  } else {
    AppendCompletionLogprobs(*output.logprobs, out);
  }
  absl::StrAppend(out, ",\"finish_reason\":\"", NameOf(output.finish_reason), "\"");
  // A model folder without a tokenizer: the answer would be nowhere.
  if (!output.text.has_value()) {
    absl::StrAppend(out, ",\"token_ids\":[", absl::StrJoin(output.token_ids, ","), "]");
  }
  if (output.score.has_value()) {
    out->append(",\"score\":");
    AppendFloat(*output.score, out);
  }
  out->push_back('}');
}

std::string Base64Of(const std::vector<float>& values) {
  std::string bytes;
  bytes.reserve(values.size() * sizeof(float));
  for (const float value : values) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>(bits >> shift & 0xffu));
    }
  }
  return absl::Base64Escape(bytes);
}

}  // namespace

std::string FormatOpenAiResult(const Result& result) {
  const OpenAiLine& line = *result.openai;
  const bool chat = line.body == LineForm::kChat;
  std::string body =
      absl::StrCat("{\"id\":\"", chat ? "chatcmpl-" : "cmpl-", line.hash, "\",\"object\":\"",
                   chat ? "chat.completion" : "text_completion", "\",\"created\":0,\"model\":");
  AppendJsonString(line.model, &body);
  body.append(",\"choices\":[");
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    if (i > 0) body.push_back(',');
    AppendChoice(result.outputs[i], chat, &body);
  }
  absl::StrAppend(&body, "],\"usage\":{\"prompt_tokens\":", result.prompt_tokens,
                  ",\"completion_tokens\":", result.completion_tokens,
                  ",\"total_tokens\":", result.prompt_tokens + result.completion_tokens, "}",
                  result.truncated ? ",\"truncated\":true}" : "}");
  return Wrapped(line, 200, body);
}

std::string FormatOpenAiEmbedding(const EmbedResult& result) {
  const OpenAiLine& line = *result.openai;
  std::string body = "{\"object\":\"list\",\"data\":[";
  for (size_t i = 0; i < result.embeddings.size(); ++i) {
    absl::StrAppend(&body, i > 0 ? "," : "", "{\"object\":\"embedding\",\"index\":", i,
                    ",\"embedding\":");
    if (line.base64) {
      absl::StrAppend(&body, "\"", Base64Of(result.embeddings[i]), "\"");
    } else {
      AppendFloats(result.embeddings[i], &body);
    }
    body.push_back('}');
  }
  body.append("],\"model\":");
  AppendJsonString(line.model, &body);
  absl::StrAppend(&body, ",\"usage\":{\"prompt_tokens\":", result.prompt_tokens,
                  ",\"total_tokens\":", result.prompt_tokens, "}",
                  result.truncated ? ",\"truncated\":true}" : "}");
  return Wrapped(line, 200, body);
}

std::string FormatOpenAiError(const RejectedLine& rejected) {
  const RequestError& error = rejected.error;
  const bool ours = error.code == RequestErrorCode::kNonFinite;
  std::string body = "{\"error\":{\"message\":";
  AppendJsonString(error.message, &body);
  absl::StrAppend(&body, ",\"type\":\"", ours ? "server_error" : "invalid_request_error",
                  "\",\"param\":");
  if (error.param.empty()) {
    body.append("null");
  } else {
    AppendJsonString(error.param == "id" ? "custom_id" : error.param, &body);
  }
  absl::StrAppend(&body, ",\"code\":\"", NameOf(error.code), "\"}}");
  return Wrapped(*rejected.openai, ours ? 500 : 400, body);
}

}  // namespace tandem
