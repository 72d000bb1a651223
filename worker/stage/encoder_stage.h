// The encoder stage on one rank: batches of prompts in, hidden states to the decoder ranks (or,
// pooled, to the coordinator).
#ifndef TANDEM_WORKER_STAGE_ENCODER_STAGE_H_
#define TANDEM_WORKER_STAGE_ENCODER_STAGE_H_

#include <deque>
#include <vector>

#include "common/parallel/layout_groups.h"
#include "worker/model/encoder.h"
#include "worker/stage/stage.h"

namespace tandem {

class EncoderStage : public Stage {
 public:
  // `groups`: all of the layout's; `group`: this one; `rank`: this world rank. Borrows the encoder.
  EncoderStage(std::vector<LayoutGroup> groups, const LayoutGroup& group, int rank,
               Encoder& encoder, Communicator& tp, SendFunction send);

  absl::Status Handle(const Envelope& message) override;
  bool HasWork() const override { return !queue_.empty(); }
  absl::Status DoWork() override;

 private:
  bool leads() const { return tp_.rank() == 0; }
  absl::Status SendOutputs(const EncodeBatch& batch, ConstMatrix states);
  absl::Status SendEmbeddings(const EncodeBatch& batch, ConstMatrix states);

  const std::vector<LayoutGroup> groups_;
  const LayoutGroup group_;
  const int rank_;
  Encoder& encoder_;
  Communicator& tp_;
  const SendFunction send_;
  std::deque<ForwardEncode> queue_;  // On the leader. Bounded by the coordinator's credit.
};

// The encoder rank that sends a prompt's states to decoder rank `destination`: itself where it is
// in both groups, else they are dealt out in turn.
int OutputSender(const LayoutGroup& encoder, const LayoutGroup& decoder, int destination);

// Sends a forward pass's intermediate to the coordinator.
absl::Status SendForwardTensor(const SendFunction& send, const std::string& name, int64_t first_row,
                               int64_t first_column, ConstMatrix rows);
// Says that this rank has sent all of its tensors.
absl::Status SendForwardEnd(const SendFunction& send);

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_ENCODER_STAGE_H_
