// The ranks as the coordinator sees them, played by a test.
#ifndef TANDEM_TESTS_UNIT_COORDINATOR_PLAYED_RANKS_H_
#define TANDEM_TESTS_UNIT_COORDINATOR_PLAYED_RANKS_H_

#include <gtest/gtest.h>

#include <map>
#include <utility>
#include <vector>

#include "coordinator/dispatcher.h"

namespace tandem {

// Rank 0: encoder group 0. Then decoder groups 1, 2... on a rank each.
inline std::vector<LayoutGroup> Groups(int num_decoders) {
  std::vector<LayoutGroup> groups = {
      {.id = 0, .stage = StageKind::kEncoder, .index = 0, .ranks = {0}}};
  for (int i = 0; i < num_decoders; ++i) {
    groups.push_back({.id = i + 1, .stage = StageKind::kDecoder, .index = i, .ranks = {i + 1}});
  }
  return groups;
}

inline DispatcherConfig Config(int num_decoders, int max_num_seqs,
                               int64_t max_batch_tokens = 4096) {
  DispatcherConfig config;
  config.groups = Groups(num_decoders);
  config.max_num_seqs = max_num_seqs;
  config.max_batch_tokens = max_batch_tokens;
  return config;
}

inline DispatchRequest RequestOf(SequenceId id, std::vector<int32_t> ids) {
  DispatchRequest request;
  request.encoder_ids = std::move(ids);
  SequenceSpec& sequence = request.sequence;
  sequence.id = id;
  sequence.prompt = {2};
  sequence.max_tokens = 4;
  return request;
}

// The ranks, played by the test: keeps what the dispatcher sent.
struct Ranks {
  std::vector<EncodeBatch> batches;
  std::map<SequenceId, Admit> admitted;
  std::vector<MemoryKey> released;
  std::vector<SequenceId> finished;  // Those that were told to end.

  void Take(const std::vector<CoordinatorPort::Outgoing>& messages) {
    for (const CoordinatorPort::Outgoing& message : messages) {
      switch (message.kind) {
        case MessageKind::kEncodeBatch:
          batches.push_back(*EncodeBatch::Decode(message.payload));
          break;
        case MessageKind::kAdmit: {
          const Admit admit = *Admit::Decode(message.payload);
          admitted[admit.sequence.id] = admit;
          break;
        }
        case MessageKind::kReleaseMemory:
          released.push_back(ReleaseMemory::Decode(message.payload)->key);
          break;
        case MessageKind::kFinishSequence:
          finished.push_back(FinishSequence::Decode(message.payload)->id);
          break;
        default:
          ADD_FAILURE() << "kind " << static_cast<int>(message.kind);
      }
    }
  }
};

inline Envelope Message(MessageKind kind, std::vector<std::byte> payload) {
  return {.source = 0, .kind = static_cast<uint16_t>(kind), .payload = std::move(payload)};
}
inline Envelope Started(SequenceId id) {
  return Message(MessageKind::kSequenceStarted, SequenceNote{.id = id, .seconds = 0}.Encode());
}
inline Envelope Evicted(SequenceId id) {
  return Message(MessageKind::kSequenceEvicted, SequenceNote{.id = id, .seconds = 0}.Encode());
}
inline Envelope Done(SequenceId id) {
  SequenceDone done;
  done.id = id;
  return Message(MessageKind::kSequenceDone, done.Encode());
}
inline Envelope BatchEncoded(const EncodeBatch& batch) {
  Encoded encoded;
  encoded.batch_id = batch.batch_id;
  encoded.encoder_group = batch.encoder_group;
  return Message(MessageKind::kEncoded, encoded.Encode());
}

}  // namespace tandem

#endif  // TANDEM_TESTS_UNIT_COORDINATOR_PLAYED_RANKS_H_
