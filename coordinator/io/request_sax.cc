#include "coordinator/io/request_sax.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/json_text.h"

namespace tandem {
namespace {

constexpr size_t kShownBytes = 40;

std::string Shown(const JsonScalar& value) {
  switch (value.kind) {
    case JsonScalar::Kind::kNull:
      return "null";
    case JsonScalar::Kind::kBoolean:
      return value.boolean ? "true" : "false";
    case JsonScalar::Kind::kInteger:
      return absl::StrCat(value.integer);
    case JsonScalar::Kind::kNumber:
      return Shorten(*value.text, kShownBytes);
    case JsonScalar::Kind::kString:
      return JsonString(Shorten(*value.text, kShownBytes));
  }
  return "";
}

absl::string_view ShownBracket(char bracket) { return bracket == '[' ? "an array" : "an object"; }

// The integer that `value` is, if it is one: 2 and 2.0 are, 2.5 and what has over 64 bits are not.
std::optional<int64_t> IntegerOf(const JsonScalar& value) {
  if (value.kind == JsonScalar::Kind::kInteger) return value.integer;
  constexpr double kLimit = 9223372036854775808.0;  // 2^63
  if (value.kind != JsonScalar::Kind::kNumber || value.whole_digits ||
      !(std::abs(value.number) < kLimit) || value.number != std::trunc(value.number)) {
    return std::nullopt;
  }
  return static_cast<int64_t>(value.number);
}

bool IsArrayType(FieldType type) {
  return type == FieldType::kTokenIds || type == FieldType::kStrings ||
         type == FieldType::kStringOrStrings;
}

// What tells OpenAI's batch lines apart; their id, too.
constexpr absl::string_view kOpenAiId = "custom_id";

}  // namespace

bool RequestSax::boolean(bool value) {
  return Scalar({.kind = JsonScalar::Kind::kBoolean, .boolean = value});
}

bool RequestSax::number_integer(json::number_integer_t value) {
  return Scalar(
      {.kind = JsonScalar::Kind::kInteger, .integer = value, .number = static_cast<double>(value)});
}

bool RequestSax::number_unsigned(json::number_unsigned_t value) {
  if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return number_integer(static_cast<int64_t>(value));
  }
  return number_float(static_cast<double>(value), absl::StrCat(value));
}

bool RequestSax::number_float(json::number_float_t value, const json::string_t& text) {
  std::string copy = text;
  return Scalar({.kind = JsonScalar::Kind::kNumber,
                 .number = value,
                 .text = &copy,
                 .whole_digits = text.find_first_of(".eE") == std::string::npos});
}

bool RequestSax::string(json::string_t& value) {
  return Scalar({.kind = JsonScalar::Kind::kString, .text = &value});
}

bool RequestSax::SyntaxError(std::string message) {
  syntax_failed_ = true;
  error_ = RequestError{RequestErrorCode::kInvalidJson, std::move(message), ""};
  return false;
}

bool RequestSax::parse_error(size_t position, const std::string&,
                             const nlohmann::detail::exception& error) {
  // "[json...] parse error at line 1, column 9: syntax error while parsing value - invalid literal;
  // last read: '...'": the middle says it, without what may be the user's whole prompt.
  absl::string_view what = error.what();
  if (const size_t dash = what.find(" - "); dash != absl::string_view::npos) {
    what.remove_prefix(dash + 3);
  } else if (const size_t bracket = what.find("] "); bracket != absl::string_view::npos) {
    what.remove_prefix(bracket + 2);
  }
  absl::string_view expected;
  if (const size_t at = what.find("; expected "); at != absl::string_view::npos) {
    expected = what.substr(at);
  }
  if (const size_t at = what.find("; last read: "); at != absl::string_view::npos) {
    what = what.substr(0, at);
  } else {
    what = what.substr(0, what.size() - expected.size());
  }
  return SyntaxError(
      absl::StrCat("not valid JSON at byte ", position, ": ", Shorten(what, 120), expected));
}

