// Receives the events of one request's JSON and makes fields of them. Used by request.cc alone.
#ifndef TANDEM_COORDINATOR_IO_REQUEST_SAX_H_
#define TANDEM_COORDINATOR_IO_REQUEST_SAX_H_

#include <bitset>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
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
};

// nlohmann's SAX interface. Syntax errors end the parse; the first error in the fields is kept
// while the parse goes on, so that text which is not JSON is told as such, and the id is found.
class RequestSax {
 public:
  using json = nlohmann::json;

  RequestSax(const RequestDefaults& defaults, const RequestOptions& options)
      : defaults_(defaults), options_(options) {}

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

  // After the parse. Takes what the fields say together; the first error of all.
  std::optional<RequestError> Finish();

  Request& request() { return request_; }
  bool id_given() const { return id_given_; }
  // The index of the member among all of the object's, -1 where there is none.
  int64_t id_member() const { return id_member_; }
  int64_t metadata_member() const { return metadata_member_; }
  bool syntax_failed() const { return syntax_failed_; }

 private:
  bool Scalar(const JsonScalar& value);
  bool Start(char bracket);
  bool End();
  bool SyntaxError(std::string message);
  void FieldError(RequestErrorCode code, std::string message, absl::string_view param);
  void WrongValue(const std::string& seen);
  void NotServed(const std::string& seen);

  void TopLevelScalar(const JsonScalar& value);
  void Element(const JsonScalar& value);
  void EndOfField();
  void TakeId(const JsonScalar& value);
  void TakeInteger(int64_t integer, const JsonScalar& value);
  void TakeNumber(const JsonScalar& value);
  void TakeTokenId(const JsonScalar& value);
  void TakeString(std::string* text);
  std::vector<int32_t>* IdsOf(Field field);
  bool Given(Field field) const { return given_[static_cast<size_t>(field)]; }

  const RequestDefaults& defaults_;
  const RequestOptions& options_;
  Request request_;
  std::optional<RequestError> error_;
  bool syntax_failed_ = false;
  bool id_given_ = false;
  int64_t member_ = -1;  // Of the top-level object, the current one.
  int64_t id_member_ = -1;
  int64_t openai_member_ = -1;
  int64_t metadata_member_ = -1;
  int depth_ = 0;
  const FieldInfo* info_ = nullptr;  // The current member's; null: one to pass over.
  Field field_ = Field::kId;
  bool field_failed_ = false;  // The current member has its error: pass over the rest.
  char bracket_ = 0;           // '[' or '{' where the current member is one.
  int64_t num_elements_ = 0;
  std::string element_key_;
  std::bitset<kNumFields> given_;
};

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_REQUEST_SAX_H_
