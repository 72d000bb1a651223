#include "worker/stage/decoder_forward.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "worker/stage/encoder_stage.h"
#include "worker/stage/sequence_batch.h"

namespace tandem {

DecoderForward::DecoderForward(Decoder& decoder, KvPool& pool, MemoryStore& memories, bool leads,
                               SendFunction send)
    : decoder_(decoder), pool_(pool), memories_(memories), leads_(leads), send_(std::move(send)) {}

absl::Status DecoderForward::Run(const ForwardDecode& forward) {
  TapSink taps;
  absl::Status tapped;
  if (leads_) {
    taps = [&](const std::string& name, int64_t first_row, ConstMatrix rows) {
      if (forward.taps == 0 && name != "decoder.final") return;
      tapped.Update(SendForwardTensor(send_, name, first_row, 0, rows));
    };
  }
  int64_t first_row = 0;
  for (const ForwardRow& row : forward.rows) {
    TANDEM_RETURN_IF_ERROR(RunRow(row, first_row, taps));
    TANDEM_RETURN_IF_ERROR(tapped);
    first_row += static_cast<int64_t>(row.token_ids.size());
  }
  return SendForwardEnd(send_);
}

// Teacher-forced: all tokens at their columns, in chunks; logits of every token.
absl::Status DecoderForward::RunRow(const ForwardRow& row, int64_t first_row, const TapSink& taps) {
  const auto num_rows = static_cast<int64_t>(row.token_ids.size());
  const int64_t length = num_rows == 0 ? 0 : row.positions.back() + int64_t{1};
  const int64_t needed = memories_.PagesNeeded(row.memory) + PagesFor(length);
  if (needed > pool_.num_free()) {
    return WithExitCode(absl::ResourceExhaustedError(absl::StrCat(
                            "a row of the input needs ", needed, " K/V pages, ", pool_.num_free(),
                            " are there: give the decoder more memory with --kv-cache-mb")),
                        ExitCode::kUsage);
  }
  TANDEM_RETURN_IF_ERROR(memories_.Store(row.memory));
  const MemoryStore::Memory& memory = memories_.At(row.memory);
  std::vector<int32_t> pages;
  TANDEM_CHECK(pool_.Allocate(PagesFor(length), pages));
  std::vector<uint8_t> valid(static_cast<size_t>(length), 0);
  for (const int32_t position : row.positions) valid[static_cast<size_t>(position)] = 1;
  for (int64_t begin = 0; begin < num_rows; begin += kPrefillRows) {
    const int64_t count = std::min(kPrefillRows, num_rows - begin);
    StepBatch batch;
    batch.token_ids.assign(row.token_ids.begin() + begin, row.token_ids.begin() + begin + count);
    batch.positions.assign(row.positions.begin() + begin, row.positions.begin() + begin + count);
    batch.slots = SlotsOf(pages, batch.positions);
    AttentionSequence attention;
    attention.num_rows = count;
    attention.self_pages = pages;
    attention.self_len = batch.positions.back() + int64_t{1};
    attention.self_valid = valid.data();
    attention.cross_pages = memory.pages;
    attention.cross_len = memory.length;
    attention.cross_valid = memory.valid.empty() ? nullptr : memory.valid.data();
    batch.sequences.push_back(attention);
    TANDEM_ASSIGN_OR_RETURN(const Matrix states, decoder_.Forward(batch, first_row + begin, taps));
    TANDEM_RETURN_IF_ERROR(SendForwardTensor(send_, "logits", first_row + begin,
                                             decoder_.vocabulary().begin(),
                                             decoder_.Logits(states)));
  }
  pool_.Free(pages);
  memories_.Drop(row.memory);
  return absl::OkStatus();
}

}  // namespace tandem
