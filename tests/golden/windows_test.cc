// Prompts of lengths around the sliding window (W/2 - 1 ... 4W), mixed in one batch: the tokens and
// log-probabilities that transformers gives each of them alone (scripts/make_window_goldens.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/testing/generate.h"

namespace tandem {
namespace {

struct Case {
  const char* name;
  int tp;
};

class WindowsTest : public ::testing::TestWithParam<Case> {};

TEST_P(WindowsTest, MixedLengthsInOneBatch) {
  const std::string model = std::string(TANDEM_TEST_DATA) + "/windows/" + GetParam().name;
  std::ifstream in(model + "/expected.json");
  const nlohmann::json expected = nlohmann::json::parse(in);
  std::vector<DispatchRequest> requests;
  for (const nlohmann::json& row : expected.at("rows")) {
    DispatchRequest request;
    request.encoder_ids = row.at("prompt").get<std::vector<int32_t>>();
    SequenceSpec& sequence = request.sequence;
    sequence.id = requests.size();
    sequence.prompt = {2};
    sequence.max_tokens = static_cast<int32_t>(row.at("steps").size());
    sequence.stop_token_ids = {1};
    sequence.num_logprobs = 1;
    requests.push_back(std::move(request));
  }
  ASSERT_EQ(requests.size(), 8u);
  SessionSettings settings;
  settings.model = model;
  settings.threads = 1;
  settings.kv_cache_mb = 8;
  settings.layout_flags.tp[static_cast<int>(StageKind::kEncoder)] = GetParam().tp;
  settings.layout_flags.tp[static_cast<int>(StageKind::kDecoder)] = GetParam().tp;
  settings.layout_flags.colocate = true;
  GenerateTrace trace;
  const auto answers = GenerateInThreads(GetParam().tp, settings, 4096, requests, &trace);
  ASSERT_TRUE(answers.ok()) << answers.status();
  EXPECT_EQ(trace.batches.size(), 1u);
  for (const auto& [id, done] : *answers) {
    const nlohmann::json& steps = expected.at("rows")[id].at("steps");
    for (size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].at("token") == 1) {
        EXPECT_EQ(done.outputs[0].stop_token, 1);
        break;
      }
      ASSERT_LT(i, done.outputs[0].token_ids.size()) << "prompt " << id;
      EXPECT_EQ(done.outputs[0].token_ids[i], steps[i].at("token"))
          << "prompt " << id << ", step " << i;
      // As for the other goldens: 20 times the error of fp32 itself, which is about 1e-5 here.
      EXPECT_NEAR(done.outputs[0].logprobs[i].logprob, steps[i].at("logprob").get<double>(), 3e-4)
          << "prompt " << id << ", step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, WindowsTest,
                         ::testing::Values(Case{"even", 1}, Case{"even", 2}, Case{"even", 4},
                                           Case{"odd", 1}, Case{"odd", 2}, Case{"odd", 4}),
                         [](const auto& info) {
                           return std::string(info.param.name) + "_tp" +
                                  std::to_string(info.param.tp);
                         });

}  // namespace
}  // namespace tandem
