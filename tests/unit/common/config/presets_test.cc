#include "common/config/presets.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "common/base/exit_code.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace tandem {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

std::string TextOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(PresetsTest, AreTheFilesOfConfigsModels) {
  EXPECT_THAT(PresetNames(), ElementsAre("t5gemma2_270m_270m", "t5gemma2_1b_1b", "t5gemma2_4b_4b"));
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(TANDEM_SOURCE_DIR "/configs/models")) {
    const auto text = PresetConfigJson(entry.path().stem().string());
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, TextOf(entry.path().string()));
    ++files;
  }
  EXPECT_EQ(files, PresetNames().size());
  EXPECT_EQ(PresetConfigJson("t5gemma2_9b_9b").status(),
            absl::NotFoundError("there is no preset t5gemma2_9b_9b; presets are "
                                "t5gemma2_270m_270m, t5gemma2_1b_1b, t5gemma2_4b_4b"));
}

TEST(PresetsTest, HaveThePublishedParameters) {
  const std::pair<const char*, int64_t> unique[] = {{"t5gemma2_270m_270m", 786029296},
                                                    {"t5gemma2_1b_1b", 2115977456},
                                                    {"t5gemma2_4b_4b", 7508928880}};
  for (const auto& [name, count] : unique) {
    const auto source = ResolveModel(name);
    ASSERT_TRUE(source.ok()) << source.status();
    EXPECT_EQ(source->label, std::string("preset ") + name);
    EXPECT_EQ(source->directory, "");
    const auto config = ParseModelSource(*source);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(CountParameters(*config).unique, count);
  }
}

TEST(ResolveModelTest, FolderFileAndNeither) {
  const std::string folder = std::string(TANDEM_TEST_DATA) + "/hf/eoi_eos_prefix";
  for (const std::string& argument : {folder, folder + "/config.json"}) {
    const auto source = ResolveModel(argument);
    ASSERT_TRUE(source.ok()) << source.status();
    EXPECT_EQ(source->label, folder + "/config.json");
    EXPECT_EQ(source->directory, folder);
    EXPECT_EQ(source->config_json, TextOf(folder + "/config.json"));
    EXPECT_EQ(source->generation_json, TextOf(folder + "/generation_config.json"));
  }
  const absl::Status missing = ResolveModel("no/such/model").status();
  EXPECT_EQ(missing.message(),
            "no/such/model: there is no such folder or file, and no preset of this name (presets: "
            "t5gemma2_270m_270m, t5gemma2_1b_1b, t5gemma2_4b_4b)");
  EXPECT_EQ(ExitCodeOf(missing), ExitCode::kModel);
  const std::string empty = ::testing::TempDir() + "resolve_model_test";
  fs::create_directories(empty);
  EXPECT_EQ(ResolveModel(empty).status().message(),
            empty + "/config.json: No such file or directory");
  fs::remove_all(empty);
}

}  // namespace
}  // namespace tandem
