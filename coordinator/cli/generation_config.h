// The model folder's generation_config.json: what its authors decode with, as defaults of requests.
//
//   do_sample               false: temperature 0; true: temperature, or 1 without one. Absent:
//                           temperature 0, whatever `temperature` says, as in transformers.
//   temperature, top_k, top_p, min_p, num_beams, length_penalty, early_stopping,
//   repetition_penalty, no_repeat_ngram_size, stop_strings (stop)
//   num_return_sequences    n
//   max_new_tokens          max_tokens; else max_length less the start token
//   min_new_tokens          min_tokens; else min_length less the start token
//
// What is not in the file keeps tandem's own default (transformers would draw from 50 tokens, and
// end after 20). eos_token_id and decoder_start_token_id are read with config.json. Other options
// that would change results are warned of by name.
#ifndef TANDEM_COORDINATOR_CLI_GENERATION_CONFIG_H_
#define TANDEM_COORDINATOR_CLI_GENERATION_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/cli/command_line.h"
#include "coordinator/cli/options.h"

namespace tandem {

struct GenerationConfigReport {
  std::string set;  // "temperature 0.7, top_k 64"; empty: nothing.
  std::vector<std::string> warnings;
};

// Sets what `text` says, with Origin::kModel, and settles contradictions (decoding_rules.h). `path`
// is for messages. Errors name file and key; exit code kModel.
absl::Status ApplyGenerationConfig(absl::string_view text, const std::string& path,
                                   Options* options, GenerationConfigReport* report);

// The same with the file that belongs to --model (a folder, or a config.json); nothing where there
// is none.
absl::Status ApplyModelsGenerationConfig(const CommandLineSources& sources, Options* options,
                                         GenerationConfigReport* report);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_CLI_GENERATION_CONFIG_H_
