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

void RequestSax::UnknownField(absl::string_view name) {
  if (options_.ignore_unknown_fields) return;
  const std::string shown = Shorten(name, kShownBytes);
  if (const LineForm* other = AnyFormOf(name); other != nullptr) {
    return FieldError(
        RequestErrorCode::kUnknownField,
        absl::StrCat(JsonString(shown), " is no field of ", NameOf(form_), ", but one of ",
                     NameOf(*other), " (--ignore-unknown-fields lets it pass)"),
        shown);
  }
  FieldError(RequestErrorCode::kUnknownField,
             absl::StrCat("unknown field ", JsonString(shown), "; the nearest known one is ",
                          JsonString(NearestField(form_, name)),
                          " (--ignore-unknown-fields lets it pass)"),
             shown);
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
  const bool own = form_ <= LineForm::kEmbed;
  is_custom_id_ = own && name == "custom_id";
  saw_custom_id_ |= is_custom_id_;
  saw_url_ |= own && name == "url";
  saw_body_ |= own && name == "body";
  info_ = FindField(form_, name, &field_);
  if (info_ == nullptr) {
    UnknownField(name);
    return true;
  }
  if (fields_.Given(field_)) {
    return SyntaxError(absl::StrCat("the field ", JsonString(name), " is there twice"));
  }
  fields_.given.set(static_cast<size_t>(field_));
  member_of_[static_cast<size_t>(field_)] = member_;
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
  if (info_->type == FieldType::kNothing) {
    num_elements_ += depth_ > 2 ? 1 : 0;
  } else if (depth_ == 2) {
    bracket_ = bracket;
    const bool fits =
        bracket == '[' ? IsArrayType(info_->type) : info_->type == FieldType::kTokenBiases;
    if (!fits) WrongValue(std::string(ShownBracket(bracket)));
    if (fits) BeginList(field_, &fields_);
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
  if (depth_ == 1 && is_custom_id_ && value.kind == JsonScalar::Kind::kString) {
    TakeId(value);  // The error result carries it.
    member_of_[static_cast<size_t>(Field::kId)] = member_;
  }
  if (info_ == nullptr || field_failed_ || info_->type == FieldType::kAny) {
    const bool given = info_ != nullptr && depth_ == 1 && value.kind == JsonScalar::Kind::kNull;
    // A null is not given; metadata's, too, but its bytes come back (MemberOf).
    if (given) fields_.given.reset(static_cast<size_t>(field_));
    return true;
  }
  if (depth_ == 1) {
    TopLevelScalar(value);
  } else if (info_->type == FieldType::kNothing) {
    ++num_elements_;
  } else if (depth_ == 2) {
    Element(value);
  }
  return true;
}

void RequestSax::TopLevelScalar(const JsonScalar& value) {
  using Kind = JsonScalar::Kind;
  if (value.kind == Kind::kNull) {
    fields_.given.reset(static_cast<size_t>(field_));
    return;
  }
  const bool is_string = value.kind == Kind::kString;
  switch (info_->type) {
    case FieldType::kId:
      return TakeId(value);
    case FieldType::kString:
      if (!is_string) return WrongValue(Shown(value));
      return StoreString(field_, std::move(*value.text), &fields_);
    case FieldType::kInteger:
      return TakeInteger(value);
    case FieldType::kNumber:
      if (!value.IsNumber() || !info_->Takes(value.number)) return WrongValue(Shown(value));
      return StoreNumber(field_, value.number, &fields_);
    case FieldType::kBooleanOrNever:
      if (is_string && *value.text == "never") {
        return StoreString(field_, std::move(*value.text), &fields_);
      }
      [[fallthrough]];
    case FieldType::kBoolean:
      if (value.kind != Kind::kBoolean) return WrongValue(Shown(value));
      return StoreBoolean(field_, value.boolean, &fields_);
    case FieldType::kStringOrStrings:
      if (!is_string) return WrongValue(Shown(value));
      if (TakesText(*value.text)) StoreString(field_, std::move(*value.text), &fields_);
      return;
    case FieldType::kTokenIds:
    case FieldType::kStrings:
    case FieldType::kTokenBiases:
      return WrongValue(Shown(value));
    case FieldType::kNothing: {
      const bool nothing =
          is_string ? value.text->empty() : value.kind == Kind::kBoolean && !value.boolean;
      if (!nothing) NotServed(Shown(value));
      return;
    }
    case FieldType::kAny:
      return;
  }
}

void RequestSax::TakeId(const JsonScalar& value) {
  RequestId& id = fields_.request.id;
  if (value.kind == JsonScalar::Kind::kString) {
    id.key = *value.text;
    id.json = JsonString(*value.text);
  } else if (value.kind == JsonScalar::Kind::kInteger) {
    id.key = id.json = absl::StrCat(value.integer);
  } else if (value.whole_digits) {
    id.key = id.json = *value.text;
  } else {
    return WrongValue(Shown(value));
  }
  id_given_ = true;
}

void RequestSax::TakeInteger(const JsonScalar& value) {
  const std::optional<int64_t> integer = IntegerOf(value);
  if (!integer.has_value() || !info_->Takes(static_cast<double>(*integer))) {
    return WrongValue(Shown(value));
  }
  StoreInteger(field_, *integer, &fields_);
}

int64_t RequestSax::VocabSize() const {
  return field_ == Field::kPromptTokenIds ? options_.encoder_vocab_size
                                          : options_.decoder_vocab_size;
}

void RequestSax::TakeTokenId(const JsonScalar& value) {
  const std::optional<int64_t> id = IntegerOf(value);
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  if (!id.has_value() || *id < 0 || *id > kMax) {
    return WrongValue(absl::StrCat("an array that holds ", Shown(value)));
  }
  if (VocabSize() > 0 && *id >= VocabSize()) {
    RequestError error = InvalidTokenError(info_->name, num_elements_, *id, VocabSize());
    return FieldError(error.code, std::move(error.message), info_->name);
  }
  TokenIdsOf(field_, &fields_)->push_back(static_cast<int32_t>(*id));
}

void RequestSax::TakeBias(const JsonScalar& value) {
  int32_t token = 0;
  const bool digits = element_key_.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || !absl::SimpleAtoi(element_key_, &token)) {
    return WrongValue(
        absl::StrCat("an object with the key ", JsonString(Shorten(element_key_, kShownBytes))));
  }
  if (!value.IsNumber() || !info_->Takes(value.number)) {
    return WrongValue(absl::StrCat("an object that holds ", Shown(value)));
  }
  if (VocabSize() > 0 && token >= VocabSize()) {
    return FieldError(RequestErrorCode::kInvalidToken,
                      absl::StrCat(info_->name, " has the token id ", token,
                                   "; the vocabulary has ids from 0 to ", VocabSize() - 1),
                      info_->name);
  }
  fields_.request.decoding.logit_bias.emplace_back(token, static_cast<float>(value.number));
}