void RequestSax::FieldError(RequestErrorCode code, std::string message, absl::string_view param) {
  field_failed_ = true;
  if (!error_.has_value()) error_ = RequestError{code, std::move(message), std::string(param)};
}

void RequestSax::WrongValue(const std::string& seen) {
  FieldError(RequestErrorCode::kInvalidValue,
             absl::StrCat(info_->name, " must be ", info_->expects, ", not ", seen), info_->name);
}

void RequestSax::NotServed(const std::string& seen) {
  FieldError(RequestErrorCode::kUnsupported,
             absl::StrCat(info_->name, " ", seen, " is not supported by this version"),
             info_->name);
}

bool RequestSax::key(json::string_t& name) {
  if (depth_ > 1) {
    if (depth_ == 2) element_key_ = std::move(name);
    return true;
  }
  ++member_;
  field_failed_ = false;
  num_elements_ = 0;
  bracket_ = 0;
  info_ = FindField(name, &field_);
  if (info_ != nullptr) {
    if (Given(field_)) {
      return SyntaxError(absl::StrCat("the field ", JsonString(name), " is there twice"));
    }
    given_.set(static_cast<size_t>(field_));
    if (field_ == Field::kId) id_member_ = member_;
    if (field_ == Field::kMetadata) metadata_member_ = member_;
    return true;
  }
  if (name == kOpenAiId) {
    openai_member_ = member_;
  } else if (!options_.ignore_unknown_fields) {
    FieldError(RequestErrorCode::kUnknownField,
               absl::StrCat("unknown field ", JsonString(Shorten(name, kShownBytes)),
                            "; the nearest known one is ", JsonString(NearestField(name)),
                            " (--ignore-unknown-fields lets it pass)"),
               Shorten(name, kShownBytes));
  }
  return true;
}

bool RequestSax::Start(char bracket) {
  ++depth_;
  if (depth_ > kMaxJsonDepth) {
    return SyntaxError(
        absl::StrCat("arrays and objects are nested more than ", kMaxJsonDepth, " deep"));
  }
  if (depth_ == 1) {
    if (bracket != '{') return SyntaxError("a request is a JSON object, not an array");
    return true;
  }
  if (info_ == nullptr || field_failed_ || info_->type == FieldType::kAny) return true;
  if (depth_ == 2) {
    bracket_ = bracket;
    const bool fits =
        bracket == '[' ? IsArrayType(info_->type) : info_->type == FieldType::kTokenBiases;
    if (!fits) WrongValue(std::string(ShownBracket(bracket)));
    if (fits && field_ == Field::kDecoderPromptTokenIds) {
      request_.decoder_prompt_token_ids.emplace();
    }
  } else {
    WrongValue(absl::StrCat(ShownBracket(bracket_), " that holds ", ShownBracket(bracket)));
  }
  return true;
}

bool RequestSax::End() {
  --depth_;
  if (depth_ == 1 && info_ != nullptr && !field_failed_) EndOfField();
  return true;
}

bool RequestSax::Scalar(const JsonScalar& value) {
  if (depth_ == 0) {
    return SyntaxError(absl::StrCat("a request is a JSON object, not ", Shown(value)));
  }
  if (depth_ == 1 && member_ == openai_member_ && value.kind == JsonScalar::Kind::kString) {
    TakeId(value);  // The error result carries it.
    id_member_ = member_;
  }
  if (info_ == nullptr || field_failed_) return true;
  if (depth_ == 1) {
    TopLevelScalar(value);
  } else if (depth_ == 2 && info_->type != FieldType::kAny) {
    Element(value);
  }
  return true;
}

