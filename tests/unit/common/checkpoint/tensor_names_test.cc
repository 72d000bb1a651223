#include "common/checkpoint/tensor_names.h"

#include <string>

#include "common/config/model_config.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

TEST(TensorNamesTest, EverySpellingHasOneName) {
  for (const char* name :
       {"model.encoder.layers.0.mlp.up_proj.weight", "encoder.layers.0.mlp.up_proj.weight",
        "model.encoder.text_model.layers.0.mlp.up_proj.weight",
        "encoder.text_model.layers.0.mlp.up_proj.weight"}) {
    EXPECT_EQ(CanonicalTensorName(name), "encoder.layers.0.mlp.up_proj.weight");
  }
  for (const char* name : {"model.encoder.vision_tower.vision_model.post_layernorm.bias",
                           "model.encoder.vision_tower.post_layernorm.bias",
                           "encoder.vision_tower.vision_model.post_layernorm.bias"}) {
    EXPECT_EQ(CanonicalTensorName(name), "encoder.vision_tower.post_layernorm.bias");
  }
  EXPECT_EQ(CanonicalTensorName("lm_head.out_proj.weight"), "lm_head.out_proj.weight");
}

TEST(TensorNamesTest, PublishedNamesAreReadBack) {
  const auto config = LoadModelConfig(std::string(TANDEM_TEST_DATA) + "/hf/untied");
  ASSERT_TRUE(config.ok()) << config.status();
  for (const ExpectedTensor& tensor : ExpectedTensors(*config)) {
    EXPECT_EQ(CanonicalTensorName(PublishedTensorName(tensor.name)), tensor.name);
  }
  EXPECT_EQ(PublishedTensorName("encoder.vision_tower.post_layernorm.bias"),
            "model.encoder.vision_tower.vision_model.post_layernorm.bias");
  EXPECT_EQ(PublishedTensorName("lm_head.out_proj.weight"), "lm_head.out_proj.weight");
  EXPECT_EQ(PublishedTensorName("decoder.norm.weight"), "model.decoder.norm.weight");
}

// The list and the count come from two descriptions of one model.
TEST(TensorNamesTest, ExpectedTensorsHoldEveryParameter) {
  for (const char* folder : {"configs/270m-270m", "configs/1b-1b", "configs/4b-4b", "hf/untied",
                             "hf/attn_bias", "hf/asymmetric"}) {
    const auto config = LoadModelConfig(std::string(TANDEM_TEST_DATA) + "/" + folder);
    ASSERT_TRUE(config.ok()) << config.status();
    int64_t elements = 0;
    for (const ExpectedTensor& tensor : ExpectedTensors(*config)) {
      int64_t count = 1;
      for (const int64_t size : tensor.shape) count *= size;
      elements += count;
    }
    EXPECT_EQ(elements, CountParameters(*config).unique) << folder;
  }
}

}  // namespace
}  // namespace tandem
