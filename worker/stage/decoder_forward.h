// The decoder's part of `tandem forward`: given tokens at their columns, every logit, every
// intermediate on request.
#ifndef TANDEM_WORKER_STAGE_DECODER_FORWARD_H_
#define TANDEM_WORKER_STAGE_DECODER_FORWARD_H_

#include "absl/status/status.h"
#include "worker/model/decoder.h"
#include "worker/stage/memory_store.h"
#include "worker/stage/stage.h"

namespace tandem {

class DecoderForward {
 public:
  // Borrows decoder, pool and memories.
  DecoderForward(Decoder& decoder, KvPool& pool, MemoryStore& memories, bool leads,
                 SendFunction send);

  // Collective; the rows' memories are here, and are dropped. What comes out goes to the
  // coordinator.
  absl::Status Run(const ForwardDecode& forward);

 private:
  absl::Status RunRow(const ForwardRow& row, int64_t first_row, const TapSink& taps);

  Decoder& decoder_;
  KvPool& pool_;
  MemoryStore& memories_;
  const bool leads_;
  const SendFunction send_;
};

}  // namespace tandem

#endif  // TANDEM_WORKER_STAGE_DECODER_FORWARD_H_
