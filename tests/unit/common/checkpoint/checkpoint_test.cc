#include "common/checkpoint/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "common/base/exit_code.h"
#include "common/checkpoint/safetensors.h"
#include "common/checkpoint/tensor_names.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/unit/common/checkpoint/scratch_folder.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr LoadMode kModes[] = {LoadMode::kMap, LoadMode::kRead};

std::string Golden(const std::string& name) {
  return std::string(TANDEM_TEST_DATA) + "/hf/" + name;
}

ModelConfig ConfigOf(const std::string& folder) {
  absl::StatusOr<ModelConfig> config = LoadModelConfig(folder);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

// All tensors of a folder's model*.safetensors, by the names they have there.
std::map<std::string, HostTensor> AllTensors(const std::string& folder) {
  std::map<std::string, HostTensor> all;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("model", 0) != 0 || entry.path().extension() != ".safetensors") continue;
    auto tensors = ReadSafetensors(entry.path().string());
    EXPECT_TRUE(tensors.ok()) << tensors.status();
    all.merge(*tensors);
  }
  return all;
}

// The slice's bytes, row after row, as Read hands them out.
std::string ReadSlice(Checkpoint& checkpoint, const std::string& name, const Slice& slice) {
  std::string bytes;
  int64_t next_row = slice.row_begin;
  const absl::Status status = checkpoint.Read(name, slice, [&](const TensorBlock& block) {
    EXPECT_EQ(block.row_begin, next_row);
    EXPECT_EQ(block.num_cols, slice.col_end - slice.col_begin);
    next_row += block.num_rows;
    for (int64_t row = 0; row < block.num_rows; ++row) {
      bytes.append(reinterpret_cast<const char*>(block.data + row * block.row_stride_bytes),
                   static_cast<size_t>(block.num_cols * SizeOf(block.dtype)));
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return bytes;
}

Slice Whole(const TensorInfo& info) {
  Slice slice{0, 1, 0, 1};
  if (info.shape.size() > 1) slice.row_end = info.shape[0];
  for (size_t i = info.shape.size() > 1 ? 1 : 0; i < info.shape.size(); ++i) {
    slice.col_end *= info.shape[i];
  }
  return slice;
}

TEST(CheckpointTest, GoldenCheckpointsGiveTheirBytes) {
  for (const auto& entry : fs::directory_iterator(std::string(TANDEM_TEST_DATA) + "/hf")) {
    const std::string folder = entry.path().string();
    const ModelConfig config = ConfigOf(folder);
    for (const LoadMode mode : kModes) {
      auto checkpoint = Checkpoint::Open(folder, config, mode);
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      size_t found = 0;
      for (const auto& [name, tensor] : AllTensors(folder)) {
        const std::string canonical = CanonicalTensorName(name);
        if (!(*checkpoint)->Has(canonical)) {
          EXPECT_TRUE(IsTiedCopy(canonical, config)) << folder << " " << name;
          continue;
        }
        ++found;
        const auto info = (*checkpoint)->Info(canonical);
        EXPECT_EQ(info->shape, tensor.shape) << name;
        EXPECT_EQ(info->dtype, tensor.dtype) << name;
        const std::string read = ReadSlice(**checkpoint, canonical, Whole(*info));
        ASSERT_EQ(read.size(), tensor.bytes.size()) << name;
        EXPECT_EQ(std::memcmp(read.data(), tensor.bytes.data(), read.size()), 0) << name;
      }
      EXPECT_EQ(found, (*checkpoint)->Tensors().size()) << folder;
    }
  }
}

TEST(CheckpointTest, TiedCopiesAreHidden) {
  const std::string folder = Golden("legacy_names");
  const auto checkpoint = Checkpoint::Open(folder, ConfigOf(folder), LoadMode::kAuto);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_FALSE((*checkpoint)->Has("decoder.embed_tokens.weight"));
  EXPECT_FALSE((*checkpoint)->Has("lm_head.out_proj.weight"));
  EXPECT_EQ((*checkpoint)->Info("lm_head.out_proj.weight").status().message(),
            folder + ": has no tensor lm_head.out_proj.weight");
  EXPECT_TRUE((*checkpoint)->Has("encoder.embed_tokens.weight"));
}

TEST(CheckpointTest, SlicesOfRowsAndColumns) {
  const std::string folder = Golden("text_full");
  const std::string name = "decoder.layers.1.mlp.down_proj.weight";
  const auto tensors = AllTensors(folder);
  const HostTensor& tensor = tensors.at("model." + name);
  const int64_t cols = tensor.shape[1];
  for (const LoadMode mode : kModes) {
    auto checkpoint = Checkpoint::Open(folder, ConfigOf(folder), mode);
    const Slice slice{3, 9, 16, 48};
    const std::string read = ReadSlice(**checkpoint, name, slice);
    std::string wanted;
    for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
      wanted.append(reinterpret_cast<const char*>(tensor.bytes.data()) + (row * cols + 16) * 4,
                    32 * 4);
    }
    EXPECT_EQ(read, wanted);
    EXPECT_EQ((*checkpoint)->bytes_read(), 6 * 32 * 4);
    EXPECT_EQ(ReadSlice(**checkpoint, name, {3, 3, 0, cols}), "");
    EXPECT_EQ(ReadSlice(**checkpoint, name, {3, 4, 5, 5}), "");
  }
}

TEST(CheckpointTest, AShardReadsItsShareOfTheBytes) {
  const std::string folder = Golden("text_full");
  for (const int64_t tp_size : {1, 2, 4}) {
    int64_t all_ranks = 0;
    int64_t whole = 0;
    for (int64_t rank = 0; rank < tp_size; ++rank) {
      auto checkpoint = Checkpoint::Open(folder, ConfigOf(folder), LoadMode::kMap);
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      whole = 0;
      for (const char* name :
           {"decoder.layers.0.self_attn.q_proj.weight", "decoder.layers.0.mlp.down_proj.weight"}) {
        Slice slice = Whole(*(*checkpoint)->Info(name));
        whole += slice.row_end * slice.col_end * 4;
        int64_t& begin = std::string(name).find("q_proj") == std::string::npos ? slice.col_begin
                                                                               : slice.row_begin;
        int64_t& end = &begin == &slice.col_begin ? slice.col_end : slice.row_end;
        const int64_t share = end / tp_size;
        begin = rank * share;
        end = begin + share;
        ReadSlice(**checkpoint, name, slice);
      }
      EXPECT_EQ((*checkpoint)->bytes_read(), whole / tp_size);
      all_ranks += (*checkpoint)->bytes_read();
    }
    EXPECT_EQ(all_ranks, whole);
  }
}

TEST(CheckpointTest, ReadStopsAtTheFirstError) {
  const std::string folder = Golden("text_full");
  for (const LoadMode mode : kModes) {
    auto checkpoint = Checkpoint::Open(folder, ConfigOf(folder), mode);
    const absl::Status status =
        (*checkpoint)->Read("decoder.norm.weight", {0, 1, 0, 4}, [](const TensorBlock&) {
          return absl::DataLossError("decoder.norm.weight holds a NaN");
        });
    EXPECT_EQ(status, absl::DataLossError("decoder.norm.weight holds a NaN"));
    EXPECT_EQ((*checkpoint)->bytes_read(), 0);
  }
}

// A copy of a golden checkpoint to damage.
class DamagedCheckpointTest : public ::testing::Test {
 protected:
  void Copy(const std::string& name) {
    for (const auto& entry : fs::directory_iterator(Golden(name))) {
      fs::copy(entry.path(), folder_.File(entry.path().filename().string()));
    }
  }
  // Writes the tensors as one file.
  void Rewrite(const std::map<std::string, HostTensor>& tensors) {
    ASSERT_TRUE(WriteSafetensors(File(), tensors).ok());
  }
  std::string File() const { return folder_.File("model.safetensors"); }

  absl::Status Open() const {
    return Checkpoint::Open(folder_.path(), ConfigOf(folder_.path()), LoadMode::kAuto).status();
  }

  const ScratchFolder folder_;
};

TEST_F(DamagedCheckpointTest, NoWeights) {
  Copy("text_full");
  fs::remove(File());
  EXPECT_EQ(Open().message(),
            folder_.path() + ": has neither model.safetensors nor model.safetensors.index.json");
  EXPECT_EQ(ExitCodeOf(Open()), ExitCode::kModel);
}

TEST_F(DamagedCheckpointTest, CutShort) {
  Copy("text_full");
  const std::string bytes = folder_.Read("model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  for (const size_t size :
       {size_t{0}, size_t{7}, size_t{8}, size_t{100}, static_cast<size_t>(header_bytes) + 7,
        static_cast<size_t>(header_bytes) + 8, bytes.size() / 2, bytes.size() - 1}) {
    folder_.Write("model.safetensors", bytes.substr(0, size));
    EXPECT_EQ(Open().code(), absl::StatusCode::kDataLoss) << size << " " << Open();
    EXPECT_EQ(Open().message().substr(0, File().size()), File());
  }
  EXPECT_EQ(Open().message(),
            File() +
                ": tensor \"model.encoder.vision_tower.vision_model.post_layernorm.weight\" "
                "ends at byte " +
                std::to_string(bytes.size()) + ", but the file has " +
                std::to_string(bytes.size() - 1) + ": it is cut short");
}

TEST_F(DamagedCheckpointTest, CutWhileOpen) {
  Copy("text_full");
  const auto size = fs::file_size(File());
  for (const LoadMode mode : kModes) {
    auto checkpoint = Checkpoint::Open(folder_.path(), ConfigOf(folder_.path()), mode);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    fs::resize_file(File(), size / 4);
    const absl::Status status =
        (*checkpoint)->Read("encoder.norm.weight", {0, 1, 0, 64}, [](const TensorBlock&) {
          ADD_FAILURE() << "read from a file that was cut";
          return absl::OkStatus();
        });
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kModel);
    fs::resize_file(File(), size);
  }
}

TEST_F(DamagedCheckpointTest, MissingTensor) {
  Copy("text_full");
  auto tensors = AllTensors(folder_.path());
  tensors.erase("model.decoder.layers.1.mlp.up_proj.weight");
  Rewrite(tensors);
  EXPECT_EQ(
      Open(),
      WithExitCode(absl::NotFoundError(folder_.path() +
                                       ": tensor decoder.layers.1.mlp.up_proj.weight is missing"),
                   ExitCode::kModel));
}

TEST_F(DamagedCheckpointTest, UntiedHeadsNeedTheirTensors) {
  Copy("untied");
  for (const char* name : {"lm_head.out_proj.weight", "model.decoder.embed_tokens.weight",
                           "model.decoder.embed_tokens.eoi_embedding"}) {
    auto tensors = AllTensors(Golden("untied"));
    tensors.erase(name);
    Rewrite(tensors);
    EXPECT_EQ(Open().message(),
              folder_.path() + ": tensor " + CanonicalTensorName(name) + " is missing");
  }
}

TEST_F(DamagedCheckpointTest, VisionTensorsMayBeMissing) {
  Copy("text_full");
  auto tensors = AllTensors(folder_.path());
  for (auto it = tensors.begin(); it != tensors.end();) {
    const bool vision = it->first.find("vision_tower") != std::string::npos ||
                        it->first.find("multi_modal") != std::string::npos;
    it = vision ? tensors.erase(it) : std::next(it);
  }
  Rewrite(tensors);
  EXPECT_TRUE(Open().ok()) << Open();
}

TEST_F(DamagedCheckpointTest, WrongShape) {
  Copy("text_full");
  auto tensors = AllTensors(folder_.path());
  std::swap(tensors.at("model.decoder.layers.0.mlp.up_proj.weight").shape[0],
            tensors.at("model.decoder.layers.0.mlp.up_proj.weight").shape[1]);
  Rewrite(tensors);
  EXPECT_EQ(Open().message(),
            File() +
                ": tensor model.decoder.layers.0.mlp.up_proj.weight has shape [64, 112], but "
                "config.json asks for [112, 64]");
}

TEST_F(DamagedCheckpointTest, WrongShapeOfVision) {
  Copy("text_full");
  auto tensors = AllTensors(folder_.path());
  tensors.at("model.encoder.vision_tower.vision_model.post_layernorm.bias").shape = {4, 4};
  Rewrite(tensors);
  EXPECT_EQ(Open().message(),
            File() +
                ": tensor model.encoder.vision_tower.vision_model.post_layernorm.bias has "
                "shape [4, 4], but config.json asks for [16]");
}

TEST_F(DamagedCheckpointTest, WrongDType) {
  Copy("text_full");
  auto tensors = AllTensors(folder_.path());
  tensors.at("model.decoder.norm.weight").dtype = DType::kI32;
  Rewrite(tensors);
  EXPECT_EQ(Open().message(), File() +
                                  ": tensor model.decoder.norm.weight has dtype I32; supported are "
                                  "F32, BF16 and F16");
}

TEST_F(DamagedCheckpointTest, OneTensorUnderTwoNames) {
  Copy("text_full");
  auto tensors = AllTensors(folder_.path());
  tensors["encoder.text_model.norm.weight"] = tensors.at("model.encoder.norm.weight");
  Rewrite(tensors);
  EXPECT_EQ(Open().message(),
            File() +
                ": tensors encoder.text_model.norm.weight and model.encoder.norm.weight are "
                "both encoder.norm.weight");
}

TEST_F(DamagedCheckpointTest, ConfigOfAnotherModel) {
  Copy("attn_bias");
  nlohmann::json config = nlohmann::json::parse(folder_.Read("config.json"));
  config["decoder"]["attention_bias"] = false;
  folder_.Write("config.json", config.dump());
  EXPECT_THAT(std::string(Open().message()),
              ::testing::MatchesRegex(
                  ".*/model.safetensors: tensor "
                  "model.decoder.layers.[0-9].self_attn.[qkvo]_proj.bias has no place in "
                  "config.json's model"));
}

TEST_F(DamagedCheckpointTest, MissingShard) {
  Copy("sharded");
  const std::string shard = "model-00003-of-00004.safetensors";
  fs::remove(folder_.File(shard));
  EXPECT_EQ(Open().message(), "a shard that model.safetensors.index.json names: " +
                                  folder_.File(shard) + ": No such file or directory");
  EXPECT_EQ(Open().code(), absl::StatusCode::kNotFound);
}

TEST_F(DamagedCheckpointTest, ShardWithoutItsTensor) {
  Copy("sharded");
  fs::copy(folder_.File("model-00002-of-00004.safetensors"),
           folder_.File("model-00001-of-00004.safetensors"), fs::copy_options::overwrite_existing);
  EXPECT_EQ(Open().message(),
            folder_.File("model-00001-of-00004.safetensors") +
                ": lacks tensor model.decoder.layers.0.mlp.down_proj.weight, which "
                "model.safetensors.index.json says it has");
}

TEST_F(DamagedCheckpointTest, IndexThatLeavesTheFolder) {
  Copy("sharded");
  const std::string index = folder_.File("model.safetensors.index.json");
  for (const char* name : {"../model.safetensors", "/etc/passwd", "a/b.safetensors",
                           ".hidden.safetensors", "model.bin", "..", ""}) {
    const nlohmann::json text = {{"weight_map", {{"x", name}}}};
    folder_.Write("model.safetensors.index.json", text.dump());
    EXPECT_EQ(Open().message(), index + ": maps x to \"" + name +
                                    "\", which is no name of a .safetensors file in this folder");
  }
  folder_.Write("model.safetensors.index.json", R"({"weight_map": {"x": 3}})");
  EXPECT_EQ(Open().message(),
            index + ": maps x to 3, which is no name of a .safetensors file in this folder");
  folder_.Write("model.safetensors.index.json", R"({"weight_map": [1]})");
  EXPECT_EQ(Open().message(), index + ": has no object weight_map");
  folder_.Write("model.safetensors.index.json", "{");
  EXPECT_EQ(Open().message(), index + ": is not valid JSON");
}

// Headers need not be padded; elements are handed out aligned all the same.
TEST_F(DamagedCheckpointTest, UnalignedDataIsReadAligned) {
  Copy("text_full");
  std::string bytes = folder_.Read("model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  bytes.insert(8 + header_bytes, " ");
  ++header_bytes;
  std::memcpy(bytes.data(), &header_bytes, 8);
  folder_.Write("model.safetensors", bytes);
  auto checkpoint = Checkpoint::Open(folder_.path(), ConfigOf(folder_.path()), LoadMode::kMap);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto tensors = AllTensors(folder_.path());
  const HostTensor& norm = tensors.at("model.decoder.norm.weight");
  const absl::Status status =
      (*checkpoint)->Read("decoder.norm.weight", {0, 1, 0, 64}, [&norm](const TensorBlock& block) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data) % 4, 0u);
        EXPECT_EQ(std::memcmp(block.data, norm.bytes.data(), norm.bytes.size()), 0);
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(DamagedCheckpointTest, IdentityIsOfConfigAndHeaders) {
  Copy("sharded");
  const auto hash = [this](LoadMode mode) {
    return (*Checkpoint::Open(folder_.path(), ConfigOf(folder_.path()), mode))->identity_hash();
  };
  const std::string golden = Golden("sharded");
  const uint64_t original =
      (*Checkpoint::Open(golden, ConfigOf(golden), LoadMode::kMap))->identity_hash();
  EXPECT_EQ(hash(LoadMode::kMap), original);
  EXPECT_EQ(hash(LoadMode::kRead), original);
  folder_.Write("config.json", folder_.Read("config.json") + "\n");
  EXPECT_NE(hash(LoadMode::kMap), original);
}

}  // namespace
}  // namespace tandem
