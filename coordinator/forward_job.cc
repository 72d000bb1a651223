#include "coordinator/forward_job.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tandem {
namespace {

// The valid tokens of one row, and their columns.
struct RowTokens {
  std::vector<int32_t> ids;
  std::vector<int32_t> columns;
};

std::vector<RowTokens> SplitRows(const PaddedTokens& tokens) {
  std::vector<RowTokens> rows(static_cast<size_t>(tokens.rows));
  for (int64_t i = 0; i < tokens.rows * tokens.columns; ++i) {
    if (tokens.valid[static_cast<size_t>(i)] == 0) continue;
    RowTokens& row = rows[static_cast<size_t>(i / tokens.columns)];
    row.ids.push_back(tokens.ids[static_cast<size_t>(i)]);
    row.columns.push_back(static_cast<int32_t>(i % tokens.columns));
  }
  return rows;
}

// Where the n-th valid token of a batch lies in its padded tensor.
std::vector<int64_t> PlacesOf(const PaddedTokens& tokens) {
  std::vector<int64_t> places;
  for (int64_t i = 0; i < tokens.rows * tokens.columns; ++i) {
    if (tokens.valid[static_cast<size_t>(i)] != 0) places.push_back(i);
  }
  return places;
}

class Assembler {
 public:
  explicit Assembler(const ForwardJobOptions& options)
      : options_(options),
        encoder_places_(PlacesOf(options.encoder)),
        decoder_places_(PlacesOf(options.decoder)) {}

  absl::Status Take(const ForwardTensor& part) {
    const bool decoder = absl::StartsWith(part.name, "decoder") || part.name == "logits";
    const PaddedTokens& tokens = decoder ? options_.decoder : options_.encoder;
    const std::vector<int64_t>& places = decoder ? decoder_places_ : encoder_places_;
    PaddedStates& states = tensors_[part.name];
    if (states.data.empty()) {
      states.rows = tokens.rows;
      states.columns = tokens.columns;
      states.features =
          part.name == "logits" ? options_.vocab_size : static_cast<int64_t>(part.cols);
      states.data.assign(static_cast<size_t>(states.rows * states.columns * states.features), 0);
    }
    const auto features = static_cast<uint64_t>(states.features);
    if (part.first_row > places.size() || part.rows > places.size() - part.first_row ||
        part.first_column > features || part.cols > features - part.first_column ||
        part.data.size() != part.rows * part.cols) {
      return absl::DataLossError(
          absl::StrCat("tensor \"", part.name, "\" of a rank does not fit the batch"));
    }
    for (uint64_t i = 0; i < part.rows; ++i) {
      const int64_t place = places[part.first_row + i];
      std::copy_n(part.data.data() + i * part.cols, part.cols,
                  states.data.data() + place * states.features + part.first_column);
    }
    return absl::OkStatus();
  }

  std::map<std::string, PaddedStates> Finish() {
    tensors_["decoder_sequence_output"] = tensors_["decoder.final"];
    if (!options_.taps) tensors_.erase("decoder.final");
    return std::move(tensors_);
  }

 private:
  const ForwardJobOptions& options_;
  const std::vector<int64_t> encoder_places_;
  const std::vector<int64_t> decoder_places_;
  std::map<std::string, PaddedStates> tensors_;
};

}  // namespace

absl::StatusOr<std::map<std::string, PaddedStates>> RunForwardJob(
    const ForwardJobOptions& options, const std::vector<LayoutGroup>& groups,
    CoordinatorPort& port) {
  const auto first_of = [&groups](StageKind stage) -> const LayoutGroup& {
    return *std::find_if(groups.begin(), groups.end(),
                         [stage](const LayoutGroup& group) { return group.stage == stage; });
  };
  const LayoutGroup& encoder = first_of(StageKind::kEncoder);
  const LayoutGroup& decoder = first_of(StageKind::kDecoder);

  ForwardEncode encode;
  encode.taps = options.taps ? 1 : 0;
  encode.batch.encoder_group = encoder.id;
  encode.batch.decoder_group = decoder.id;
  ForwardDecode decode;
  decode.decoder_group = decoder.id;
  decode.taps = encode.taps;
  MemoryKey key = 0;
  for (RowTokens& row : SplitRows(options.encoder)) {
    encode.batch.items.push_back(
        {.key = ++key, .token_ids = std::move(row.ids), .positions = std::move(row.columns)});
  }
  key = 0;
  for (RowTokens& row : SplitRows(options.decoder)) {
    decode.rows.push_back(
        {.memory = ++key, .token_ids = std::move(row.ids), .positions = std::move(row.columns)});
  }
  port.Send(encoder.leader(), MessageKind::kForwardEncode, encode.Encode());
  port.Send(decoder.leader(), MessageKind::kForwardDecode, decode.Encode());

  Assembler assembler(options);
  int ends = 0;
  while (ends < 1 + decoder.tp_size()) {
    const std::optional<Envelope> message = port.Receive(std::chrono::milliseconds(1000));
    TANDEM_RETURN_IF_ERROR(port.failure());
    if (!message.has_value()) continue;
    TANDEM_ASSIGN_OR_RETURN(const ForwardTensor part, ForwardTensor::Decode(message->payload));
    if (part.last != 0) {
      ++ends;
    } else {
      TANDEM_RETURN_IF_ERROR(assembler.Take(part));
    }
  }
  return assembler.Finish();
}

}  // namespace tandem
