// Checkpoint::Open: a folder of safetensors.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/aligned_buffer.h"
#include "common/base/check.h"
#include "common/base/exit_code.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint.h"
#include "common/checkpoint/safetensors.h"
#include "common/checkpoint/slice_shape.h"
#include "common/checkpoint/tensor_names.h"
#include "common/config/text_file.h"
#include "nlohmann/json.hpp"

#define XXH_INLINE_ALL
#include "xxhash.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr int64_t kMapBlockBytes = int64_t{4} << 20;
constexpr int64_t kReadBlockBytes = int64_t{16} << 20;
// What the kernel maps around a fault (fault_around_bytes), at most.
constexpr int64_t kFaultAroundBytes = int64_t{64} << 10;

// A file's pages in this process's address space; touched ones are given back by Forget.
class Mapping {
 public:
  Mapping() = default;
  ~Mapping() {
    if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
  }
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Mapping& operator=(Mapping&&) = delete;

  absl::Status Map(const SafetensorsFile& file) {
    bytes_ = file.file_bytes();
    void* data = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ, MAP_PRIVATE, file.fd(), 0);
    if (data == MAP_FAILED) {
      return absl::ErrnoToStatus(errno, absl::StrCat(file.path(), ": cannot be mapped"));
    }
    data_ = static_cast<std::byte*>(data);
    return absl::OkStatus();
  }

  const std::byte* at(int64_t position) const { return data_ + position; }

  // Reads [begin, end) in. False when a page of it is not in the file any more: touching it would
  // raise SIGBUS. Kernels before 5.14 cannot tell; there, the pages come with the first touch.
  bool Populate(int64_t begin, int64_t end) const {
    return Advise(begin, end, MADV_POPULATE_READ) || errno == EINVAL;
  }
  void Announce(int64_t begin, int64_t end) const { Advise(begin, end, MADV_WILLNEED); }
  void Forget(int64_t begin, int64_t end) const {
    end = std::min(bytes_, (end + kFaultAroundBytes - 1) / kFaultAroundBytes * kFaultAroundBytes);
    Advise(begin, end, MADV_DONTNEED);
  }

 private:
  bool Advise(int64_t begin, int64_t end, int advice) const {
    begin -= begin % kFaultAroundBytes;  // A multiple of every page size.
    if (begin >= end) return true;
    return madvise(data_ + begin, static_cast<size_t>(end - begin), advice) == 0;
  }

  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Where a tensor lies.
struct StoredTensor {
  TensorInfo info;
  std::string file_name;  // The name the file has for it.
  size_t file = 0;
  int64_t begin = 0;
};

class SafetensorsCheckpoint : public Checkpoint {
 public:
  explicit SafetensorsCheckpoint(LoadMode mode) : mode_(mode) {}

  absl::Status Load(const std::string& directory, const ModelConfig& config);

  bool Has(absl::string_view name) const override { return tensors_.contains(name); }

  absl::StatusOr<TensorInfo> Info(absl::string_view name) const override {
    TANDEM_ASSIGN_OR_RETURN(const StoredTensor* tensor, Find(name));
    return tensor->info;
  }

