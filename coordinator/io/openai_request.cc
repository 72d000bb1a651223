// Source of the forms: OpenAI's API reference, "Batch", "Completions", "Chat", "Embeddings".
#include "coordinator/io/openai_request.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/json_text.h"
#include "coordinator/io/decoding_rules.h"
#include "coordinator/io/json_members.h"
#include "coordinator/io/request_sax.h"

namespace tandem {
namespace {

constexpr size_t kShownBytes = 40;

// Their defaults, where nobody said another.
constexpr int32_t kCompletionsMaxTokens = 16;
constexpr float kTemperature = 1.0f;

std::string HashOf(absl::string_view custom_id, absl::string_view body) {
  // The length keeps ("a", "bc") and ("ab", "c") apart.
  const std::string bytes = absl::StrCat(custom_id.size(), ":", custom_id, body);
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

RequestError Invalid(absl::string_view param, std::string message) {
  return {RequestErrorCode::kInvalidValue, std::move(message), std::string(param)};
}

RequestError Missing(absl::string_view param) {
  return {RequestErrorCode::kMissingField, absl::StrCat(param, " is missing"), std::string(param)};
}

RequestError WrongRaw(Field field, absl::string_view seen) {
  return Invalid(InfoOf(field).name, absl::StrCat(InfoOf(field).name, " must be ",
                                                  InfoOf(field).expects, ", not ", seen));
}

// A value for a message, of its JSON.
std::string ShownRaw(absl::string_view json) {
  if (absl::StartsWith(json, "[")) return "an array";
  if (absl::StartsWith(json, "{")) return "an object";
  if (absl::StartsWith(json, "\"")) {
    return JsonString(Shorten(DecodeJsonString(json), kShownBytes));
  }
  return Shorten(json, kShownBytes);
}

bool IsString(absl::string_view json) { return absl::StartsWith(json, "\""); }

const LineForm* BodyFormOf(absl::string_view url) {
  static constexpr LineForm kForms[] = {LineForm::kCompletions, LineForm::kChat,
                                        LineForm::kEmbeddings};
  if (url == "/v1/completions") return &kForms[0];
  if (url == "/v1/chat/completions") return &kForms[1];
  if (url == "/v1/embeddings") return &kForms[2];
  return nullptr;
}

// Reads `prompt` or `input`: a string, strings, ids, or lists of ids.
class PromptsReader {
 public:
  PromptsReader(Field field, int64_t vocab_size, std::vector<Prompt>* out)
      : field_(field), vocab_size_(vocab_size), out_(*out) {}

  std::optional<RequestError> Read(absl::string_view json) {
    if (IsString(json)) {
      out_.push_back({.text = DecodeJsonString(json), .token_ids = {}});
      return std::nullopt;
    }
    if (!absl::StartsWith(json, "[")) return WrongRaw(field_, ShownRaw(json));
    char kind = 0;  // What the first element is: '"', '[', or '0' for a number.
    VisitElements(json, [&](int64_t index, absl::string_view value) {
      const char first = value.empty() ? ' ' : value.front();
      const char now = first == '"' || first == '[' ? first : '0';
      if (index == 0) kind = now;
      if (now != kind) {
        error_ = WrongRaw(field_, absl::StrCat("an array that mixes them"));
      } else if (kind == '0') {
        if (index == 0) out_.emplace_back();
        TakeId(value, absl::StrCat(Name(), "[", index, "]"), &out_.back().token_ids);
      } else if (index >= kMaxPromptsOfLine) {
        error_ = Invalid(Name(), absl::StrCat(Name(), " has more than ",
                                              WithCommas(kMaxPromptsOfLine), " elements"));
      } else if (kind == '"') {
        out_.push_back({.text = DecodeJsonString(value), .token_ids = {}});
      } else {
        out_.emplace_back();
        TakeIds(value, index);
      }
      return !error_.has_value();
    });
    if (!error_.has_value() && out_.empty()) error_ = EmptyPromptError(Name());
    return error_;
  }

 private:
  absl::string_view Name() const { return InfoOf(field_).name; }

  void TakeIds(absl::string_view json, int64_t outer) {
    VisitElements(json, [&](int64_t index, absl::string_view value) {
      TakeId(value, absl::StrCat(Name(), "[", outer, "][", index, "]"), &out_.back().token_ids);
      return !error_.has_value();
    });
    if (!error_.has_value() && out_.back().token_ids.empty()) {
      error_ =
          RequestError{RequestErrorCode::kEmptyPrompt,
                       absl::StrCat(Name(), "[", outer, "] has no tokens; at least one is needed"),
                       std::string(Name())};
    }
  }

  void TakeId(absl::string_view value, const std::string& place, std::vector<int32_t>* ids) {
    int64_t id = -1;
    if (!absl::SimpleAtoi(value, &id) || id < 0 || id > std::numeric_limits<int32_t>::max()) {
      error_ = WrongRaw(field_, absl::StrCat("an array that holds ", ShownRaw(value)));
    } else if (vocab_size_ > 0 && id >= vocab_size_) {
      error_ = RequestError{
          RequestErrorCode::kInvalidToken,
          absl::StrCat(place, " is ", id, "; the vocabulary has ids from 0 to ", vocab_size_ - 1),
          std::string(Name())};
    } else {
      ids->push_back(static_cast<int32_t>(id));
    }
  }

  const Field field_;
  const int64_t vocab_size_;
  std::vector<Prompt>& out_;
  std::optional<RequestError> error_;
};

// Reads `messages`: there is no chat template, so that one user's text is the prompt.
class MessagesReader {
 public:
  std::optional<RequestError> Read(absl::string_view json, std::vector<Prompt>* out) {
    if (!absl::StartsWith(json, "[")) return WrongRaw(Field::kMessages, ShownRaw(json));
    int64_t count = 0;
    VisitElements(json, [&](int64_t, absl::string_view value) {
      if (++count == 1) TakeMessage(value);
      return count < 2 && !error_.has_value();
    });
    if (error_.has_value()) return error_;
    if (count != 1) {
      return Fail(absl::StrCat("messages must be an array of one message, not ",
                               count == 0 ? "an empty one" : "of several",
                               ": the model has no chat template, so that one user message is the "
                               "whole prompt"));
    }
    out->push_back({.text = std::move(text_), .token_ids = {}});
    return std::nullopt;
  }

 private:
  RequestError Fail(std::string message) { return Invalid("messages", std::move(message)); }

  void TakeMessage(absl::string_view json) {
    if (!absl::StartsWith(json, "{")) {
      error_ = Fail(absl::StrCat("messages[0] must be an object, not ", ShownRaw(json)));
      return;
    }
    absl::string_view role;
    absl::string_view content;
    VisitMembersByKey(json, [&](absl::string_view key, absl::string_view value) {
      const std::string name = DecodeJsonString(key);
      if (name == "role") role = value;
      if (name == "content") content = value;
    });
    if (role.empty()) {
      error_ = Fail("messages[0].role is missing");
    } else if (role != "\"user\"" && DecodeJsonString(role) != "user") {
      error_ = Fail(absl::StrCat("messages[0].role is ", ShownRaw(role),
                                 ": the model has no chat template, so that one message of the "
                                 "role \"user\" is the whole prompt"));
    } else if (content.empty()) {
      error_ = Fail("messages[0].content is missing");
    } else if (IsString(content)) {
      text_ = DecodeJsonString(content);
    } else if (absl::StartsWith(content, "[")) {
      VisitElements(content, [&](int64_t index, absl::string_view part) {
        TakePart(index, part);
        return !error_.has_value();
      });
      if (!error_.has_value() && !any_part_) error_ = Fail("messages[0].content has no parts");
    } else {
      error_ =
          Fail(absl::StrCat("messages[0].content must be a string or an array of text parts, not ",
                            ShownRaw(content)));
    }
  }

  void TakePart(int64_t index, absl::string_view json) {
    any_part_ = true;
    const std::string place = absl::StrCat("messages[0].content[", index, "]");
    std::string type;
    absl::string_view text;
    if (absl::StartsWith(json, "{")) {
      VisitMembersByKey(json, [&](absl::string_view key, absl::string_view value) {
        const std::string name = DecodeJsonString(key);
        if (name == "type") type = DecodeJsonString(value);
        if (name == "text") text = value;
      });
    }
    if (absl::StartsWith(type, "image")) {
      error_ = RequestError{RequestErrorCode::kUnsupported,
                            absl::StrCat(place,
                                         " is an image: images are not served in this "
                                         "version"),
                            "messages"};
    } else if (type != "text" || !IsString(text)) {
      error_ =
          Fail(absl::StrCat(place, " must be a text part, {\"type\": \"text\", \"text\": ...}"));
    } else {
      text_ += DecodeJsonString(text);
    }
  }

  std::string text_;
  bool any_part_ = false;
  std::optional<RequestError> error_;
};

class BatchLineParser {
 public:
  BatchLineParser(const RequestDefaults& defaults, const RequestOptions& options)
      : defaults_(defaults), options_(options), openai_(std::make_shared<OpenAiLine>()) {}

  std::variant<Request, RejectedLine> Parse(absl::string_view line, int64_t line_number) {
    std::optional<RequestError> error = ReadEnvelope(line);
    if (!error.has_value()) error = ReadBody();
    if (!id_given_) id_ = DefaultId(line_number);
    request_.line = line_number;
    request_.id = id_;
    request_.openai = openai_;
    if (error.has_value()) {
      RejectedLine rejected = Reject(request_, *std::move(error));
      rejected.id_given = id_given_;
      return rejected;
    }
    FillSeed(defaults_, &request_);
    return std::move(request_);
  }

 private:
  std::optional<RequestError> ReadEnvelope(absl::string_view line) {
    RequestSax sax(LineForm::kBatchLine, defaults_, options_);
    nlohmann::json::sax_parse(line.data(), line.data() + line.size(), &sax);
    const ParsedFields& fields = sax.fields();
    openai_->custom_id_json = "null";
    VisitMembers(line, [&](int64_t index, absl::string_view value) {
      if (index == sax.MemberOf(Field::kBody)) body_ = value;
      if (index == sax.MemberOf(Field::kCustomId) && IsString(value)) {
        openai_->custom_id_json = std::string(value);
      }
    });
    id_given_ = fields.Given(Field::kCustomId) && openai_->custom_id_json != "null";
    if (id_given_)
      id_ = {.json = openai_->custom_id_json, .key = DecodeJsonString(openai_->custom_id_json)};
    openai_->hash = HashOf(id_.key, body_);
    const LineForm* form = BodyFormOf(fields.url);
    if (form != nullptr) openai_->body = *form;
    if (sax.error().has_value()) return sax.error();
    if (!fields.Given(Field::kCustomId)) return Missing("custom_id");
    if (!fields.Given(Field::kUrl)) return Missing("url");
    if (!fields.Given(Field::kBody)) return Missing("body");
    if (fields.Given(Field::kMethod) && fields.method != "POST") {
      return WrongRaw(Field::kMethod, JsonString(Shorten(fields.method, kShownBytes)));
    }
    if (form == nullptr) {
      return Invalid("url", absl::StrCat("url must be /v1/completions, /v1/chat/completions or "
                                         "/v1/embeddings, not ",
                                         JsonString(Shorten(fields.url, kShownBytes))));
    }
    const LineForm verb = *form == LineForm::kEmbeddings ? LineForm::kEmbed : LineForm::kGenerate;
    if (verb != options_.form) {
      return RequestError{RequestErrorCode::kUnsupported,
                          absl::StrCat("url ", fields.url, " is served by tandem ",
                                       verb == LineForm::kEmbed ? "embed" : "generate"),
                          "url"};
    }
    if (!absl::StartsWith(body_, "{")) return WrongRaw(Field::kBody, ShownRaw(body_));
    return std::nullopt;
  }

  std::optional<RequestError> ReadBody() {
    RequestDefaults defaults = defaults_;
    const bool chat = openai_->body == LineForm::kChat;
    if (!defaults.temperature_given) defaults.decoding.temperature = kTemperature;
    if (!defaults.max_tokens_given && !chat) {
      defaults.decoding.max_tokens = kCompletionsMaxTokens;
      // A job's --min-tokens was checked against another default.
      defaults.decoding.min_tokens =
          std::min(defaults.decoding.min_tokens, defaults.decoding.max_tokens);
    }
    RequestSax sax(openai_->body, defaults, options_);
    nlohmann::json::sax_parse(body_.data(), body_.data() + body_.size(), &sax);
    if (sax.syntax_failed() || sax.error().has_value()) return sax.error();
    ParsedFields& fields = sax.fields();
    openai_->model = fields.model;
    request_ = std::move(fields.request);
    std::optional<RequestError> error = ReadPrompts(sax);
    if (error.has_value()) return error;
    if (openai_->body == LineForm::kEmbeddings) return FinishEmbeddings(fields);
    return FinishAnswers(fields);
  }

  std::optional<RequestError> ReadPrompts(const RequestSax& sax) {
    const Field field = openai_->body == LineForm::kChat         ? Field::kMessages
                        : openai_->body == LineForm::kEmbeddings ? Field::kInput
                                                                 : Field::kBatchPrompt;
    absl::string_view prompts;
    absl::string_view format;
    VisitMembers(body_, [&](int64_t index, absl::string_view value) {
      if (index == sax.MemberOf(field)) prompts = value;
      if (index == sax.MemberOf(Field::kResponseFormat) && value != "null") format = value;
    });
    if (prompts.empty() || prompts == "null") return Missing(InfoOf(field).name);
    if (!format.empty()) {
      std::string type;
      if (absl::StartsWith(format, "{")) {
        VisitMembersByKey(format, [&](absl::string_view key, absl::string_view value) {
          if (DecodeJsonString(key) == "type") type = DecodeJsonString(value);
        });
      }
      if (type != "text") return WrongRaw(Field::kResponseFormat, ShownRaw(format));
    }
    if (field == Field::kMessages) return MessagesReader().Read(prompts, &request_.prompts);
    return PromptsReader(field, options_.encoder_vocab_size, &request_.prompts).Read(prompts);
  }

  std::optional<RequestError> FinishEmbeddings(const ParsedFields& fields) {
    if (fields.Given(Field::kEncodingFormat)) {
      openai_->base64 = fields.encoding_format == "base64";
      if (!openai_->base64 && fields.encoding_format != "float") {
        return WrongRaw(Field::kEncodingFormat,
                        JsonString(Shorten(fields.encoding_format, kShownBytes)));
      }
    }
    if (fields.Given(Field::kDimensions) && options_.embedding_dim > 0 &&
        fields.dimensions != options_.embedding_dim) {
      return Invalid("dimensions",
                     absl::StrCat("dimensions must be the model's width, ", options_.embedding_dim,
                                  ", not ", fields.dimensions));
    }
    return std::nullopt;
  }

  std::optional<RequestError> FinishAnswers(const ParsedFields& fields) {
    DecodingOptions& decoding = request_.decoding;
    if (fields.Given(Field::kDecoderPrompt) && fields.Given(Field::kDecoderPromptTokenIds)) {
      return Invalid("decoder_prompt_token_ids",
                     "decoder_prompt and decoder_prompt_token_ids are both given; one of them is "
                     "wanted");
    }
    if (!fields.Given(Field::kDecoderPrompt) && !fields.Given(Field::kDecoderPromptTokenIds)) {
      request_.decoder_prompt = defaults_.decoder_prompt;
      request_.decoder_prompt_token_ids = defaults_.decoder_prompt_token_ids;
    }
    if (fields.Given(Field::kMaxTokens) && fields.Given(Field::kMaxCompletionTokens)) {
      return Invalid("max_completion_tokens",
                     "max_tokens and max_completion_tokens are both given; one of them is wanted");
    }
    if (fields.Given(Field::kTopLogprobs) && !fields.chat_logprobs) {
      return Invalid("top_logprobs", "top_logprobs is given, but logprobs is not true");
    }
    if (fields.Given(Field::kChatLogprobs)) {
      decoding.logprobs.reset();
      if (fields.chat_logprobs) decoding.logprobs = fields.top_logprobs;
    }
    const auto strength = [&](Field field) { return fields.Given(field) ? 0 : 1; };
    std::optional<RequestError> error = SettleContradictions(strength, &decoding, nullptr);
    if (error.has_value()) return error;
    const int64_t answers =
        std::max({decoding.n, decoding.best_of.value_or(1), decoding.num_beams});
    const auto prompts = static_cast<int64_t>(request_.prompts.size());
    if (prompts * answers > kMaxPromptsOfLine) {
      return Invalid("prompt", absl::StrCat("prompt has ", prompts, " prompts with ", answers,
                                            " answers each; a request has at most ",
                                            WithCommas(kMaxPromptsOfLine), " answers in all"));
    }
    return std::nullopt;
  }

  const RequestDefaults& defaults_;
  const RequestOptions& options_;
  const std::shared_ptr<OpenAiLine> openai_;
  RequestId id_;
  bool id_given_ = false;
  absl::string_view body_;
  Request request_;
};

}  // namespace

std::variant<Request, RejectedLine> ParseBatchLine(absl::string_view line, int64_t line_number,
                                                   const RequestDefaults& defaults,
                                                   const RequestOptions& options) {
  return BatchLineParser(defaults, options).Parse(line, line_number);
}

RejectedLine RejectBatchLine(absl::string_view line, RequestId id, bool id_given,
                             int64_t line_number, RequestError error) {
  auto openai = std::make_shared<OpenAiLine>();
  openai->custom_id_json = id_given ? id.json : "null";
  openai->hash = HashOf(id_given ? id.key : "", line);
  RejectedLine rejected;
  rejected.line = line_number;
  rejected.id = std::move(id);
  rejected.id_given = id_given;
  rejected.error = std::move(error);
  rejected.openai = std::move(openai);
  return rejected;
}

}  // namespace tandem