void RequestSax::TopLevelScalar(const JsonScalar& value) {
  using Kind = JsonScalar::Kind;
  if (info_->type == FieldType::kAny) return;
  if (value.kind == Kind::kNull) {
    given_.reset(static_cast<size_t>(field_));
    return;
  }
  switch (info_->type) {
    case FieldType::kId:
      return TakeId(value);
    case FieldType::kString:
      if (value.kind != Kind::kString) return WrongValue(Shown(value));
      return TakeString(value.text);
    case FieldType::kInteger: {
      const std::optional<int64_t> integer = IntegerOf(value);
      if (!integer.has_value()) return WrongValue(Shown(value));
      return TakeInteger(*integer, value);
    }
    case FieldType::kNumber:
      if (value.kind != Kind::kInteger && value.kind != Kind::kNumber) {
        return WrongValue(Shown(value));
      }
      return TakeNumber(value);
    case FieldType::kBoolean:
    case FieldType::kBooleanOrString: {
      const bool never = info_->type == FieldType::kBooleanOrString &&
                         value.kind == Kind::kString && *value.text == "never";
      if (never) return NotServed(Shown(value));
      if (value.kind != Kind::kBoolean) return WrongValue(Shown(value));
      if (field_ == Field::kIgnoreEos) {
        request_.ignore_eos = value.boolean;
      } else if (!info_->served && value.boolean != (info_->neutral != 0.0)) {
        NotServed(Shown(value));
      }
      return;
    }
    case FieldType::kStringOrStrings:
      if (value.kind != Kind::kString) return WrongValue(Shown(value));
      return NotServed(Shown(value));
    case FieldType::kTokenIds:
    case FieldType::kStrings:
    case FieldType::kTokenBiases:
      return WrongValue(Shown(value));
    case FieldType::kAny:
      return;
  }
}

void RequestSax::TakeId(const JsonScalar& value) {
  if (value.kind == JsonScalar::Kind::kString) {
    request_.id.key = *value.text;
    request_.id.json = JsonString(*value.text);
  } else if (value.kind == JsonScalar::Kind::kInteger) {
    request_.id.key = request_.id.json = absl::StrCat(value.integer);
  } else if (value.whole_digits) {
    request_.id.key = request_.id.json = *value.text;
  } else {
    return WrongValue(Shown(value));
  }
  id_given_ = true;
}

void RequestSax::TakeInteger(int64_t integer, const JsonScalar& value) {
  const auto number = static_cast<double>(integer);
  if (number < info_->minimum || number > info_->maximum) return WrongValue(Shown(value));
  if (!info_->served) {
    if (number != info_->neutral) NotServed(Shown(value));
    return;
  }
  const auto narrow = static_cast<int32_t>(integer);  // Fits: see the table; seed is not kept.
  if (field_ == Field::kMaxTokens) request_.max_tokens = narrow;
  if (field_ == Field::kMinTokens) request_.min_tokens = narrow;
  if (field_ == Field::kLogprobs) request_.logprobs = narrow;
}

void RequestSax::TakeNumber(const JsonScalar& value) {
  if (!(value.number >= info_->minimum && value.number <= info_->maximum)) {
    return WrongValue(Shown(value));
  }
  if (!info_->served && value.number != info_->neutral) NotServed(Shown(value));
}

void RequestSax::TakeString(std::string* text) {
  (field_ == Field::kPrompt ? request_.prompt : request_.decoder_prompt) = std::move(*text);
}

std::vector<int32_t>* RequestSax::IdsOf(Field field) {
  if (field == Field::kPromptTokenIds) return &request_.prompt_token_ids;
  if (field == Field::kStopTokenIds) return &request_.stop_token_ids;
  return &*request_.decoder_prompt_token_ids;
}

void RequestSax::TakeTokenId(const JsonScalar& value) {
  const std::optional<int64_t> id = IntegerOf(value);
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  if (!id.has_value() || *id < 0 || *id > kMax) {
    return WrongValue(absl::StrCat("an array that holds ", Shown(value)));
  }
  const int64_t vocab_size =
      field_ == Field::kPromptTokenIds ? options_.encoder_vocab_size : options_.decoder_vocab_size;
  if (vocab_size > 0 && *id >= vocab_size) {
    RequestError error = InvalidTokenError(info_->name, num_elements_, *id, vocab_size);
    return FieldError(error.code, std::move(error.message), info_->name);
  }
  IdsOf(field_)->push_back(static_cast<int32_t>(*id));
}