  std::vector<TensorInfo> Tensors() const override {
    std::vector<TensorInfo> all;
    for (const auto& [name, tensor] : tensors_) all.push_back(tensor.info);
    std::sort(all.begin(), all.end(),
              [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
    return all;
  }

  absl::Status Read(absl::string_view name, const Slice& slice,
                    absl::FunctionRef<absl::Status(const TensorBlock&)> use) override;

  int64_t bytes_read() const override { return bytes_read_; }
  uint64_t identity_hash() const override { return identity_hash_; }

 private:
  absl::StatusOr<const StoredTensor*> Find(absl::string_view name) const {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      return absl::NotFoundError(absl::StrCat(directory_, ": has no tensor ", name));
    }
    return &it->second;
  }

  absl::Status OpenSingle();
  absl::Status OpenShards();
  absl::StatusOr<size_t> OpenFile(const std::string& file_name);
  absl::Status AddTensor(const SafetensorsEntry& entry, size_t file);
  absl::Status CheckAgainst(const ModelConfig& config);
  absl::Status HashIdentity(const std::string& index_text);
  // Makes bytes [begin, end) of a file readable, and says where. What follows up to `last` will be
  // asked for next.
  absl::StatusOr<const std::byte*> Fetch(const StoredTensor& tensor, int64_t begin, int64_t end,
                                         int64_t last);
  // Mapped data is used in place where its elements are aligned (a header need not be padded).
  bool InPlace(const StoredTensor& tensor) const {
    return mode_ != LoadMode::kRead && tensor.begin % SizeOf(tensor.info.dtype) == 0;
  }

  const LoadMode mode_;
  std::string directory_;
  std::string index_text_;
  std::vector<SafetensorsFile> files_;
  std::vector<Mapping> mappings_;                           // As files_; empty in kRead.
  absl::flat_hash_map<std::string, StoredTensor> tensors_;  // By canonical name.
  AlignedBuffer<std::byte> staging_;                        // kRead's.
  int64_t bytes_read_ = 0;
  uint64_t identity_hash_ = 0;
};

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status SafetensorsCheckpoint::Load(const std::string& directory, const ModelConfig& config) {
  directory_ = directory;
  std::error_code ignored;
  if (fs::exists(fs::path(directory) / kSingleFile, ignored)) {
    TANDEM_RETURN_IF_ERROR(OpenSingle());
  } else if (fs::exists(fs::path(directory) / kIndexFile, ignored)) {
    TANDEM_RETURN_IF_ERROR(OpenShards());
  } else {
    return absl::NotFoundError(
        absl::StrCat(directory, ": has neither ", kSingleFile, " nor ", kIndexFile));
  }
  TANDEM_RETURN_IF_ERROR(CheckAgainst(config));
  if (mode_ != LoadMode::kRead) {
    for (const SafetensorsFile& file : files_) {
      TANDEM_RETURN_IF_ERROR(mappings_.emplace_back().Map(file));
    }
  }
  return HashIdentity(index_text_);
}

absl::StatusOr<size_t> SafetensorsCheckpoint::OpenFile(const std::string& file_name) {
  TANDEM_ASSIGN_OR_RETURN(SafetensorsFile file,
                          SafetensorsFile::Open((fs::path(directory_) / file_name).string()));
  files_.push_back(std::move(file));
  return files_.size() - 1;
}

absl::Status SafetensorsCheckpoint::OpenSingle() {
  TANDEM_ASSIGN_OR_RETURN(const size_t file, OpenFile(kSingleFile));
  for (const SafetensorsEntry& entry : files_[file].header().tensors) {
    TANDEM_RETURN_IF_ERROR(AddTensor(entry, file));
  }
  return absl::OkStatus();
}

// A shard is a file beside the index: nothing else is opened for a name that someone wrote there.
bool IsShardName(const std::string& name) {
  return absl::EndsWith(name, ".safetensors") && !absl::StartsWith(name, ".") &&
         !absl::StrContains(name, "/") && !absl::StrContains(name, '\0');
}

absl::StatusOr<std::map<std::string, std::vector<std::string>>> ParseIndex(
    const std::string& text) {
  const nlohmann::json index = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (index.is_discarded()) return absl::DataLossError("is not valid JSON");
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return absl::DataLossError("has no object weight_map");
  }
  std::map<std::string, std::vector<std::string>> by_shard;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string() || !IsShardName(shard.get<std::string>())) {
      return absl::DataLossError(
          absl::StrCat("maps ", tensor, " to ", shard.dump(-1, ' ', true),
                       ", which is no name of a .safetensors file in this folder"));
    }
    by_shard[shard.get<std::string>()].push_back(tensor);
  }
  return by_shard;
}

