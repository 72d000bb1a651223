#include "common/protocol/messages.h"

#include <utility>

#include "common/base/status_macros.h"

namespace tandem {
namespace {

template <class A, class M>
void Fields(A& field, M& message);

// A message is written and read by one list of its fields: Fields(archive, message). What is not
// trivially copyable is a vector, a string, or has a list of fields of its own.
struct Writer {
  ByteWriter bytes;

  template <class T>
  void operator()(const T& value) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      bytes.Put(value);
    } else {
      Fields(*this, value);
    }
  }
  template <class T>
  void operator()(const std::vector<T>& values) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      bytes.PutVector(values);
    } else {
      bytes.Put(static_cast<uint64_t>(values.size()));
      for (const T& value : values) Fields(*this, value);
    }
  }
  void operator()(const std::string& text) { bytes.PutString(text); }
};

struct Reader {
  ByteReader bytes;

  template <class T>
  void operator()(T& value) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      value = bytes.Get<T>();
    } else {
      Fields(*this, value);
    }
  }
  template <class T>
  void operator()(std::vector<T>& values) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      values = bytes.GetVector<T>();
    } else {
      values.resize(bytes.GetCount(/*min_bytes=*/8));
      for (T& value : values) Fields(*this, value);
    }
  }
  void operator()(std::string& text) { text = bytes.GetString(); }
};

// `M` is const when writing. One overload a message.
#define TANDEM_FIELDS(Message, ...)                          \
  template <class A, class M>                                \
  void FieldsOf##Message(A& field, M& m) {                   \
    [&](auto&... each) { (field(each), ...); }(__VA_ARGS__); \
  }

TANDEM_FIELDS(Order, m.group)
TANDEM_FIELDS(GroupStatus, m.group, m.completed, m.has_work)
TANDEM_FIELDS(EncodeItem, m.key, m.token_ids, m.positions)
TANDEM_FIELDS(EncodeBatch, m.batch_id, m.encoder_group, m.decoder_group, m.pooling, m.items)
TANDEM_FIELDS(EncoderOutput, m.decoder_group, m.key, m.positions, m.rows, m.hidden_dim, m.bf16,
              m.data)
TANDEM_FIELDS(Encoded, m.batch_id, m.encoder_group, m.items, m.tokens, m.start_seconds,
              m.end_seconds)
TANDEM_FIELDS(BadWord, m.token_ids)
TANDEM_FIELDS(ChoiceSpec, m.temperature, m.top_k, m.top_p, m.min_p, m.seed, m.sample,
              m.repetition_penalty, m.presence_penalty, m.frequency_penalty, m.no_repeat_ngram_size,
              m.bad_words, m.logit_bias)
TANDEM_FIELDS(BeamSpec, m.num_beams, m.num_outputs, m.length_penalty, m.early_stopping)
TANDEM_FIELDS(SequenceSpec, m.id, m.memory, m.prompt, m.max_tokens, m.min_tokens, m.stop_token_ids,
              m.num_logprobs, m.choice, m.beams, m.streams, m.target)
TANDEM_FIELDS(Admit, m.decoder_group, m.sequence)
TANDEM_FIELDS(ReleaseMemory, m.decoder_group, m.key)
TANDEM_FIELDS(SequenceNote, m.id, m.seconds, m.stored_memory)
TANDEM_FIELDS(TokenLogprobs, m.logprob, m.top)
TANDEM_FIELDS(SequenceOutput, m.reason, m.stop_token, m.token_ids, m.logprobs, m.score)
TANDEM_FIELDS(SequenceDone, m.id, m.outputs, m.pages_copied, m.start_seconds, m.end_seconds)
TANDEM_FIELDS(StreamedTokens, m.tokens)
TANDEM_FIELDS(FinishSequence, m.decoder_group, m.id)
TANDEM_FIELDS(ForwardRow, m.memory, m.token_ids, m.positions)
TANDEM_FIELDS(ForwardDecode, m.decoder_group, m.taps, m.rows)
TANDEM_FIELDS(ForwardEncode, m.wants_states, m.taps, m.batch)
TANDEM_FIELDS(ForwardTensor, m.name, m.last, m.first_row, m.rows, m.first_column, m.cols, m.data)
#undef TANDEM_FIELDS

// The messages that stand inside others.
template <class A, class M>
void Fields(A& field, M& message) {
  using Message = std::remove_const_t<M>;
#define TANDEM_PART(Part) \
  if constexpr (std::is_same_v<Message, Part>) return FieldsOf##Part(field, message);
  TANDEM_PART(EncodeItem)
  TANDEM_PART(EncodeBatch)
  TANDEM_PART(TokenLogprobs)
  TANDEM_PART(SequenceOutput)
  TANDEM_PART(BadWord)
  TANDEM_PART(ChoiceSpec)
  TANDEM_PART(BeamSpec)
  TANDEM_PART(SequenceSpec)
  TANDEM_PART(ForwardRow)
#undef TANDEM_PART
}

}  // namespace

#define TANDEM_MESSAGE(Message)                                                \
  std::vector<std::byte> Message::Encode() const {                             \
    Writer writer;                                                             \
    FieldsOf##Message(writer, *this);                                          \
    return writer.bytes.Take();                                                \
  }                                                                            \
  absl::StatusOr<Message> Message::Decode(absl::Span<const std::byte> bytes) { \
    Message message;                                                           \
    Reader reader{ByteReader(bytes)};                                          \
    FieldsOf##Message(reader, message);                                        \
    TANDEM_RETURN_IF_ERROR(reader.bytes.Finish());                             \
    return message;                                                            \
  }

TANDEM_MESSAGE(Order)
TANDEM_MESSAGE(GroupStatus)
TANDEM_MESSAGE(EncodeBatch)
TANDEM_MESSAGE(EncoderOutput)
TANDEM_MESSAGE(Encoded)
TANDEM_MESSAGE(Admit)
TANDEM_MESSAGE(ReleaseMemory)
TANDEM_MESSAGE(SequenceNote)
TANDEM_MESSAGE(SequenceDone)
TANDEM_MESSAGE(StreamedTokens)
TANDEM_MESSAGE(FinishSequence)
TANDEM_MESSAGE(ForwardDecode)
TANDEM_MESSAGE(ForwardEncode)
TANDEM_MESSAGE(ForwardTensor)
#undef TANDEM_MESSAGE

}  // namespace tandem
