#include "common/checkpoint/checkpoint_writer.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint.h"
#include "common/checkpoint/safetensors.h"
#include "common/checkpoint/slice_shape.h"
#include "common/checkpoint/tensor_names.h"
#include "common/config/text_file.h"
#include "nlohmann/json.hpp"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

int64_t BytesOf(const TensorInfo& info) {
  const MatrixShape shape = MatrixShapeOf(info.shape);
  return shape.rows * shape.cols * SizeOf(info.dtype);
}

// Tensors in the order of their names, a new shard where the next would not fit.
std::vector<std::vector<TensorInfo>> CutShards(const std::vector<TensorInfo>& tensors,
                                               int64_t max_shard_bytes) {
  std::vector<std::vector<TensorInfo>> shards(1);
  int64_t bytes = 0;
  for (const TensorInfo& tensor : tensors) {
    if (!shards.back().empty() && bytes + BytesOf(tensor) > max_shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += BytesOf(tensor);
    shards.back().push_back(tensor);
  }
  return shards;
}

// The files of one folder as they come into being. What is not kept is removed, and the folder
// with it if it was made here.
class NewFolder {
 public:
  explicit NewFolder(std::string path) : path_(std::move(path)) {}
  ~NewFolder() {
    if (kept_) return;
    std::error_code ignored;
    for (const std::string& file : files_) fs::remove(file, ignored);
    if (made_) fs::remove(path_, ignored);
  }

  absl::Status Make() {
    std::error_code error;
    if (fs::exists(path_, error)) {
      if (!fs::is_directory(path_, error) || !fs::is_empty(path_, error)) {
        return absl::FailedPreconditionError(absl::StrCat(
            path_, ": is there already; a checkpoint is written to a new or empty folder"));
      }
      return absl::OkStatus();
    }
    made_ = fs::create_directories(path_, error);
    if (made_) return absl::OkStatus();
    return absl::ErrnoToStatus(error.value(), absl::StrCat(path_, ": cannot be made"));
  }

  std::string Add(absl::string_view name) {
    files_.push_back((fs::path(path_) / std::string(name)).string());
    return files_.back();
  }
  void Keep() { kept_ = true; }

 private:
  std::string path_;
  std::vector<std::string> files_;
  bool made_ = false;
  bool kept_ = false;
};

absl::Status WriteShard(const std::string& path, const std::vector<TensorInfo>& tensors,
                        Checkpoint& source) {
  std::vector<SafetensorsSpec> specs;
  specs.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) {
    specs.push_back({PublishedTensorName(tensor.name), tensor.dtype, tensor.shape});
  }
  TANDEM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsWriter> writer,
                          SafetensorsWriter::Create(path, std::move(specs), {{"format", "pt"}}));
  for (const SafetensorsSpec& spec : writer->tensors()) {
    const MatrixShape shape = MatrixShapeOf(spec.shape);
    TANDEM_RETURN_IF_ERROR(source.Read(
        CanonicalTensorName(spec.name), {0, shape.rows, 0, shape.cols},
        [&writer, &spec](const TensorBlock& block) {
          return writer->Write(
              spec.name, block.row_begin * block.row_stride_bytes,
              {block.data, static_cast<size_t>(block.num_rows * block.row_stride_bytes)});
        }));
  }
  return writer->Finish();
}

std::string IndexJson(const std::vector<std::vector<TensorInfo>>& shards,
                      const std::vector<std::string>& shard_names) {
  ordered_json weight_map = ordered_json::object();
  int64_t total_size = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const TensorInfo& tensor : shards[i]) {
      weight_map[PublishedTensorName(tensor.name)] = shard_names[i];
      total_size += BytesOf(tensor);
    }
  }
  const ordered_json index = {{"metadata", {{"total_size", total_size}}},
                              {"weight_map", std::move(weight_map)}};
  return index.dump(2) + "\n";
}

std::string GenerationJson(const ModelConfig& config) {
  ordered_json generation = {{"bos_token_id", config.bos_token_id},
                             {"decoder_start_token_id", config.decoder_start_token_id},
                             {"eos_token_id", config.eos_token_ids},
                             {"pad_token_id", config.pad_token_id}};
  if (config.eos_token_ids.size() == 1) generation["eos_token_id"] = config.eos_token_ids[0];
  for (const auto& [key, text] : config.generation_defaults) {
    generation[key] = ordered_json::parse(text);
  }
  return generation.dump(2) + "\n";
}

absl::Status WriteFolder(const ModelConfig& config, const std::string& config_json, uint64_t seed,
                         const std::string& directory, int64_t max_shard_bytes) {
  NewFolder folder(directory);
  TANDEM_RETURN_IF_ERROR(folder.Make());
  const std::unique_ptr<Checkpoint> source = Checkpoint::Random(config, seed);
  const std::vector<std::vector<TensorInfo>> shards = CutShards(source->Tensors(), max_shard_bytes);
  std::vector<std::string> names;
  for (size_t i = 0; i < shards.size(); ++i) {
    names.push_back(shards.size() == 1
                        ? std::string("model.safetensors")
                        : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size()));
    TANDEM_RETURN_IF_ERROR(WriteShard(folder.Add(names.back()), shards[i], *source));
  }
  if (shards.size() > 1) {
    TANDEM_RETURN_IF_ERROR(
        WriteTextFile(folder.Add("model.safetensors.index.json"), IndexJson(shards, names)));
  }
  TANDEM_RETURN_IF_ERROR(
      WriteTextFile(folder.Add("generation_config.json"), GenerationJson(config)));
  // Last: a folder without it is no model.
  TANDEM_RETURN_IF_ERROR(WriteTextFile(folder.Add("config.json"), config_json));
  folder.Keep();
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteRandomCheckpoint(const ModelConfig& config, const std::string& config_json,
                                   uint64_t seed, const std::string& directory,
                                   int64_t max_shard_bytes) {
  return WithExitCode(WriteFolder(config, config_json, seed, directory, max_shard_bytes),
                      ExitCode::kFile);
}

}  // namespace tandem