absl::Status SafetensorsCheckpoint::OpenShards() {
  const std::string index_path = (fs::path(directory_) / kIndexFile).string();
  TANDEM_ASSIGN_OR_RETURN(index_text_, ReadTextFile(index_path, int64_t{64} << 20));
  const auto by_shard = ParseIndex(index_text_);
  if (!by_shard.ok()) return Annotate(by_shard.status(), index_path);
  for (const auto& [shard, names] : *by_shard) {
    const absl::StatusOr<size_t> file = OpenFile(shard);
    if (absl::IsNotFound(file.status())) {
      return Annotate(file.status(), absl::StrCat("a shard that ", kIndexFile, " names"));
    }
    if (!file.ok()) return file.status();
    absl::flat_hash_map<absl::string_view, const SafetensorsEntry*> entries;
    for (const SafetensorsEntry& entry : files_[*file].header().tensors) {
      entries[entry.name] = &entry;
    }
    for (const std::string& name : names) {
      const auto it = entries.find(name);
      if (it == entries.end()) {
        return absl::DataLossError(absl::StrCat(files_[*file].path(), ": lacks tensor ", name,
                                                ", which ", kIndexFile, " says it has"));
      }
      TANDEM_RETURN_IF_ERROR(AddTensor(*it->second, *file));
    }
  }
  return absl::OkStatus();
}

absl::Status SafetensorsCheckpoint::AddTensor(const SafetensorsEntry& entry, size_t file) {
  if (!entry.dtype) return absl::OkStatus();  // Nothing here can use it.
  const std::string name = CanonicalTensorName(entry.name);
  const auto [it, added] = tensors_.try_emplace(
      name, StoredTensor{{name, *entry.dtype, entry.shape}, entry.name, file, entry.begin});
  if (added) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(files_[file].path(), ": tensors ",
                                                 it->second.file_name, " and ", entry.name,
                                                 " are both ", name));
}

// A tensor of a stack's layers, or a head, that the configuration has no place for: the result
// would be wrong without a word.
bool BelongsToText(absl::string_view name) {
  return absl::StartsWith(name, "encoder.layers.") || absl::StartsWith(name, "decoder.layers.") ||
         absl::StartsWith(name, "lm_head.");
}

absl::Status SafetensorsCheckpoint::CheckAgainst(const ModelConfig& config) {
  absl::flat_hash_map<std::string, ExpectedTensor> expected;
  for (ExpectedTensor& tensor : ExpectedTensors(config)) {
    const auto it = tensors_.find(tensor.name);
    if (it == tensors_.end()) {
      if (!tensor.required) continue;
      return absl::NotFoundError(absl::StrCat(directory_, ": tensor ", tensor.name, " is missing"));
    }
    const StoredTensor& stored = it->second;
    const std::string& path = files_[stored.file].path();
    if (stored.info.shape != tensor.shape) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": tensor ", stored.file_name, " has shape ", ShapeText(stored.info.shape),
          ", but config.json asks for ", ShapeText(tensor.shape)));
    }
    const DType dtype = stored.info.dtype;
    if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", stored.file_name,
                                                     " has dtype ", NameOf(dtype),
                                                     "; supported are F32, BF16 and F16"));
    }
    expected.emplace(tensor.name, std::move(tensor));
  }
  std::vector<std::string> copies;
  for (const auto& [name, tensor] : tensors_) {
    if (IsTiedCopy(name, config)) {
      copies.push_back(name);
    } else if (!expected.contains(name) && BelongsToText(name)) {
      return absl::InvalidArgumentError(absl::StrCat(files_[tensor.file].path(), ": tensor ",
                                                     tensor.file_name,
                                                     " has no place in config.json's model"));
    }
  }
  for (const std::string& name : copies) tensors_.erase(name);
  return absl::OkStatus();
}

