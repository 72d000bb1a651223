// OUT.run.json: what a job was, beside its results.
#ifndef TANDEM_COORDINATOR_IO_RUN_RECORD_H_
#define TANDEM_COORDINATOR_IO_RUN_RECORD_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/io/request_error.h"

namespace tandem {

struct RunSetting {
  std::string name;
  std::string value;
  std::string origin;  // "flag", "environment", ...
  std::string json;    // The value as JSON: 64, true, "text", [1,2], null.
};

struct RunRecord {
  std::string version;               // "0.1.0"
  std::string commit;                // May be empty.
  std::vector<std::string> command;  // argv
  std::string working_directory;     // What relative paths start from.
  std::vector<RunSetting> settings;
  std::string model_path;
  std::string model_identity;  // Hash of configuration, index and headers.
  std::string tokenizer;       // Its identity; empty: none.
  std::string compute_type;    // "float32", "bfloat16"
  std::string numerics_class;  // Of the probe.
  std::string isa;
  std::string layout_yaml;
  std::vector<std::string> hosts;  // By rank.
  std::vector<std::string> ranks;  // By rank: cores, threads, shards and bytes, as logged.
  absl::Time launch;               // Of the program; until `start` weights are loaded.
  absl::Time start;
  absl::Time end;
  int64_t requests = 0;
  int64_t answered = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t errors[kNumRequestErrorCodes] = {};  // By code.
};

// JSON, indented, with a newline at the end.
std::string RunRecordJson(const RunRecord& record);

// Writes it to output_path + ".run.json", replacing what was there in one step. Exit code kFile.
absl::Status WriteRunRecord(const RunRecord& record, const std::string& output_path);

}  // namespace tandem

#endif  // TANDEM_COORDINATOR_IO_RUN_RECORD_H_
