// The fields a request may have: one table, for the parser, the messages and the reference page.
#ifndef TANDEM_COORDINATOR_IO_REQUEST_FIELDS_H_
#define TANDEM_COORDINATOR_IO_REQUEST_FIELDS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace tandem {

// What a JSON object is of which the fields are told.
enum class LineForm : uint8_t {
  kGenerate,     // tandem's own lines, by verb.
  kScore,        //
  kEmbed,        //
  kBatchLine,    // An OpenAI batch line: what is around the body.
  kCompletions,  // Its body, by url.
  kChat,         //
  kEmbeddings,   //
};
inline constexpr int kNumLineForms = static_cast<int>(LineForm::kEmbeddings) + 1;
absl::string_view NameOf(LineForm form);  // "generate requests", "/v1/completions bodies"

// A name may stand in several rows, of different forms (`logprobs` is a number for completions and
// a boolean for chat).
enum class Field : uint8_t {
  kId,
  kPrompt,
  kPromptTokenIds,
  kImages,
  kDecoderPrompt,
  kDecoderPromptTokenIds,
  kTarget,
  kTargetTokenIds,
  kAddEos,
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
  // Around the body of an OpenAI batch line.
  kCustomId,
  kMethod,
  kUrl,
  kBody,
  // In the body.
  kModel,
  kBatchPrompt,
  kMessages,
  kInput,
  kMaxCompletionTokens,
  kCompletionsLogprobs,
  kChatLogprobs,
  kTopLogprobs,
  kEncodingFormat,
  kDimensions,
  kResponseFormat,
  kEcho,
  kSuffix,
  kStream,
  kStreamOptions,
  kTools,
  kUser,
  kStore,
  kServiceTier,
};
inline constexpr int kNumFields = static_cast<int>(Field::kServiceTier) + 1;

enum class FieldType : uint8_t {
  kId,               // String or integer.
  kString,           //
  kInteger,          //
  kNumber,           //
  kBoolean,          //
  kTokenIds,         // Array of integers from 0 to 2^31 - 1.
  kStrings,          // Array of strings.
  kStringOrStrings,  //
  kBooleanOrNever,   // true, false, "never".
  kTokenBiases,      // Object: token id -> number.
  kAny,              // Passed over here; a few are looked at afterwards, in the line's own bytes.
  kNothing,          // null, false, "", [] or {}: what asks for more is not served.
};

struct FieldInfo {
  absl::string_view name;
  FieldType type = FieldType::kAny;
  uint32_t forms = 0;         // Bit i: the form i has it.
  absl::string_view expects;  // What messages ask for: "an integer of at least 1".
  // Bounds of kInteger and kNumber (of each token bias, too).
  double minimum = 0.0;
  double maximum = 0.0;
  bool or_zero = false;  // 0 is taken although it lies below `minimum`.
  // Bounds of kStrings, kStringOrStrings (strings, and bytes of each, which is not empty) and
  // kTokenBiases. 0: the line's length bounds them.
  int64_t max_elements = 0;
  int64_t max_bytes = 0;
  bool served = true;              // kStrings: false: only an empty array passes.
  absl::string_view default_text;  // For the reference page.
  absl::string_view note;

  bool BelongsTo(LineForm form) const { return (forms >> static_cast<int>(form) & 1u) != 0; }
  // Whether a number is within the bounds.
  bool Takes(double number) const {
    return (number >= minimum && number <= maximum) || (or_zero && number == 0.0);
  }
};

absl::Span<const FieldInfo> FieldTable();  // In the order of the enum.
const FieldInfo& InfoOf(Field field);

// The form's field of that exact name; null where there is none.
const FieldInfo* FindField(LineForm form, absl::string_view name, Field* field);
// Of all names of the form, the nearest.
absl::string_view NearestField(LineForm form, absl::string_view name);
// A form that has a field of this name; null where none has.
const LineForm* AnyFormOf(absl::string_view name);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_REQUEST_FIELDS_H_
