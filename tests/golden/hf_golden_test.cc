// The whole system in one process (ranks as threads) against the reference: every recorded
// intermediate of `forward`, and greedy tokens of `generate` with their log-probabilities, at every
// TP degree that the heads allow.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "common/parallel/thread_world.h"
#include "coordinator/cli/run_job.h"
#include "tests/golden/golden_case.h"
#include "tests/testing/generate.h"

namespace tandem {
namespace {

struct Setup {
  std::string name;
  int tp = 1;
  std::string dtype;
};

std::string NameOf(const Setup& setup) {
  return setup.name + "_tp" + std::to_string(setup.tp) + "_" + setup.dtype;
}

std::vector<Setup> AllSetups() {
  std::vector<Setup> setups;
  for (const std::string& name : GoldenCaseNames()) {
    const GoldenCase golden = GoldenCase::Load(name);
    absl::StatusOr<ModelConfig> config = LoadModelConfig(golden.directory);
    if (!config.ok()) continue;  // The test that counts the cases fails then.
    for (const int tp : {1, 2, 4}) {
      if (tp > MaxTextTp(config->encoder) || tp > MaxTextTp(config->decoder)) continue;
      setups.push_back({name, tp, "float32"});
      if (golden.HasBf16()) setups.push_back({name, tp, "bfloat16"});
    }
  }
  return setups;
}

SessionSettings SettingsOf(const Setup& setup, const std::string& directory) {
  SessionSettings settings;
  settings.model = directory;
  settings.dtype = setup.dtype;
  settings.threads = 1;
  settings.kv_cache_mb = 16;
  settings.layout_flags.tp[static_cast<int>(StageKind::kEncoder)] = setup.tp;
  settings.layout_flags.tp[static_cast<int>(StageKind::kDecoder)] = setup.tp;
  settings.layout_flags.colocate = true;
  return settings;
}

absl::Status RunInThreads(int ranks, const SessionSettings& settings, Coordinate coordinate) {
  return RunRanksOrAbort(ranks, [&](World& world) {
    SetComputeFloatMode();
    return RunJob(world, settings, absl::OkStatus(), coordinate).status;
  });
}

// Names the worst element.
void ExpectNear(const PaddedStates& got, absl::Span<const float> want, const PaddedTokens& tokens,
                Tolerance tolerance, const std::string& what) {
  ASSERT_EQ(got.data.size(), want.size()) << what;
  double worst = 0;
  int64_t worst_at = -1;
  for (int64_t i = 0; i < static_cast<int64_t>(want.size()); ++i) {
    const auto at = static_cast<size_t>(i);
    const bool valid = tokens.valid[static_cast<size_t>(i / got.features)] != 0;
    if (!valid) {
      ASSERT_EQ(got.data[at], 0.0f) << what << ": a masked row is not zero, element " << i;
      continue;
    }
    const double error = std::abs(double{got.data[at]} - double{want[at]});
    const double allowed = tolerance.abs + tolerance.rel * std::abs(double{want[at]});
    if (error <= allowed) continue;  // Both may be 0.
    if (!(error / allowed <= worst)) {
      worst = error / allowed;
      worst_at = i;
    }
  }
  EXPECT_EQ(worst_at, -1) << what << ": element " << worst_at << " is off by " << worst
                          << " times the tolerance";
}

class HfGoldenTest : public ::testing::TestWithParam<Setup> {};

TEST_P(HfGoldenTest, EveryIntermediate) {
  const GoldenCase golden = GoldenCase::Load(GetParam().name);
  ForwardJobOptions options;
  options.encoder = golden.EncoderTokens();
  options.decoder = golden.DecoderTokens();
  options.taps = true;
  std::map<std::string, PaddedStates> got;
  const absl::Status status =
      RunInThreads(GetParam().tp, SettingsOf(GetParam(), golden.directory),
                   [&](Session& session, CoordinatorPort& port) -> absl::Status {
                     options.vocab_size = session.model().decoder.vocab_size;
                     absl::StatusOr<std::map<std::string, PaddedStates>> states =
                         RunForwardJob(options, session.groups(), port);
                     if (states.ok()) got = *std::move(states);
                     return states.status();
                   });
  ASSERT_TRUE(status.ok()) << status;
  int compared = 0;
  for (const auto& [name, tensor] : golden.expected) {
    const bool decoder = name.rfind("decoder.", 0) == 0 || name == "logits";
    if (!decoder && name.rfind("encoder.", 0) != 0) continue;
    ASSERT_TRUE(got.contains(name)) << name;
    const Tolerance tolerance = GetParam().dtype == "bfloat16"
                                    ? golden.Bf16(name)
                                    : golden.Fp32(name == "logits" ? "logits" : "hidden");
    if (tolerance.abs < 0) continue;
    ExpectNear(got.at(name), tensor.As<float>(), decoder ? options.decoder : options.encoder,
               tolerance, name);
    ++compared;
  }
  // Embeddings, layers and final states of both stacks, and the logits.
  EXPECT_GE(compared, 7);
}

// Greedy tokens equal the reference's: all of them in fp32; in bf16 up to the first step at which
// the reference itself has a margin smaller than twice the error that bf16 is allowed.
TEST_P(HfGoldenTest, GreedyTokens) {
  const GoldenCase golden = GoldenCase::Load(GetParam().name);
  const PaddedTokens encoder = golden.EncoderTokens();
  const HostTensor& want = golden.expected.at("generate.ids");
  const absl::Span<const int64_t> ids = want.As<int64_t>();
  const absl::Span<const float> margins = golden.expected.at("generate.margin").As<float>();
  const int64_t width = want.shape[1];
  const int64_t steps = golden.expected.at("generate.margin").shape[1];
  const int64_t prefix = width - steps;
  const nlohmann::json& eos = golden.facts.at("generate").at("eos_token_id");
  std::vector<DispatchRequest> requests;
  for (int64_t row = 0; row < encoder.rows; ++row) {
    DispatchRequest request;
    for (int64_t i = row * encoder.columns; i < (row + 1) * encoder.columns; ++i) {
      if (encoder.valid[static_cast<size_t>(i)] != 0) {
        request.encoder_ids.push_back(encoder.ids[static_cast<size_t>(i)]);
      }
    }
    SequenceSpec& sequence = request.sequence;
    sequence.id = static_cast<SequenceId>(row);
    for (int64_t i = 0; i < prefix; ++i) {
      sequence.prompt.push_back(static_cast<int32_t>(ids[static_cast<size_t>(row * width + i)]));
    }
    sequence.max_tokens = static_cast<int32_t>(steps);
    sequence.num_logprobs = 2;
    if (eos.is_array()) {
      sequence.stop_token_ids = eos.get<std::vector<int32_t>>();
      std::sort(sequence.stop_token_ids.begin(), sequence.stop_token_ids.end());
    } else {
      sequence.stop_token_ids = {eos.get<int32_t>()};
    }
    requests.push_back(std::move(request));
  }
  SessionSettings settings = SettingsOf(GetParam(), golden.directory);
  settings.max_num_seqs = 2;  // So that rows join and leave.
  const absl::StatusOr<std::map<SequenceId, SequenceDone>> answers =
      GenerateInThreads(GetParam().tp, settings, /*max_batch_tokens=*/32, requests);
  ASSERT_TRUE(answers.ok()) << answers.status();
  ASSERT_EQ(answers->size(), requests.size());
  const bool bf16 = GetParam().dtype == "bfloat16";
  const absl::Span<const float> top_logits = golden.expected.at("generate.top2_logits").As<float>();
  for (const auto& [row, done] : *answers) {
    const SequenceOutput& output = done.outputs[0];
    std::vector<int32_t> tokens = output.token_ids;
    if (output.stop_token >= 0) tokens.push_back(output.stop_token);
    for (int64_t step = 0; step < steps; ++step) {
      const auto at = static_cast<size_t>(static_cast<int64_t>(row) * steps + step);
      if (margins[at] < 0) break;  // The reference has stopped.
      if (bf16 && margins[at] < 2 * golden.Bf16("logits").abs) break;
      ASSERT_LT(static_cast<size_t>(step), tokens.size()) << "row " << row << " ended early";
      ASSERT_EQ(tokens[static_cast<size_t>(step)],
                ids[static_cast<size_t>(static_cast<int64_t>(row) * width + prefix + step)])
          << "row " << row << ", step " << step;
      if (bf16 || static_cast<size_t>(step) >= output.token_ids.size()) continue;
      // The distance of the two best log-probabilities is the distance of their logits.
      const std::vector<Candidate>& top = output.logprobs[static_cast<size_t>(step)].top;
      ASSERT_EQ(top.size(), 2u);
      EXPECT_EQ(top[0].id, tokens[static_cast<size_t>(step)]);
      EXPECT_NEAR(top[0].logit - top[1].logit, top_logits[2 * at] - top_logits[2 * at + 1],
                  2 * golden.Fp32("logits").abs + 1e-4 * std::abs(top_logits[2 * at]));
    }
  }
}

// Scores of the recorded targets: a token's log-probability each, and their sum. All rows of a case
// in one pass; and each row alone, to the same bits.
TEST_P(HfGoldenTest, Scores) {
  if (GetParam().dtype == "bfloat16") return;
  const GoldenCase golden = GoldenCase::Load(GetParam().name);
  const PaddedTokens encoder = golden.EncoderTokens();
  const PaddedTokens decoder = golden.DecoderTokens();
  const absl::Span<const int64_t> targets = golden.inputs.at("target_ids").As<int64_t>();
  const absl::Span<const float> want = golden.expected.at("target.logprobs").As<float>();
  const absl::Span<const float> want_sums = golden.expected.at("target.sum_logprob").As<float>();
  std::vector<DispatchRequest> requests;
  for (int64_t row = 0; row < encoder.rows; ++row) {
    DispatchRequest request;
    for (int64_t i = row * encoder.columns; i < (row + 1) * encoder.columns; ++i) {
      const auto at = static_cast<size_t>(i);
      if (encoder.valid[at] != 0) request.encoder_ids.push_back(encoder.ids[at]);
    }
    request.sequence.id = static_cast<SequenceId>(row);
    request.sequence.num_logprobs = 0;
    for (int64_t t = 0; t < decoder.columns; ++t) {
      const auto at = static_cast<size_t>(row * decoder.columns + t);
      if (decoder.valid[at] == 0) continue;
      if (request.sequence.prompt.empty()) request.sequence.prompt = {decoder.ids[at]};
      request.sequence.target.push_back(static_cast<int32_t>(targets[at]));
    }
    requests.push_back(std::move(request));
  }
  const SessionSettings settings = SettingsOf(GetParam(), golden.directory);
  const auto together = GenerateInThreads(GetParam().tp, settings, 4096, requests);
  ASSERT_TRUE(together.ok()) << together.status();
  ASSERT_EQ(together->size(), requests.size());
  const Tolerance tolerance = golden.Fp32("logprob");
  for (const auto& [row, done] : *together) {
    const SequenceOutput& got = done.outputs.at(0);
    ASSERT_EQ(got.logprobs.size(), requests[row].sequence.target.size());
    double sum = 0;
    for (size_t t = 0; t < got.logprobs.size(); ++t) {
      const float expected = want[row * static_cast<size_t>(decoder.columns) + t];
      EXPECT_NEAR(got.logprobs[t].logprob, expected,
                  tolerance.abs + tolerance.rel * std::abs(expected))
          << "row " << row << ", token " << t;
      sum += static_cast<double>(got.logprobs[t].logprob);
    }
    const double margin = static_cast<double>(got.logprobs.size()) * tolerance.abs +
                          tolerance.rel * std::abs(static_cast<double>(want_sums[row]));
    EXPECT_NEAR(sum, want_sums[row], margin) << "row " << row;
    const auto alone = GenerateInThreads(GetParam().tp, settings, 4096, {requests[row]});
    ASSERT_TRUE(alone.ok()) << alone.status();
    for (size_t t = 0; t < got.logprobs.size(); ++t) {
      EXPECT_EQ(alone->at(row).outputs.at(0).logprobs[t].logprob, got.logprobs[t].logprob);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, HfGoldenTest, ::testing::ValuesIn(AllSetups()),
                         [](const ::testing::TestParamInfo<Setup>& info) {
                           return NameOf(info.param);
                         });

}  // namespace
}  // namespace tandem
