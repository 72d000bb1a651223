// Reads typed, range-checked fields out of a JSON object and keeps the first error, so that a
// parser of many fields reads as a list of them. Every error names the field's full path and its
// value.
#ifndef TANDEM_COMMON_CONFIG_JSON_FIELDS_H_
#define TANDEM_COMMON_CONFIG_JSON_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace tandem {

// Parses text that must be one JSON object. INVALID_ARGUMENT says where it is broken.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text);

struct IntRange {
  int64_t min = 0;
  int64_t max = 0;
};

struct NumberRange {
  double min = 0.0;
  double max = 0.0;
};

// A view of one object; the object and `first_error` outlive it. After an error, reads go on and
// return fallbacks. A field that is null counts as absent.
class JsonFields {
 public:
  JsonFields(const nlohmann::json& object, std::string path, absl::Status* first_error)
      : object_(object), path_(std::move(path)), first_error_(*first_error) {}

  bool Has(absl::string_view key) const { return Find(key) != nullptr; }
  // Written as null, which for a few fields differs from left out.
  bool IsNull(absl::string_view key) const;
  // The value, or null where it is absent.
  const nlohmann::json* Find(absl::string_view key) const;

  int64_t Int(absl::string_view key, int64_t fallback, IntRange range) const;
  double Number(absl::string_view key, double fallback, NumberRange range) const;
  bool Bool(absl::string_view key, bool fallback) const;
  std::string Text(absl::string_view key, absl::string_view fallback) const;

  // A field of several spellings: the first that is there. Two that differ are an error.
  std::optional<int64_t> OptionalInt(std::initializer_list<absl::string_view> keys,
                                     IntRange range) const;
  // One integer or a list of them.
  std::optional<std::vector<int64_t>> OptionalInts(absl::string_view key, IntRange range) const;
  // Null where the field is absent or (an error) no object.
  const nlohmann::json* Object(absl::string_view key) const;

  // Records "path.key is VALUE: reason".
  void Fail(absl::string_view key, absl::string_view reason) const;
  std::string PathOf(absl::string_view key) const;

 private:
  const nlohmann::json& object_;
  std::string path_;
  absl::Status& first_error_;
};

}  // namespace tandem

#endif  // TANDEM_COMMON_CONFIG_JSON_FIELDS_H_
