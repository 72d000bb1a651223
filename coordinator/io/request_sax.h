// Receives the events of one object's JSON and makes fields of them. Used by request.cc and
// openai_request.cc alone.
#ifndef TANDEM_COORDINATOR_IO_REQUEST_SAX_H_
#define TANDEM_COORDINATOR_IO_REQUEST_SAX_H_

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/io/parsed_fields.h"
#include "coordinator/io/request.h"
#include "coordinator/io/request_fields.h"

namespace tandem {

inline constexpr int kMaxJsonDepth = 64;

// What a scalar was. Text is set for strings and for numbers that are no 64-bit integer.
struct JsonScalar {
  enum class Kind : uint8_t { kNull, kBoolean, kInteger, kNumber, kString };
  Kind kind = Kind::kNull;
  bool boolean = false;
  int64_t integer = 0;  // kInteger
  double number = 0.0;  // kInteger, kNumber
  std::string* text = nullptr;
  bool whole_digits = false;  // kNumber: written without fraction or exponent, beyond 64 bits.

  bool IsNumber() const { return kind == Kind::kInteger || kind == Kind::kNumber; }
};

// nlohmann's SAX interface. Syntax errors end the parse; the first error in the fields is kept
// while the parse goes on, so that text which is not JSON is told as such, and the id is found.
class RequestSax {
 public:
  using json = nlohmann::json;

  RequestSax(LineForm form, const RequestDefaults& defaults, const RequestOptions& options)
      : form_(form), options_(options) {
    member_of_.fill(-1);
    fields_.request.decoding = defaults.decoding;
  }

  bool null() { return Scalar({}); }
  bool boolean(bool value);
  bool number_integer(json::number_integer_t value);
  bool number_unsigned(json::number_unsigned_t value);
  bool number_float(json::number_float_t value, const json::string_t& text);
  bool string(json::string_t& value);
  bool binary(json::binary_t&) { return false; }  // Not in text.
  bool start_object(size_t) { return Start('{'); }
  bool key(json::string_t& name);
  bool end_object() { return End(); }
  bool start_array(size_t) { return Start('['); }
  bool end_array() { return End(); }
  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::detail::exception& error);

  // After the parse. What the values say together is the callers' to check.
  ParsedFields& fields() { return fields_; }
  const std::optional<RequestError>& error() const { return error_; }
  bool syntax_failed() const { return syntax_failed_; }
  bool id_given() const { return id_given_; }
  // Of tandem's own forms: the line is an OpenAI batch line, and its fields mean nothing here.
  bool is_batch_line() const { return saw_custom_id_ || (saw_url_ && saw_body_); }
  // The index of a field's member among all of the object's, -1 where there is none. The id's: what
  // gave the id, be it a custom_id.
  int64_t MemberOf(Field field) const { return member_of_[static_cast<size_t>(field)]; }

 private:
  bool Scalar(const JsonScalar& value);
  bool Start(char bracket);
  bool End();
  bool SyntaxError(std::string message);
  void FieldError(RequestErrorCode code, std::string message, absl::string_view param);
  void WrongValue(const std::string& seen);
  void NotServed(const std::string& seen);
  void UnknownField(absl::string_view name);

  void TopLevelScalar(const JsonScalar& value);
  void Element(const JsonScalar& value);
  void EndOfField();
  void TakeId(const JsonScalar& value);
  void TakeInteger(const JsonScalar& value);
  void TakeTokenId(const JsonScalar& value);
  void TakeBias(const JsonScalar& value);
  // Whether a string of a list is within the field's bounds; says what is wrong.
  bool TakesText(const std::string& text);
  int64_t VocabSize() const;

  const LineForm form_;
  const RequestOptions& options_;
  ParsedFields fields_;
  std::optional<RequestError> error_;
  bool syntax_failed_ = false;
  bool id_given_ = false;
  bool saw_custom_id_ = false;
  bool saw_url_ = false;
  bool saw_body_ = false;
  bool is_custom_id_ = false;  // The current member.
  int64_t member_ = -1;        // Of the top-level object, the current one.
  std::array<int64_t, kNumFields> member_of_;
  int depth_ = 0;
  const FieldInfo* info_ = nullptr;  // The current member's; null: one to pass over.
  Field field_ = Field::kId;
  bool field_failed_ = false;  // The current member has its error: pass over the rest.
  char bracket_ = 0;           // '[' or '{' where the current member is one.
  int64_t num_elements_ = 0;
  std::string element_key_;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_REQUEST_SAX_H_
