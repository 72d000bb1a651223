#include "common/protocol/messages.h"

#include <utility>

#include "common/base/status_macros.h"

namespace tandem {
namespace {

// A message is written and read by one list of its fields: Fields(archive, message).
struct Writer {
  ByteWriter bytes;

  template <class T>
  void operator()(const T& value) {
    bytes.Put(value);
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
    value = bytes.Get<T>();
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

template <class A, class M>
void Fields(A& field, M& message);

// `M` is const when writing. One overload a message.
#define TANDEM_FIELDS(Message, ...)                          \
  template <class A, class M>                                \
  void FieldsOf##Message(A& field, M& m) {                   \
    [&](auto&... each) { (field(each), ...); }(__VA_ARGS__); \
  }

TANDEM_FIELDS(Order, m.group)
TANDEM_FIELDS(GroupStatus, m.group, m.completed, m.has_work)
TANDEM_FIELDS(EncodeItem, m.key, m.token_ids, m.positions)
TANDEM_FIELDS(EncodeBatch, m.batch_id, m.encoder_group, m.decoder_group, m.items)
TANDEM_FIELDS(EncoderOutput, m.decoder_group, m.key, m.positions, m.rows, m.hidden_dim, m.bf16,
              m.data)
TANDEM_FIELDS(Encoded, m.batch_id, m.encoder_group, m.items, m.tokens, m.start_seconds,
              m.end_seconds)
TANDEM_FIELDS(Admit, m.decoder_group, m.sequence.id, m.sequence.memory, m.sequence.prompt,
              m.sequence.max_tokens, m.sequence.min_tokens, m.sequence.stop_token_ids,
              m.sequence.num_logprobs)
TANDEM_FIELDS(ReleaseMemory, m.decoder_group, m.key)
TANDEM_FIELDS(SequenceNote, m.id, m.seconds)
TANDEM_FIELDS(TokenLogprobs, m.logprob, m.top)
TANDEM_FIELDS(SequenceDone, m.id, m.reason, m.stop_token, m.completion_tokens, m.token_ids,
              m.cumulative_logprob, m.logprobs, m.start_seconds, m.end_seconds)
TANDEM_FIELDS(ForwardRow, m.memory, m.token_ids, m.positions)
TANDEM_FIELDS(ForwardDecode, m.decoder_group, m.taps, m.rows)
TANDEM_FIELDS(ForwardEncode, m.wants_states, m.taps, m.batch.batch_id, m.batch.encoder_group,
              m.batch.decoder_group, m.batch.items)
TANDEM_FIELDS(ForwardTensor, m.name, m.last, m.first_row, m.rows, m.first_column, m.cols, m.data)
#undef TANDEM_FIELDS

// The messages that stand inside others.
template <class A, class M>
void Fields(A& field, M& message) {
  using Message = std::remove_const_t<M>;
  if constexpr (std::is_same_v<Message, EncodeItem>) {
    FieldsOfEncodeItem(field, message);
  } else if constexpr (std::is_same_v<Message, TokenLogprobs>) {
    FieldsOfTokenLogprobs(field, message);
  } else {
    static_assert(std::is_same_v<Message, ForwardRow>);
    FieldsOfForwardRow(field, message);
  }
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
TANDEM_MESSAGE(ForwardDecode)
TANDEM_MESSAGE(ForwardEncode)
TANDEM_MESSAGE(ForwardTensor)
#undef TANDEM_MESSAGE

}  // namespace tandem
