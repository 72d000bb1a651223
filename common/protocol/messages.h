// What ranks say to each other, beside the collectives of a group. Described in docs/protocol.md.
//
// Coordinator -> leader of a group (its TP rank 0): EncodeBatch, Admit, ReleaseMemory,
// FinishSequence, ForwardEncode, ForwardDecode. Leader -> its island's scheduler: GroupStatus.
// Scheduler -> members: Order, Shutdown. Encoder rank -> decoder rank: EncoderOutput. Leader ->
// coordinator: the rest.
#ifndef TANDEM_COMMON_PROTOCOL_MESSAGES_H_
#define TANDEM_COMMON_PROTOCOL_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/kernels/ops.h"
#include "common/protocol/codec.h"

namespace tandem {

enum class MessageKind : uint16_t {  // Wire format: append, never renumber.
  kShutdown = 1,                     // coordinator -> schedulers -> members
  kOrder = 2,                        // scheduler -> members: enter the group's next piece of work
  kGroupStatus = 3,                  // leader -> scheduler
  kEncodeBatch = 4,                  // coordinator -> encoder leader
  kEncoderOutput = 5,                // encoder rank -> decoder rank
  kEncoded = 6,                      // encoder leader -> coordinator
  kAdmit = 7,                        // coordinator -> decoder leader
  kReleaseMemory = 8,                // coordinator -> decoder leader
  kSequenceStarted = 9,              // decoder leader -> coordinator
  kSequenceDone = 10,                // decoder leader -> coordinator
  kSequenceEvicted = 11,             // decoder leader -> coordinator
  kForwardEncode = 12,               // coordinator -> encoder leader
  kForwardDecode = 13,               // coordinator -> decoder leader
  kForwardTensor = 14,               // any rank -> coordinator
  kTokens = 15,                      // decoder leader -> coordinator
  kFinishSequence = 16,              // coordinator -> decoder leader
  kEmbedded = 17,                    // encoder leader -> coordinator: an EncoderOutput
};

// A group of the layout, by its place in the list of all groups (AllGroups in layout_groups.h).
using GroupId = int32_t;
// An encoded prompt while it is in flight; the coordinator counts them up.
using MemoryKey = uint64_t;
using SequenceId = uint64_t;

struct Order {
  GroupId group = 0;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<Order> Decode(absl::Span<const std::byte> bytes);
};

// Sent when a piece of work ended (`completed`) and when work arrives at an idle group.
struct GroupStatus {
  GroupId group = 0;
  uint8_t completed = 0;
  uint8_t has_work = 0;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<GroupStatus> Decode(absl::Span<const std::byte> bytes);
};

// One prompt to encode. Rows are the valid tokens; where the mask of `forward` has holes, positions
// says their columns (else it is empty: 0, 1, 2...).
struct EncodeItem {
  MemoryKey key = 0;
  std::vector<int32_t> token_ids;
  std::vector<int32_t> positions;
};

// What of a prompt's states goes to the coordinator: all rows, their mean, the last one.
enum class Pooling : uint8_t { kNone = 0, kMean = 1, kLast = 2 };

struct EncodeBatch {
  uint64_t batch_id = 0;
  GroupId encoder_group = 0;
  GroupId decoder_group = 0;  // Where the states go; -1: to the coordinator, pooled, in fp32.
  Pooling pooling = Pooling::kNone;
  std::vector<EncodeItem> items;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<EncodeBatch> Decode(absl::Span<const std::byte> bytes);
};

// Hidden states of one prompt [rows, hidden] in the compute type (bf16 bits, or floats).
struct EncoderOutput {
  GroupId decoder_group = 0;
  MemoryKey key = 0;
  std::vector<int32_t> positions;  // As in EncodeItem.
  uint64_t rows = 0;
  uint64_t hidden_dim = 0;
  uint8_t bf16 = 0;
  std::vector<std::byte> data;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<EncoderOutput> Decode(absl::Span<const std::byte> bytes);
};

struct Encoded {
  uint64_t batch_id = 0;
  GroupId encoder_group = 0;
  uint32_t items = 0;
  uint32_t tokens = 0;
  // Seconds since the epoch on the encoder leader's clock.
  double start_seconds = 0;
  double end_seconds = 0;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<Encoded> Decode(absl::Span<const std::byte> bytes);
};

struct TokenBias {
  int32_t id = 0;
  float bias = 0;
};

// Ids of a word that an answer may not hold: the last is forbidden behind the others.
struct BadWord {
  std::vector<int32_t> token_ids;
};

enum class EarlyStop : uint8_t { kFalse = 0, kTrue = 1, kNever = 2 };  // As transformers has them.

// How tokens are chosen; the defaults choose the most probable one. The fields and their order:
// docs/decoding.md.
struct ChoiceSpec {
  float temperature = 0;  // 0: the best; above: at random.
  int32_t top_k = 0;      // 0: off.
  float top_p = 1;        // 1: off.
  float min_p = 0;        // 0: off.
  uint64_t seed = 0;
  uint32_t sample = 0;  // Which of the request's samples.
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  int32_t no_repeat_ngram_size = 0;        // 0: off.
  std::vector<BadWord> bad_words = {};     // None empty.
  std::vector<TokenBias> logit_bias = {};  // Sorted by id, each once.
};

// Beam search, as transformers does it.
struct BeamSpec {
  int32_t num_beams = 1;    // 1: none.
  int32_t num_outputs = 1;  // The best are returned; at most num_beams.
  float length_penalty = 1;
  EarlyStop early_stopping = EarlyStop::kFalse;
};

// A sequence to decode: everything the decoder knows of a request (one of its samples).
struct SequenceSpec {
  SequenceId id = 0;
  MemoryKey memory = 0;
  std::vector<int32_t> prompt;          // Decoder prompt, the start token first.
  int32_t max_tokens = 0;               // Generated at most, the stop token included.
  int32_t min_tokens = 0;               // Stop tokens are forbidden before.
  std::vector<int32_t> stop_token_ids;  // Sorted; the eos ids among them unless ignored.
  int32_t num_logprobs = -1;            // Alternatives a token; -1: no log-probabilities.
  ChoiceSpec choice;
  BeamSpec beams;
  uint8_t streams = 0;  // The coordinator is told each token as it comes.
  // Not empty: nothing is generated; these tokens get their log-probabilities, in one pass.
  std::vector<int32_t> target;
};

struct Admit {
  GroupId decoder_group = 0;
  SequenceSpec sequence;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<Admit> Decode(absl::Span<const std::byte> bytes);
};

struct ReleaseMemory {
  GroupId decoder_group = 0;
  MemoryKey key = 0;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<ReleaseMemory> Decode(absl::Span<const std::byte> bytes);
};

// SequenceStarted and SequenceEvicted.
struct SequenceNote {
  SequenceId id = 0;
  double seconds = 0;         // Since the epoch, on the leader's clock.
  uint8_t stored_memory = 0;  // Started: its encoder memory's K/V were computed for it.

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<SequenceNote> Decode(absl::Span<const std::byte> bytes);
};

// The tokens that a step added to sequences that stream.
struct StreamedToken {
  SequenceId id = 0;
  int32_t token = 0;
};
struct StreamedTokens {
  std::vector<StreamedToken> tokens;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<StreamedTokens> Decode(absl::Span<const std::byte> bytes);
};

// The coordinator has all of a sequence that it wants: its SequenceDone may come at once. One that
// is done already is left alone.
struct FinishSequence {
  GroupId decoder_group = 0;
  SequenceId id = 0;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<FinishSequence> Decode(absl::Span<const std::byte> bytes);
};

enum class SequenceEnd : uint8_t {
  kStop = 0,
  kLength = 1,
  kNonfinite = 2,  // A logit was NaN or infinite.
  kFinished = 3,   // As the coordinator wanted, or all targets have their log-probabilities.
  kNoToken = 4,    // Every token was forbidden.
};

struct TokenLogprobs {
  float logprob = 0;
  std::vector<Candidate> top;  // logit holds the log-probability.
};

struct SequenceOutput {
  SequenceEnd reason = SequenceEnd::kLength;
  int32_t stop_token = -1;
  std::vector<int32_t> token_ids;  // Without the stop token.
  // With log-probabilities: one a token, and the stop token's behind them.
  std::vector<TokenLogprobs> logprobs;
  float score = 0;  // A beam's.