bool RequestSax::TakesText(const std::string& text) {
  const auto bytes = static_cast<int64_t>(text.size());
  if (info_->max_bytes == 0 || (bytes > 0 && bytes <= info_->max_bytes)) return true;
  WrongValue(bytes == 0 ? "an empty one" : absl::StrCat("one of ", WithCommas(bytes), " bytes"));
  return false;
}

void RequestSax::Element(const JsonScalar& value) {
  ++num_elements_;
  if (info_->max_elements > 0 && num_elements_ > info_->max_elements) {
    return WrongValue(absl::StrCat("more of them"));
  }
  if (info_->type == FieldType::kTokenIds) {
    --num_elements_;  // Messages count from 0.
    TakeTokenId(value);
    ++num_elements_;
  } else if (info_->type == FieldType::kTokenBiases) {
    TakeBias(value);
  } else if (value.kind != JsonScalar::Kind::kString) {
    WrongValue(absl::StrCat("an array that holds ", Shown(value)));
  } else if (TakesText(*value.text)) {
    std::vector<std::string>* strings = StringsOf(field_, &fields_);
    if (strings != nullptr) strings->push_back(std::move(*value.text));
  }
}

// At the end of an array or object.
void RequestSax::EndOfField() {
  const bool nothing_wanted = !info_->served || info_->type == FieldType::kNothing;
  if (nothing_wanted && num_elements_ > 0) {
    FieldError(RequestErrorCode::kUnsupported,
               absl::StrCat(info_->name, " is not supported by this version"), info_->name);
  }
  if (field_ == Field::kPromptTokenIds && num_elements_ == 0) {
    RequestError error = EmptyPromptError(info_->name);
    FieldError(error.code, std::move(error.message), info_->name);
  }
  if (field_ == Field::kStopTokenIds) {
    std::vector<int32_t>& stops = fields_.request.decoding.stop_token_ids;
    std::sort(stops.begin(), stops.end());
    stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  }
  if (field_ == Field::kLogitBias) {
    auto& biases = fields_.request.decoding.logit_bias;
    std::sort(biases.begin(), biases.end());
    for (size_t i = 1; i < biases.size(); ++i) {
      if (biases[i].first != biases[i - 1].first) continue;
      return WrongValue(
          absl::StrCat("an object that has the token id ", biases[i].first, " twice"));
    }
  }
}

}  // namespace tandem
