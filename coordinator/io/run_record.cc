#include "coordinator/io/run_record.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/exit_code.h"

namespace tandem {
namespace {

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

}  // namespace

std::string RunRecordJson(const RunRecord& record) {
  using Json = nlohmann::ordered_json;
  Json settings = Json::object();
  for (const RunSetting& setting : record.settings) {
    Json value = Json::parse(setting.json, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) value = setting.value;  // Text that is not UTF-8.
    settings[setting.name] = {{"value", std::move(value)}, {"origin", setting.origin}};
  }
  Json errors = Json::object();
  int64_t failed = 0;
  for (int i = 0; i < kNumRequestErrorCodes; ++i) {
    if (record.errors[i] == 0) continue;
    errors[std::string(NameOf(static_cast<RequestErrorCode>(i)))] = record.errors[i];
    failed += record.errors[i];
  }
  const double seconds = absl::ToDoubleSeconds(record.end - record.start);
  const Json json = {
      {"version", record.version},
      {"commit", record.commit},
      {"command", record.command},
      {"working_directory", record.working_directory},
      {"settings", settings},
      {"model",
       {{"path", record.model_path},
        {"identity", record.model_identity},
        {"tokenizer", record.tokenizer}}},
      {"compute_type", record.compute_type},
      {"numerics_class", record.numerics_class},
      {"isa", record.isa},
      {"layout", record.layout_yaml},
      {"hosts", record.hosts},
      {"ranks", record.ranks},
      {"launch", TimeText(record.launch)},
      {"start", TimeText(record.start)},
      {"end", TimeText(record.end)},
      {"seconds", seconds},
      {"requests", record.requests},
      {"answered", record.answered},
      {"failed", failed},
      {"errors", errors},
      {"prompt_tokens", record.prompt_tokens},
      {"completion_tokens", record.completion_tokens},
  };
  // Paths and arguments may be any bytes.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status WriteRunRecord(const RunRecord& record, const std::string& output_path) {
  const std::string path = output_path + ".run.json";
  const std::string partial = path + ".partial";
  const auto failed = [&](int error) {
    return WithExitCode(absl::ErrnoToStatus(error, absl::StrCat("cannot write ", path)),
                        ExitCode::kFile);
  };
  const std::string text = RunRecordJson(record);
  std::FILE* file = std::fopen(partial.c_str(), "we");
  if (file == nullptr) return failed(errno);
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
                       std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  int error = written ? 0 : errno != 0 ? errno : EIO;
  if (std::fclose(file) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(partial.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  unlink(partial.c_str());
  return failed(error);
}

}  // namespace tandem