  int64_t completion_tokens() const {
    return static_cast<int64_t>(token_ids.size()) + (reason == SequenceEnd::kStop ? 1 : 0);
  }
};

struct SequenceDone {
  SequenceId id = 0;
  std::vector<SequenceOutput> outputs;  // One; a beam search's best ones, best first.
  int64_t pages_copied = 0;             // K/V pages copied when beams parted.
  double start_seconds = 0;             // As in Encoded: joined the batch, left it.
  double end_seconds = 0;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<SequenceDone> Decode(absl::Span<const std::byte> bytes);
};

// One row of `forward` on the decoder: teacher-forced ids at their columns.
struct ForwardRow {
  MemoryKey memory = 0;
  std::vector<int32_t> token_ids;
  std::vector<int32_t> positions;
};

struct ForwardDecode {
  GroupId decoder_group = 0;
  uint8_t taps = 0;
  std::vector<ForwardRow> rows;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<ForwardDecode> Decode(absl::Span<const std::byte> bytes);
};

// An EncodeBatch whose states the coordinator wants itself, with every intermediate (`taps`) or
// not. What an encoder group hands round internally too; then wants_states is 0 for a plain
// EncodeBatch.
struct ForwardEncode {
  uint8_t wants_states = 1;
  uint8_t taps = 0;
  EncodeBatch batch;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<ForwardEncode> Decode(absl::Span<const std::byte> bytes);
};

// Rows of an intermediate of `forward`: columns [first_column, + cols) of the tensor of that name.
// Rows follow the batch's valid tokens in order. `last` marks the end of one rank's tensors.
struct ForwardTensor {
  std::string name;
  uint8_t last = 0;
  uint64_t first_row = 0;
  uint64_t rows = 0;
  uint64_t first_column = 0;
  uint64_t cols = 0;
  std::vector<float> data;

  std::vector<std::byte> Encode() const;
  static absl::StatusOr<ForwardTensor> Decode(absl::Span<const std::byte> bytes);
};

}  // namespace tandem

#endif  // TANDEM_COMMON_PROTOCOL_MESSAGES_H_
