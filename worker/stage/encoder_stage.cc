#include "worker/stage/encoder_stage.h"

#include <cstring>
#include <utility>

#include "common/base/status_macros.h"
#include "common/tensor/dtype.h"

namespace tandem {
namespace {

// Rows of hidden states as they travel: bf16 bits in bf16 mode (they are rounded already), else
// floats.
std::vector<std::byte> PackStates(ConstMatrix states, bool bf16) {
  const int64_t count = states.rows * states.cols;
  std::vector<std::byte> out(static_cast<size_t>(count * (bf16 ? 2 : 4)));
  for (int64_t i = 0; i < states.rows; ++i) {
    const float* row = states.row(i);
    if (!bf16) {
      std::memcpy(out.data() + i * states.cols * 4, row, static_cast<size_t>(states.cols) * 4);
      continue;
    }
    for (int64_t j = 0; j < states.cols; ++j) {
      const uint16_t bits = FloatToBf16(row[j]);
      std::memcpy(out.data() + (i * states.cols + j) * 2, &bits, 2);
    }
  }
  return out;
}

// Means are summed in f64 in the order of the rows: one result on every rank and in every layout.
std::vector<float> PoolRows(ConstMatrix states, Pooling pooling) {
  std::vector<float> out;
  if (pooling == Pooling::kNone) {
    for (int64_t i = 0; i < states.rows; ++i) {
      out.insert(out.end(), states.row(i), states.row(i) + states.cols);
    }
    return out;
  }
  if (pooling == Pooling::kLast) {
    const float* last = states.row(states.rows - 1);
    return {last, last + states.cols};
  }
  for (int64_t j = 0; j < states.cols; ++j) {
    double sum = 0.0;
    for (int64_t i = 0; i < states.rows; ++i) sum += static_cast<double>(states.row(i)[j]);
    out.push_back(static_cast<float>(sum / static_cast<double>(states.rows)));
  }
  return out;
}

}  // namespace

int OutputSender(const LayoutGroup& encoder, const LayoutGroup& decoder, int destination) {
  if (encoder.Has(destination)) return destination;
  return encoder.ranks[static_cast<size_t>(decoder.TpRankOf(destination) % encoder.tp_size())];
}

absl::Status SendForwardTensor(const SendFunction& send, const std::string& name, int64_t first_row,
                               int64_t first_column, ConstMatrix rows) {
  ForwardTensor tensor;
  tensor.name = name;
  tensor.first_row = static_cast<uint64_t>(first_row);
  tensor.rows = static_cast<uint64_t>(rows.rows);
  tensor.first_column = static_cast<uint64_t>(first_column);
  tensor.cols = static_cast<uint64_t>(rows.cols);
  for (int64_t i = 0; i < rows.rows; ++i) {
    tensor.data.insert(tensor.data.end(), rows.row(i), rows.row(i) + rows.cols);
  }
  return send(kCoordinatorRank, MessageKind::kForwardTensor, tensor.Encode());
}

absl::Status SendForwardEnd(const SendFunction& send) {
  ForwardTensor end;
  end.last = 1;
  return send(kCoordinatorRank, MessageKind::kForwardTensor, end.Encode());
}

EncoderStage::EncoderStage(std::vector<LayoutGroup> groups, const LayoutGroup& group, int rank,
                           Encoder& encoder, Communicator& tp, SendFunction send)
    : groups_(std::move(groups)),
      group_(group),
      rank_(rank),
      encoder_(encoder),
      tp_(tp),
      send_(std::move(send)) {}

absl::Status EncoderStage::Handle(const Envelope& message) {
  ForwardEncode work;
  if (static_cast<MessageKind>(message.kind) == MessageKind::kEncodeBatch) {
    TANDEM_ASSIGN_OR_RETURN(work.batch, EncodeBatch::Decode(message.payload));
    work.wants_states = 0;
  } else {
    TANDEM_ASSIGN_OR_RETURN(work, ForwardEncode::Decode(message.payload));
  }
  queue_.push_back(std::move(work));
  return absl::OkStatus();
}

absl::Status EncoderStage::SendOutputs(const EncodeBatch& batch, ConstMatrix states) {
  const LayoutGroup& decoder = groups_[static_cast<size_t>(batch.decoder_group)];
  std::vector<int> destinations;
  for (const int destination : decoder.ranks) {
    if (OutputSender(group_, decoder, destination) == rank_) destinations.push_back(destination);
  }
  int64_t row = 0;
  for (const EncodeItem& item : batch.items) {
    const auto rows = static_cast<int64_t>(item.token_ids.size());
    EncoderOutput output;
    output.decoder_group = batch.decoder_group;
    output.key = item.key;
    output.positions = item.positions;
    output.rows = static_cast<uint64_t>(rows);
    output.hidden_dim = static_cast<uint64_t>(states.cols);
    output.bf16 = encoder_.type() == ComputeType::kBFloat16 ? 1 : 0;
    if (!destinations.empty()) output.data = PackStates(states.Rows(row, rows), output.bf16 != 0);
    for (const int destination : destinations) {
      TANDEM_RETURN_IF_ERROR(send_(destination, MessageKind::kEncoderOutput, output.Encode()));
    }
    row += rows;
  }
  return absl::OkStatus();
}

absl::Status EncoderStage::SendEmbeddings(const EncodeBatch& batch, ConstMatrix states) {
  int64_t row = 0;
  for (const EncodeItem& item : batch.items) {
    const auto rows = static_cast<int64_t>(item.token_ids.size());
    const std::vector<float> pooled = PoolRows(states.Rows(row, rows), batch.pooling);
    EncoderOutput output;
    output.decoder_group = -1;
    output.key = item.key;
    output.hidden_dim = static_cast<uint64_t>(states.cols);
    output.rows = pooled.size() / output.hidden_dim;
    output.data.resize(pooled.size() * sizeof(float));
    std::memcpy(output.data.data(), pooled.data(), output.data.size());
    TANDEM_RETURN_IF_ERROR(send_(kCoordinatorRank, MessageKind::kEmbedded, output.Encode()));
    row += rows;
  }
  return absl::OkStatus();
}

absl::Status EncoderStage::DoWork() {
  std::vector<std::byte> bytes;
  if (leads()) {
    bytes = queue_.front().Encode();
    queue_.pop_front();
  }
  TANDEM_RETURN_IF_ERROR(BroadcastBytes(tp_, 0, bytes));
  TANDEM_ASSIGN_OR_RETURN(const ForwardEncode work, ForwardEncode::Decode(bytes));
  const EncodeBatch& batch = work.batch;
  Encoded encoded;
  encoded.batch_id = batch.batch_id;
  encoded.encoder_group = batch.encoder_group;
  encoded.start_seconds = NowSeconds();
  std::vector<PromptRows> prompts;
  for (const EncodeItem& item : batch.items) {
    prompts.push_back({.token_ids = item.token_ids, .positions = item.positions});
    encoded.tokens += static_cast<uint32_t>(item.token_ids.size());
  }
  encoded.items = static_cast<uint32_t>(batch.items.size());
  absl::Status tapped;
  TapSink taps;
  if (work.taps != 0 && leads()) {
    taps = [&](const std::string& name, int64_t first_row, ConstMatrix rows) {
      tapped.Update(SendForwardTensor(send_, name, first_row, 0, rows));
    };
  }
  // Taps cost an embedding pass of their own, which is collective: every rank takes part.
  if (work.taps != 0 && !leads()) taps = [](const std::string&, int64_t, ConstMatrix) {};
  TANDEM_ASSIGN_OR_RETURN(const Matrix states, encoder_.Forward(prompts, taps));
  TANDEM_RETURN_IF_ERROR(tapped);
  encoded.end_seconds = NowSeconds();
  // Those of `forward` go to the coordinator, and to a decoder where there is one.
  if (batch.decoder_group >= 0) TANDEM_RETURN_IF_ERROR(SendOutputs(batch, states));
  if (!leads()) return absl::OkStatus();
  if (work.wants_states != 0) {
    TANDEM_RETURN_IF_ERROR(SendForwardTensor(send_, "encoder_sequence_output", 0, 0, states));
    return SendForwardEnd(send_);
  }
  if (batch.decoder_group < 0) TANDEM_RETURN_IF_ERROR(SendEmbeddings(batch, states));
  return send_(kCoordinatorRank, MessageKind::kEncoded, encoded.Encode());
}

}  // namespace tandem
