#include "common/checkpoint/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace tandem {
namespace {

using nlohmann::json;

constexpr size_t kMaxTensors = 100'000;
constexpr size_t kMaxDimensions = 16;
constexpr size_t kMaxNameBytes = 1024;

struct KnownType {
  absl::string_view name;
  int64_t bytes;
  std::optional<DType> dtype;
};
constexpr KnownType kKnownTypes[] = {
    {"F32", 4, DType::kF32},      {"BF16", 2, DType::kBF16},    {"F16", 2, DType::kF16},
    {"F64", 8, DType::kF64},      {"I8", 1, DType::kI8},        {"U8", 1, DType::kU8},
    {"I16", 2, DType::kI16},      {"U16", 2, DType::kU16},      {"I32", 4, DType::kI32},
    {"U32", 4, DType::kU32},      {"I64", 8, DType::kI64},      {"U64", 8, DType::kU64},
    {"BOOL", 1, DType::kBool},    {"F8_E5M2", 1, std::nullopt}, {"F8_E4M3", 1, std::nullopt},
    {"F8_E8M0", 1, std::nullopt},
};

const KnownType* FindType(absl::string_view name) {
  for (const KnownType& type : kKnownTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

// Builds the header from the JSON parser's events, so that nothing is held twice and a name that
// comes twice is seen. Every handler returns false to stop, with `error` set.
class HeaderBuilder {
 public:
  HeaderBuilder(int64_t data_begin, SafetensorsHeader& header)
      : data_begin_(data_begin), header_(header) {}

  const std::string& error() const { return error_; }

  bool start_object(size_t) {
    if (depth_ == 2) return Fail("has an object inside an object");
    if (depth_ == 1 && !in_metadata_) entry_ = {};
    if (depth_ == 1) seen_dtype_ = seen_shape_ = seen_offsets_ = false;
    ++depth_;
    return true;
  }

  bool key(std::string& name) {
    if (depth_ == 2) {
      field_ = name;
      if (in_metadata_) return true;
      bool* seen = name == "dtype"          ? &seen_dtype_
                   : name == "shape"        ? &seen_shape_
                   : name == "data_offsets" ? &seen_offsets_
                                            : nullptr;
      if (seen == nullptr) return Fail("has a field that is none of dtype, shape, data_offsets");
      if (std::exchange(*seen, true)) return Fail(absl::StrCat("has two fields ", name));
      return true;
    }
    name_ = name;
    if (name.size() > kMaxNameBytes) return Fail("has a name of more than 1,024 bytes");
    if (!names_.insert(name).second) return Fail("is there twice");
    in_metadata_ = name == "__metadata__";
    if (!in_metadata_ && header_.tensors.size() == kMaxTensors) {
      return Fail("is one too many: more than 100,000");
    }
    return true;
  }

  bool string(std::string& text) {
    if (depth_ == 2 && in_metadata_) {
      header_.metadata[field_] = text;
      return true;
    }
    if (depth_ != 2 || in_array_ || field_ != "dtype") return Misplaced();
    entry_.dtype_name = text;
    return true;
  }

  bool start_array(size_t) {
    if (depth_ != 2 || in_metadata_ || in_array_ || field_ == "dtype") return Misplaced();
    in_array_ = true;
    numbers_.clear();
    return true;
  }

  bool number_unsigned(uint64_t number) {
    if (!in_array_) return Misplaced();
    if (numbers_.size() == kMaxDimensions) return Fail("has more than 16 dimensions");
    // Nothing in a file can be larger, and int64 is what everything here counts in.
    if (number > static_cast<uint64_t>(INT64_MAX)) return Fail("has a size beyond 64 bits");
    numbers_.push_back(static_cast<int64_t>(number));
    return true;
  }

  bool end_array() {
    in_array_ = false;
    if (field_ == "shape") {
      entry_.shape = numbers_;
      return true;
    }
    if (numbers_.size() != 2) return Fail("has data_offsets that are not two numbers");
    entry_.begin = numbers_[0];
    entry_.end = numbers_[1];
    return true;
  }

  bool end_object() {
    --depth_;
    if (depth_ == 0 || in_metadata_) {
      in_metadata_ = false;
      return true;
    }
    return FinishTensor();
  }

  bool null() { return Misplaced(); }
  bool boolean(bool) { return Misplaced(); }
  bool number_integer(int64_t) { return Misplaced(); }
  bool number_float(double, const std::string&) { return Misplaced(); }
  bool binary(json::binary_t&) { return Misplaced(); }
  bool parse_error(size_t position, const std::string&, const json::exception&) {
    if (error_.empty()) error_ = absl::StrCat("header is not valid JSON at byte ", position);
    return false;
  }

 private:
  bool Misplaced() { return Fail("has a value of a wrong type"); }

  bool Fail(absl::string_view what) {
    error_ = absl::StrCat("tensor \"", absl::CHexEscape(name_.substr(0, 100)), "\" ", what);
    return false;
  }

  bool FinishTensor() {
    if (!seen_dtype_ || !seen_shape_ || !seen_offsets_) {
      return Fail("lacks one of dtype, shape, data_offsets");
    }
    const KnownType* type = FindType(entry_.dtype_name);
    if (type == nullptr) {
      return Fail(absl::StrCat("has the unknown dtype \"",
                               absl::CHexEscape(entry_.dtype_name.substr(0, 20)), "\""));
    }
    int64_t bytes = type->bytes;
    for (const int64_t size : entry_.shape) {
      if (__builtin_mul_overflow(bytes, size, &bytes)) return Fail("is larger than 64 bits count");
    }
    if (entry_.end < entry_.begin || entry_.end - entry_.begin != bytes) {
      return Fail("has data_offsets that do not fit its shape");
    }
    if (__builtin_add_overflow(entry_.begin, data_begin_, &entry_.begin) ||
        __builtin_add_overflow(entry_.end, data_begin_, &entry_.end)) {
      return Fail("has data_offsets beyond 64 bits");
    }
    entry_.name = name_;
    entry_.dtype = type->dtype;
    header_.tensors.push_back(std::move(entry_));
    return true;
  }

  const int64_t data_begin_;
  SafetensorsHeader& header_;
  std::string error_;
  int depth_ = 0;
  bool in_metadata_ = false;
  bool in_array_ = false;
  bool seen_dtype_ = false;
  bool seen_shape_ = false;
  bool seen_offsets_ = false;
  std::string name_;
  std::string field_;
  std::vector<int64_t> numbers_;
  SafetensorsEntry entry_;
  absl::flat_hash_set<std::string> names_;
};

// The tensors, sorted by place, must fill the data.
absl::Status CheckCoverage(const SafetensorsHeader& header, int64_t data_begin,
                           int64_t file_bytes) {
  int64_t at = data_begin;
  for (const SafetensorsEntry& entry : header.tensors) {
    if (entry.begin != at) {
      return absl::DataLossError(
          absl::StrCat("tensor \"", absl::CHexEscape(entry.name), "\" ",
                       entry.begin < at ? "overlaps the one before it" : "begins after a hole"));
    }
    if (entry.end > file_bytes) {
      return absl::DataLossError(absl::StrCat("tensor \"", absl::CHexEscape(entry.name),
                                              "\" ends at byte ", entry.end, ", but the file has ",
                                              file_bytes, ": it is cut short"));
    }
    at = entry.end;
  }
  if (at != file_bytes) {
    return absl::DataLossError(
        absl::StrCat("the data should end at byte ", at, ", but the file has ", file_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> SafetensorsHeaderBytes(absl::string_view prefix, int64_t file_bytes) {
  if (file_bytes < kSafetensorsPrefixBytes ||
      prefix.size() < static_cast<size_t>(kSafetensorsPrefixBytes)) {
    return absl::DataLossError(
        absl::StrCat("has ", file_bytes, " bytes; a safetensors file has at least 8"));
  }
  uint64_t bytes = 0;
  std::memcpy(&bytes, prefix.data(), sizeof(bytes));
  if (bytes > static_cast<uint64_t>(kMaxSafetensorsHeaderBytes)) {
    return absl::DataLossError(absl::StrCat("header would have ", bytes,
                                            " bytes, more than 100,000,000: no safetensors file"));
  }
  if (bytes > static_cast<uint64_t>(file_bytes - kSafetensorsPrefixBytes)) {
    return absl::DataLossError(absl::StrCat(
        "header would have ", bytes, " bytes, but the file has ", file_bytes, ": it is cut short"));
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view text,
                                                         int64_t file_bytes) {
  if (text.empty() || text.front() != '{') {
    return absl::DataLossError("header does not begin with {: no safetensors file");
  }
  const int64_t data_begin = kSafetensorsPrefixBytes + static_cast<int64_t>(text.size());
  SafetensorsHeader header;
  HeaderBuilder builder(data_begin, header);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::DataLossError(builder.error());
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  const absl::Status coverage = CheckCoverage(header, data_begin, file_bytes);
  if (!coverage.ok()) return coverage;
  return header;
}

}  // namespace tandem
