#include "common/checkpoint/checkpoint_writer.h"

#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/base/exit_code.h"
#include "common/checkpoint/checkpoint.h"
#include "common/checkpoint/safetensors.h"
#include "common/checkpoint/slice_shape.h"
#include "common/config/presets.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/unit/common/checkpoint/scratch_folder.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kSeed = 11;

std::string ConfigText(const std::string& name) {
  const auto source = ResolveModel(std::string(TANDEM_TEST_DATA) + "/hf/" + name);
  EXPECT_TRUE(source.ok()) << source.status();
  return source->config_json;
}

ModelConfig Parse(const std::string& config_json) {
  const auto config = ParseModelConfig(config_json, "");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

std::string Bytes(Checkpoint& checkpoint, const TensorInfo& info) {
  std::string bytes;
  const MatrixShape shape = MatrixShapeOf(info.shape);
  const absl::Status status = checkpoint.Read(
      info.name, {0, shape.rows, 0, shape.cols}, [&bytes](const TensorBlock& block) {
        EXPECT_EQ(block.row_begin * block.row_stride_bytes, static_cast<int64_t>(bytes.size()));
        bytes.append(reinterpret_cast<const char*>(block.data),
                     static_cast<size_t>(block.num_rows * block.row_stride_bytes));
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  return bytes;
}

// This process's resident pages of files, in KiB.
int64_t ResidentFileKib() {
  std::ifstream status("/proc/self/status");
  std::string key;
  while (status >> key) {
    int64_t kib = 0;
    if (key == "RssFile:" && status >> kib) return kib;
  }
  return 0;
}

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

void ExpectEqualsRandom(const std::string& folder) {
  const auto config = LoadModelConfig(folder);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto written = Checkpoint::Open(folder, *config, LoadMode::kAuto);
  ASSERT_TRUE(written.ok()) << written.status();
  const auto random = Checkpoint::Random(*config, kSeed);
  const std::vector<TensorInfo> tensors = random->Tensors();
  ASSERT_EQ((*written)->Tensors().size(), tensors.size());
  for (const TensorInfo& tensor : tensors) {
    EXPECT_EQ((*written)->Info(tensor.name)->dtype, tensor.dtype);
    EXPECT_EQ(Bytes(**written, tensor), Bytes(*random, tensor)) << tensor.name;
  }
}

TEST(CheckpointWriterTest, OpeningGivesTheRandomWeights) {
  for (const char* name : {"text_full", "bf16_text", "untied", "attn_bias"}) {
    const ScratchFolder scratch;
    const std::string folder = scratch.File("new/model");
    const std::string text = ConfigText(name);
    const absl::Status status = WriteRandomCheckpoint(Parse(text), text, kSeed, folder);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_THAT(NamesIn(folder),
                UnorderedElementsAre("config.json", "generation_config.json", "model.safetensors"));
    ExpectEqualsRandom(folder);
  }
}

// 18 MB: more than a block of every way to read and write.
TEST(CheckpointWriterTest, TensorsOfSeveralBlocks) {
  const ScratchFolder scratch;
  nlohmann::json file = nlohmann::json::parse(ConfigText("text_full"));
  for (nlohmann::json* place : {&file, &file["encoder"]["text_config"], &file["decoder"]}) {
    (*place)["vocab_size"] = 70'000;
  }
  const std::string text = file.dump();
  const ModelConfig config = Parse(text);
  ASSERT_TRUE(WriteRandomCheckpoint(config, text, kSeed, scratch.path()).ok());
  const auto random = Checkpoint::Random(config, kSeed);
  const TensorInfo table = *random->Info("encoder.embed_tokens.weight");
  const std::string wanted = Bytes(*random, table);
  for (const LoadMode mode : {LoadMode::kMap, LoadMode::kRead}) {
    const auto written = Checkpoint::Open(scratch.path(), config, mode);
    ASSERT_TRUE(written.ok()) << written.status();
    const int64_t resident_kib = ResidentFileKib();
    EXPECT_TRUE(Bytes(**written, table) == wanted);
    EXPECT_LT(ResidentFileKib() - resident_kib, 4096);  // Mapped pages were given back.
    EXPECT_EQ((*written)->bytes_read(), static_cast<int64_t>(wanted.size()));
  }
}

TEST(CheckpointWriterTest, ShardsAndTheirIndex) {
  const ScratchFolder scratch;
  const std::string text = ConfigText("text_full");
  constexpr int64_t kShardBytes = 200'000;
  ASSERT_TRUE(WriteRandomCheckpoint(Parse(text), text, kSeed, scratch.path(), kShardBytes).ok());
  const auto index = nlohmann::json::parse(scratch.Read("model.safetensors.index.json"));
  int64_t total = 0;
  size_t tensors = 0;
  for (const std::string& name : NamesIn(scratch.path())) {
    if (fs::path(name).extension() != ".safetensors") continue;
    EXPECT_THAT(name, ::testing::MatchesRegex("model-0000[1-9]-of-0000[2-9].safetensors"));
    const auto file = SafetensorsFile::Open(scratch.File(name));
    ASSERT_TRUE(file.ok()) << file.status();
    int64_t bytes = 0;
    for (const SafetensorsEntry& entry : file->header().tensors) {
      bytes += entry.end - entry.begin;
      EXPECT_EQ(index["weight_map"][entry.name], name);
      ++tensors;
    }
    EXPECT_LE(bytes, kShardBytes);
    total += bytes;
  }
  EXPECT_EQ(index["metadata"]["total_size"], total);
  EXPECT_EQ(index["weight_map"].size(), tensors);
  ExpectEqualsRandom(scratch.path());
}

TEST(CheckpointWriterTest, PublishedNamesAndTokens) {
  const ScratchFolder scratch;
  const std::string text = ConfigText("text_full");
  const auto config = ParseModelConfig(text, R"({"eos_token_id": [1, 47], "top_k": 64})");
  ASSERT_TRUE(WriteRandomCheckpoint(*config, text, kSeed, scratch.path()).ok());
  const auto file = SafetensorsFile::Open(scratch.File("model.safetensors"));
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : file->header().tensors) names.push_back(entry.name);
  EXPECT_THAT(names, ::testing::IsSupersetOf(
                         {"model.encoder.embed_tokens.weight",
                          "model.encoder.vision_tower.vision_model.post_layernorm.bias",
                          "model.encoder.multi_modal_projector.mm_input_projection_weight",
                          "model.decoder.layers.0.self_attn.q_proj.weight"}));
  EXPECT_EQ(file->header().metadata.at("format"), "pt");
  const auto reread = LoadModelConfig(scratch.path());
  EXPECT_EQ(reread->eos_token_ids, config->eos_token_ids);
  EXPECT_EQ(reread->generation_defaults, config->generation_defaults);
  EXPECT_EQ(scratch.Read("config.json"), text);
}

TEST(CheckpointWriterTest, RefusesWhatIsThere) {
  const ScratchFolder scratch;
  scratch.Write("precious", "x");
  const std::string text = ConfigText("text_full");
  const ModelConfig config = Parse(text);
  for (const std::string& path : {scratch.path(), scratch.File("precious")}) {
    const absl::Status status = WriteRandomCheckpoint(config, text, kSeed, path);
    EXPECT_EQ(status.message(),
              path + ": is there already; a checkpoint is written to a new or empty folder");
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kFile);
  }
  EXPECT_EQ(scratch.Read("precious"), "x");
  EXPECT_EQ(WriteRandomCheckpoint(config, text, kSeed, scratch.File("precious/a")).message(),
            scratch.File("precious/a") + ": cannot be made: Not a directory");
}

TEST(CheckpointWriterDeathTest, LeavesNothingAfterAFailure) {
  const ScratchFolder scratch;
  const std::string text = ConfigText("text_full");
  const std::string folder = scratch.File("model");
  // In a child process, since a limit on file sizes, which stands for a full disk, stays.
  const auto write = [&text, &folder] {
    const rlimit limit = {100'000, 100'000};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    const absl::Status status = WriteRandomCheckpoint(Parse(text), text, kSeed, folder);
    fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    exit(static_cast<int>(ExitCodeOf(status)));
  };
  EXPECT_EXIT(write(), ::testing::ExitedWithCode(6),
              "model.safetensors.partial: cannot be written: File too large");
  EXPECT_FALSE(fs::exists(folder));
}

}  // namespace
}  // namespace tandem
