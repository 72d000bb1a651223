#include "common/config/json_fields.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

using nlohmann::json;

// A value for a message: short, valid UTF-8.
std::string Shown(const json& value) {
  constexpr size_t kMaxShown = 80;
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = absl::StrCat(text.substr(0, kMaxShown), "...");
  return text;
}

std::string Shown(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15
             ? absl::StrCat(static_cast<int64_t>(value))
             : absl::StrCat(value);
}

std::optional<int64_t> ToInt(const json& value, IntRange range) {
  if (!value.is_number_integer()) return std::nullopt;
  // An unsigned number beyond int64 would turn negative below.
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return std::nullopt;
  }
  const auto number = value.get<int64_t>();
  if (number < range.min || number > range.max) return std::nullopt;
  return number;
}

std::string IntWanted(IntRange range) {
  return absl::StrCat("it must be an integer from ", range.min, " to ", range.max);
}

}  // namespace

absl::StatusOr<json> ParseJsonObject(absl::string_view text) {
  json parsed;
  try {
    parsed = json::parse(text.begin(), text.end());
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON: ", error.what()));
  }
  if (!parsed.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be a JSON object, but is ", Shown(parsed)));
  }
  return parsed;
}

const json* JsonFields::Find(absl::string_view key) const {
  const auto it = object_.find(std::string(key));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool JsonFields::IsNull(absl::string_view key) const {
  const auto it = object_.find(std::string(key));
  return it != object_.end() && it->is_null();
}

int64_t JsonFields::Int(absl::string_view key, int64_t fallback, IntRange range) const {
  return OptionalInt({key}, range).value_or(fallback);
}

std::optional<int64_t> JsonFields::OptionalInt(std::initializer_list<absl::string_view> keys,
                                               IntRange range) const {
  std::optional<int64_t> found;
  absl::string_view found_key;
  for (const absl::string_view key : keys) {
    const json* value = Find(key);
    if (value == nullptr) continue;
    const std::optional<int64_t> number = ToInt(*value, range);
    if (!number) {
      Fail(key, IntWanted(range));
    } else if (found && *found != *number) {
      Fail(key, absl::StrCat(PathOf(found_key), " says ", *found));
    } else if (!found) {
      found = number;
      found_key = key;
    }
  }
  return found;
}

std::optional<std::vector<int64_t>> JsonFields::OptionalInts(absl::string_view key,
                                                             IntRange range) const {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  std::vector<int64_t> numbers;
  const json list = value->is_array() ? *value : json::array({*value});
  for (const json& item : list) {
    const std::optional<int64_t> number = ToInt(item, range);
    if (!number) {
      Fail(key, absl::StrCat("it must be an integer from ", range.min, " to ", range.max,
                             ", or a list of such"));
      return std::nullopt;
    }
    numbers.push_back(*number);
  }
  return numbers;
}

double JsonFields::Number(absl::string_view key, double fallback, NumberRange range) const {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_number()) {
    const auto number = value->get<double>();
    if (number >= range.min && number <= range.max) return number;
  }
  Fail(key, absl::StrCat("it must be a number from ", Shown(range.min), " to ", Shown(range.max)));
  return fallback;
}

bool JsonFields::Bool(absl::string_view key, bool fallback) const {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  Fail(key, "it must be true or false");
  return fallback;
}

std::string JsonFields::Text(absl::string_view key, absl::string_view fallback) const {
  const json* value = Find(key);
  if (value == nullptr) return std::string(fallback);
  if (value->is_string()) return value->get<std::string>();
  Fail(key, "it must be a string");
  return std::string(fallback);
}

const json* JsonFields::Object(absl::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr || value->is_object()) return value;
  Fail(key, "it must be an object");
  return nullptr;
}

void JsonFields::Fail(absl::string_view key, absl::string_view reason) const {
  if (!first_error_.ok()) return;
  const json* value = Find(key);
  first_error_ = absl::InvalidArgumentError(
      value == nullptr ? absl::StrCat(PathOf(key), " is missing: ", reason)
                       : absl::StrCat(PathOf(key), " is ", Shown(*value), ": ", reason));
}

std::string JsonFields::PathOf(absl::string_view key) const {
  return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
}

}  // namespace tandem
