// The fields a request may have: one table, for the parser, the messages and the reference page.
#ifndef TANDEM_COORDINATOR_IO_REQUEST_FIELDS_H_
#define TANDEM_COORDINATOR_IO_REQUEST_FIELDS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tandem {

enum class Field : uint8_t {
  kId,
  kPrompt,
  kPromptTokenIds,
  kImages,
  kDecoderPrompt,
  kDecoderPromptTokenIds,
  kMaxTokens,
  kMinTokens,
  kIgnoreEos,
  kTemperature,
  kTopK,
  kTopP,
  kMinP,
  kSeed,
  kN,
  kBestOf,
  kNumBeams,
  kLengthPenalty,
  kEarlyStopping,
  kRepetitionPenalty,
  kPresencePenalty,
  kFrequencyPenalty,
  kNoRepeatNgramSize,
  kBadWords,
  kLogitBias,
  kStop,
  kStopTokenIds,
  kIncludeStopStrInOutput,
  kLogprobs,
  kSkipSpecialTokens,
  kMetadata,
};
inline constexpr int kNumFields = static_cast<int>(Field::kMetadata) + 1;

enum class FieldType : uint8_t {
  kId,               // String or integer.
  kString,           //
  kInteger,          //
  kNumber,           //
  kBoolean,          //
  kTokenIds,         // Array of integers from 0 to 2^31 - 1.
  kStrings,          // Array of strings.
  kStringOrStrings,  //
  kBooleanOrString,  // The string one of `choices` (early_stopping: "never").
  kTokenBiases,      // Object: token id -> number.
  kAny,              //
};

struct FieldInfo {
  absl::string_view name;
  FieldType type = FieldType::kAny;
  absl::string_view expects;  // What messages ask for: "an integer of at least 1".
  // Bounds of kInteger and kNumber (of each token bias, too).
  double minimum = 0.0;
  double maximum = 0.0;
  // Unserved: the value is checked, and passes only where it asks for nothing: where it equals
  // `neutral` (numbers), is false or true as `neutral` says, or is empty (arrays, objects).
  bool served = true;
  double neutral = 0.0;
  absl::string_view default_text;  // For the reference page.
  absl::string_view note;
};

absl::Span<const FieldInfo> FieldTable();  // In the order of the enum.
const FieldInfo& InfoOf(Field field);

// The field of that exact name; null where there is none.
const FieldInfo* FindField(absl::string_view name, Field* field);
// Of all names, the nearest.
absl::string_view NearestField(absl::string_view name);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_REQUEST_FIELDS_H_