void RequestSax::Element(const JsonScalar& value) {
  using Kind = JsonScalar::Kind;
  if (info_->type == FieldType::kTokenIds) {
    TakeTokenId(value);
  } else if (info_->type == FieldType::kTokenBiases) {
    int32_t token = 0;
    if (!absl::SimpleAtoi(element_key_, &token) || token < 0) {
      WrongValue(
          absl::StrCat("an object with the key ", JsonString(Shorten(element_key_, kShownBytes))));
    } else if (value.kind != Kind::kInteger && value.kind != Kind::kNumber) {
      WrongValue(absl::StrCat("an object that holds ", Shown(value)));
    } else if (std::abs(value.number) > info_->maximum) {
      WrongValue(absl::StrCat("an object that holds ", Shown(value)));
    }
  } else if (value.kind != Kind::kString) {
    WrongValue(absl::StrCat("an array that holds ", Shown(value)));
  }
  ++num_elements_;
}

// At the end of an array or object.
void RequestSax::EndOfField() {
  if (!info_->served && num_elements_ > 0) {
    FieldError(RequestErrorCode::kUnsupported,
               absl::StrCat(info_->name, " is not supported by this version"), info_->name);
  }
  if (field_ == Field::kPromptTokenIds && num_elements_ == 0) {
    RequestError error = EmptyPromptError(info_->name);
    FieldError(error.code, std::move(error.message), info_->name);
  }
}

std::optional<RequestError> RequestSax::Finish() {
  if (openai_member_ >= 0 && !syntax_failed_) {
    error_ = RequestError{RequestErrorCode::kUnsupported,
                          "OpenAI batch lines are not supported by this version; write "
                          "{\"id\": ..., \"prompt\": ...}",
                          std::string(kOpenAiId)};
  }
  if (error_.has_value()) return error_;
  const auto both = [this](Field a, Field b) {
    FieldError(RequestErrorCode::kInvalidValue,
               absl::StrCat(InfoOf(a).name, " and ", InfoOf(b).name,
                            " are both given; one of them is wanted"),
               InfoOf(b).name);
  };
  if (Given(Field::kPrompt) && Given(Field::kPromptTokenIds)) {
    both(Field::kPrompt, Field::kPromptTokenIds);
  } else if (!Given(Field::kPrompt) && !Given(Field::kPromptTokenIds)) {
    FieldError(RequestErrorCode::kMissingField, "prompt or prompt_token_ids is missing", "prompt");
  }
  if (Given(Field::kDecoderPrompt) && Given(Field::kDecoderPromptTokenIds)) {
    both(Field::kDecoderPrompt, Field::kDecoderPromptTokenIds);
  }
  if (!Given(Field::kMaxTokens)) request_.max_tokens = defaults_.max_tokens;
  if (!Given(Field::kMinTokens)) request_.min_tokens = defaults_.min_tokens;
  if (!Given(Field::kIgnoreEos)) request_.ignore_eos = defaults_.ignore_eos;
  if (!Given(Field::kLogprobs)) request_.logprobs = defaults_.logprobs;
  if (!Given(Field::kStopTokenIds)) request_.stop_token_ids = defaults_.stop_token_ids;
  if (!Given(Field::kDecoderPrompt) && !Given(Field::kDecoderPromptTokenIds)) {
    request_.decoder_prompt = defaults_.decoder_prompt;
  }
  if (request_.min_tokens > request_.max_tokens) {
    FieldError(RequestErrorCode::kInvalidValue,
               absl::StrCat("min_tokens is ", request_.min_tokens, ", more than max_tokens, ",
                            request_.max_tokens),
               "min_tokens");
  }
  std::vector<int32_t>& stops = request_.stop_token_ids;
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  return error_;
}

}  // namespace tandem
