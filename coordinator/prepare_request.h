// From a parsed request to what the ranks are sent: tokens, limits, how tokens are chosen. Pure, on
// any thread.
#ifndef TANDEM_COORDINATOR_PREPARE_REQUEST_H_
#define TANDEM_COORDINATOR_PREPARE_REQUEST_H_

#include <cstdint>
#include <variant>
#include <vector>

#include "common/config/model_config.h"
#include "common/text/tokenizer.h"
#include "coordinator/dispatcher.h"
#include "coordinator/io/request.h"

namespace tandem {

struct PrepareOptions {
  LineForm form = LineForm::kGenerate;   // kGenerate, kScore or kEmbed.
  const Tokenizer* tokenizer = nullptr;  // Null: the model folder has none.
  AddBos add_bos = AddBos::kAuto;
  bool no_special_in_prompt = false;
  bool truncate = false;
  int64_t max_model_len = 0;    // Longest prompt.
  int64_t max_decoder_len = 0;  // Decoder prompt and answer.
  int32_t decoder_start_token_id = 2;
  std::vector<int32_t> eos_token_ids;
  bool one_tensor = false;  // embed: an id names a tensor of a safetensors file.
  int64_t kv_pages = 0;     // That any decoder group has; 0: not checked.
};

// A request ready to go: one piece of work a prompt. sequence.id is set by the job.
struct PreparedRequest {
  Request request;
  std::vector<DispatchRequest> prompts;
  bool truncated = false;

  int64_t prompt_tokens() const {
    int64_t tokens = 0;
    for (const DispatchRequest& prompt : prompts) {
      tokens += static_cast<int64_t>(prompt.encoder_ids.size());
    }
    return tokens;
  }
};

std::variant<PreparedRequest, RejectedLine> PrepareRequest(Request request,
                                                           const PrepareOptions& options);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_PREPARE_REQUEST_H_