absl::Status SafetensorsCheckpoint::HashIdentity(const std::string& index_text) {
  const std::string config_path = (fs::path(directory_) / "config.json").string();
  std::error_code ignored;
  std::string config_text;
  if (fs::exists(config_path, ignored)) {
    TANDEM_ASSIGN_OR_RETURN(config_text, ReadTextFile(config_path, int64_t{16} << 20));
  }
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  const auto add = [&state](const std::string& text) {
    const uint64_t bytes = text.size();
    XXH3_64bits_update(&state, &bytes, sizeof(bytes));
    XXH3_64bits_update(&state, text.data(), text.size());
  };
  add(config_text);
  add(index_text);
  for (const SafetensorsFile& file : files_) add(file.header_bytes());
  identity_hash_ = XXH3_64bits_digest(&state);
  return absl::OkStatus();
}

absl::StatusOr<const std::byte*> SafetensorsCheckpoint::Fetch(const StoredTensor& tensor,
                                                              int64_t begin, int64_t end,
                                                              int64_t last) {
  const SafetensorsFile& file = files_[tensor.file];
  if (!InPlace(tensor)) {
    staging_.Reserve(end - begin);
    TANDEM_RETURN_IF_ERROR(file.ReadAt(begin, end - begin, staging_.data()));
    return staging_.data();
  }
  const Mapping& mapping = mappings_[tensor.file];
  if (end < last) mapping.Announce(end, std::min(last, end + (end - begin)));
  TANDEM_RETURN_IF_ERROR(file.CheckLength());
  if (!mapping.Populate(begin, end)) {
    return absl::DataLossError(
        absl::StrCat(file.path(), ": bytes ", begin, " to ", end, " cannot be read"));
  }
  return mapping.at(begin);
}

absl::Status SafetensorsCheckpoint::Read(absl::string_view name, const Slice& slice,
                                         absl::FunctionRef<absl::Status(const TensorBlock&)> use) {
  TANDEM_ASSIGN_OR_RETURN(const StoredTensor* tensor, Find(name));
  const MatrixShape shape = MatrixShapeOf(tensor->info.shape);
  CheckSlice(slice, shape);
  const int64_t num_cols = slice.col_end - slice.col_begin;
  if (slice.row_begin == slice.row_end || num_cols == 0) return absl::OkStatus();

  const int64_t element_bytes = SizeOf(tensor->info.dtype);
  const int64_t stride = shape.cols * element_bytes;
  const int64_t block_bytes = mode_ == LoadMode::kRead ? kReadBlockBytes : kMapBlockBytes;
  const int64_t block_rows = std::max<int64_t>(1, block_bytes / stride);
  const int64_t last = tensor->begin + slice.row_end * stride;
  for (int64_t row = slice.row_begin; row < slice.row_end; row += block_rows) {
    const int64_t num_rows = std::min(block_rows, slice.row_end - row);
    const int64_t begin = tensor->begin + row * stride;
    const int64_t end = begin + num_rows * stride;
    const absl::StatusOr<const std::byte*> data = Fetch(*tensor, begin, end, last);
    if (!data.ok()) return WithExitCode(data.status(), ExitCode::kModel);
    const absl::Status used = use({.data = *data + slice.col_begin * element_bytes,
                                   .dtype = tensor->info.dtype,
                                   .row_begin = row,
                                   .num_rows = num_rows,
                                   .num_cols = num_cols,
                                   .row_stride_bytes = stride});
    if (InPlace(*tensor)) mappings_[tensor->file].Forget(begin, end);
    TANDEM_RETURN_IF_ERROR(used);
    bytes_read_ += num_rows * num_cols * element_bytes;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& directory,
                                                             const ModelConfig& config,
                                                             LoadMode mode) {
  auto checkpoint = std::make_unique<SafetensorsCheckpoint>(mode);
  const absl::Status loaded = checkpoint->Load(directory, config);
  if (!loaded.ok()) return WithExitCode(loaded, ExitCode::kModel);
  return checkpoint;
}

}  // namespace tandem
