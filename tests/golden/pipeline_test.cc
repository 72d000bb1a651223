// Pipelining and batching are real: what works beside what, what is computed once, what is put
// back. Ranks are threads of this process; times are those the leaders put into their messages
// (order, not duration).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <vector>

#include "common/parallel/thread_world.h"
#include "coordinator/cli/run_job.h"
#include "tests/testing/generate.h"

namespace tandem {
namespace {

const std::string kModel = std::string(TANDEM_TEST_DATA) + "/hf/text_sliding";
constexpr int kEncoder = static_cast<int>(StageKind::kEncoder);
constexpr int kDecoder = static_cast<int>(StageKind::kDecoder);

SessionSettings Settings(int encoder_tp, int decoder_tp, bool colocate, int max_num_seqs) {
  SessionSettings settings;
  settings.model = kModel;
  settings.threads = 1;
  settings.max_num_seqs = max_num_seqs;
  settings.kv_cache_mb = 8;
  settings.layout_flags.tp[kEncoder] = encoder_tp;
  settings.layout_flags.tp[kDecoder] = decoder_tp;
  settings.layout_flags.colocate = colocate;
  return settings;
}

DispatchRequest Request(SequenceId id, int length, int max_tokens) {
  DispatchRequest request;
  for (int i = 0; i < length; ++i) {
    request.encoder_ids.push_back(
        5 + static_cast<int32_t>((id * 31 + static_cast<uint64_t>(i) * 7) % 300));
  }
  request.sequence.id = id;
  request.sequence.prompt = {2};
  request.sequence.max_tokens = max_tokens;
  return request;
}

TEST(PipelineTest, TheEncoderWorksOnTheNextWhileTheDecoderWorksOnEarlier) {
  std::vector<DispatchRequest> requests;
  for (SequenceId id = 0; id < 12; ++id) requests.push_back(Request(id, 40, 600));
  GenerateTrace trace;
  // A rank each; few tokens a batch, so that there are many batches.
  const auto answers = GenerateInThreads(2, Settings(1, 1, false, 4), 80, requests, &trace);
  ASSERT_TRUE(answers.ok()) << answers.status();
  ASSERT_GE(trace.batches.size(), 4u);
  int overlaps = 0;
  for (const Encoded& batch : trace.batches) {
    for (const auto& [id, done] : *answers) {
      overlaps +=
          done.start_seconds < batch.start_seconds && batch.start_seconds < done.end_seconds;
    }
  }
  EXPECT_GT(overlaps, 0);
}

TEST(PipelineTest, ALateShortRequestEndsBeforeAnEarlyLongOne) {
  // Long enough that the others come in time, however busy the machine is.
  std::vector<DispatchRequest> requests = {Request(0, 10, 4000)};
  for (SequenceId id = 1; id < 6; ++id) requests.push_back(Request(id, 10, 2));
  const auto answers = GenerateInThreads(1, Settings(1, 1, true, 2), 10, requests);
  ASSERT_TRUE(answers.ok()) << answers.status();
  const SequenceDone& early = answers->at(0);
  const SequenceDone& late = answers->at(5);
  ASSERT_EQ(early.outputs[0].completion_tokens(), 4000);
  EXPECT_LT(early.start_seconds, late.start_seconds);
  EXPECT_LT(late.end_seconds, early.end_seconds);
}

TEST(PipelineTest, EqualPromptsAreEncodedOnce) {
  std::vector<DispatchRequest> requests;
  for (SequenceId id = 0; id < 8; ++id) {
    requests.push_back(Request(id, 20, 10));
    requests.back().encoder_ids = requests.front().encoder_ids;
  }
  GenerateTrace trace;
  const auto answers = GenerateInThreads(3, Settings(1, 2, false, 3), 4096, requests, &trace);
  ASSERT_TRUE(answers.ok()) << answers.status();
  EXPECT_EQ(trace.counts.prompts_encoded, 1);
  EXPECT_EQ(trace.counts.prompts_shared, 7);
  for (const auto& [id, done] : *answers) {
    EXPECT_EQ(done.outputs[0].token_ids, answers->at(0).outputs[0].token_ids) << id;
  }
}

// K/V memory for a few sequences only: sequences are put back and computed again, to the same
// tokens.
TEST(PipelineTest, SequencesPutBackGiveTheSameTokens) {
  std::vector<DispatchRequest> requests;
  for (SequenceId id = 0; id < 16; ++id) {
    requests.push_back(Request(id, 30 + static_cast<int>(id) * 3, 150));
    requests.back().sequence.num_logprobs = 1;
  }
  for (const int ranks : {1, 2}) {
    SessionSettings settings = Settings(ranks, ranks, true, 8);
    const auto want = GenerateInThreads(ranks, settings, 4096, requests);
    ASSERT_TRUE(want.ok()) << want.status();
    // A page of this model: 3 layers x 1 KV head x 32 tokens x 16 channels x K and V x 4 bytes = 12
    // KiB; KV heads are replicated, so it is the same on two ranks. One MiB has 85 pages; a
    // sequence takes up to 8.
    settings.kv_cache_mb = 1;
    settings.max_num_seqs = 16;
    GenerateTrace trace;
    const auto got = GenerateInThreads(ranks, settings, 4096, requests, &trace);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_GT(trace.counts.evictions, 0);
    for (const auto& [id, done] : *want) {
      EXPECT_EQ(got->at(id).outputs[0].token_ids, done.outputs[0].token_ids) << id;
      for (size_t i = 0; i < done.outputs[0].logprobs.size(); ++i) {
        EXPECT_EQ(got->at(id).outputs[0].logprobs[i].logprob, done.outputs[0].logprobs[i].logprob);
      }
    }
  }
}

// What two runs came to, compared to the bit.
void ExpectSame(const std::map<SequenceId, SequenceDone>& got,
                const std::map<SequenceId, SequenceDone>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [id, done] : want) {
    const SequenceDone& other = got.at(id);
    ASSERT_EQ(other.outputs.size(), done.outputs.size()) << id;
    for (size_t k = 0; k < done.outputs.size(); ++k) {
      EXPECT_EQ(other.outputs[k].token_ids, done.outputs[k].token_ids) << id;
      EXPECT_EQ(other.outputs[k].score, done.outputs[k].score) << id;
      ASSERT_EQ(other.outputs[k].logprobs.size(), done.outputs[k].logprobs.size()) << id;
      for (size_t i = 0; i < done.outputs[k].logprobs.size(); ++i) {
        EXPECT_EQ(other.outputs[k].logprobs[i].logprob, done.outputs[k].logprobs[i].logprob) << id;
      }
    }
  }
}

// Sixteen samples of one prompt: one encoding, one copy of its K/V on the decoder, and sixteen
// different answers that are the same with any number of rows in a step.
TEST(PipelineTest, SamplesShareTheEncodingAndItsKv) {
  DispatchRequest request = Request(0, 70, 20);
  request.num_samples = 16;
  request.sequence.num_logprobs = 0;
  request.sequence.choice.temperature = 1.0f;
  request.sequence.choice.top_p = 0.95f;
  std::map<SequenceId, SequenceDone> want;
  for (const int max_num_seqs : {16, 1, 5}) {
    for (const int ranks : {1, 3}) {
      GenerateTrace trace;
      const auto got =
          GenerateInThreads(ranks, Settings(1, std::min(ranks, 2), ranks == 1, max_num_seqs), 4096,
                            {request}, &trace);
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(trace.counts.prompts_encoded, 1);
      EXPECT_EQ(trace.counts.memories_stored, 1);
      if (want.empty()) want = *got;
      ExpectSame(*got, want);
    }
  }
  std::set<std::vector<int32_t>> different;
  for (const auto& [id, done] : want) different.insert(done.outputs[0].token_ids);
  EXPECT_GT(different.size(), 12u);
}

// Beams of a long decoder prompt hold it once: twelve copies of its ten pages would not fit into
// the memory's 85. What is copied is the last, partly filled page alone, at most once for each beam
// but one in a step, and never for one beam alone.
TEST(PipelineTest, BeamsShareTheirPages) {
  DispatchRequest request = Request(0, 40, 25);
  for (int i = 0; i < 310; ++i) request.sequence.prompt.push_back(5 + i % 400);
  request.sequence.num_logprobs = 0;
  std::map<SequenceId, SequenceDone> want;
  for (const int mb : {8, 1}) {
    for (const int ranks : {1, 2}) {
      SessionSettings settings = Settings(ranks, ranks, true, 4);
      settings.kv_cache_mb = mb;
      request.sequence.beams = {.num_beams = 12, .num_outputs = 12};
      GenerateTrace trace;
      const auto got = GenerateInThreads(ranks, settings, 4096, {request}, &trace);
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(trace.counts.prompts_encoded, 1);
      EXPECT_EQ(trace.counts.memories_stored, 1);
      EXPECT_EQ(trace.counts.evictions, 0);
      EXPECT_GT(trace.counts.pages_copied, 0);
      EXPECT_LE(trace.counts.pages_copied, 25 * 11);
      if (want.empty()) want = *got;
      ExpectSame(*got, want);
    }
  }
  request.sequence.beams = {};
  GenerateTrace trace;
  ASSERT_TRUE(GenerateInThreads(1, Settings(1, 1, true, 4), 4096, {request}, &trace).ok());
  EXPECT_EQ(trace.counts.pages_copied, 0);
}

// Samples, beams and targets that are put back come to the same bits; and so do they in any
// company.
TEST(PipelineTest, WhatIsPutBackIsComputedAlike) {
  std::vector<DispatchRequest> requests;
  for (int i = 0; i < 12; ++i) {
    requests.push_back(Request(static_cast<SequenceId>(10 * i), 30 + i * 5, 200));
    SequenceSpec& sequence = requests.back().sequence;
    sequence.num_logprobs = 1;
    sequence.choice.seed = static_cast<uint64_t>(i);
    if (i % 4 == 0) {
      sequence.beams = {.num_beams = 3, .num_outputs = 2};
      sequence.choice.no_repeat_ngram_size = 3;
    }
    if (i % 4 == 1) {
      requests.back().num_samples = 4;
      sequence.choice.temperature = 1.5f;
      sequence.choice.repetition_penalty = 1.3f;
    }
    if (i % 4 == 2) {
      sequence.choice.temperature = 0.9f;
      sequence.choice.top_k = 30;
      sequence.choice.min_p = 0.01f;
    }
    if (i % 4 == 3) {
      for (int t = 0; t < 150; ++t) sequence.target.push_back(5 + (t * i) % 300);
    }
  }
  const auto want = GenerateInThreads(1, Settings(1, 1, true, 64), 4096, requests);
  ASSERT_TRUE(want.ok()) << want.status();
  for (const int ranks : {1, 2, 4}) {
    SessionSettings settings = Settings(ranks, ranks, true, 40);
    settings.kv_cache_mb = 1;
    GenerateTrace trace;
    const auto got = GenerateInThreads(ranks, settings, 4096, requests, &trace);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_GT(trace.counts.evictions, 0);
    ExpectSame(*got, *want);
  }
}

// Groups that share ranks in every way: one scheduler gives each island its work in one order, so
// nothing waits in a circle.
TEST(PipelineTest, OverlappingGroupsDoNotWaitForEachOther) {
  const std::string folder = ::testing::TempDir();
  const std::string path = folder + "/overlap.yaml";
  FILE* file = fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  fputs("encoder: [{ranks: [2, 3]}, {ranks: [1]}]\ndecoder: [{ranks: [0, 1]}, {ranks: [2]}]\n",
        file);
  fclose(file);
  SessionSettings settings = Settings(1, 1, false, 4);
  settings.layout_flags = LayoutFlags();
  std::vector<DispatchRequest> requests;
  for (SequenceId id = 0; id < 40; ++id) {
    requests.push_back(Request(id, 10 + static_cast<int>(id % 7) * 9, 12));
  }
  const auto want = GenerateInThreads(1, settings, 64, requests);
  ASSERT_TRUE(want.ok()) << want.status();
  settings.layout_file = path;
  const auto got = GenerateInThreads(4, settings, 64, requests);
  ASSERT_TRUE(got.ok()) << got.status();
  for (const auto& [id, done] : *want) {
    EXPECT_EQ(got->at(id).outputs[0].token_ids, done.outputs[0].token_ids) << id;
  }
}

TEST(PipelineTest, ARankReadsItsShareOfTheSplitWeights) {
  const auto bytes_read = [](int ranks) {
    std::vector<int64_t> bytes(static_cast<size_t>(ranks));
    const absl::Status status = RunRanksOrAbort(ranks, [&](World& world) {
      SessionSettings settings = Settings(ranks, ranks, true, 4);
      auto session = Session::Open(world, settings, absl::OkStatus());
      if (!session.ok()) return session.status();
      const absl::Status loaded = (*session)->LoadWeights(nullptr);
      bytes[static_cast<size_t>(world.rank())] = (*session)->bytes_read();
      return loaded;
    });
    EXPECT_TRUE(status.ok()) << status;
    return bytes;
  };
  // text_sliding: hidden 64, 4 heads of 16, one KV head, MLP 128, 3 + 3 layers, 512 tokens, fp32.
  // Split are q, o, gate, up, down and the table; every rank reads k, v, norms and the EOI vector.
  const int64_t whole = bytes_read(1)[0];
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(kModel);
  ASSERT_TRUE(config.ok());
  const TextStackConfig& stack = config->encoder;
  const int64_t layers = config->encoder.num_layers + config->decoder.num_layers;
  const int64_t split = 4 * (layers * (2 * stack.hidden_dim * stack.num_heads * stack.head_dim +
                                       3 * stack.hidden_dim * stack.intermediate_dim) +
                             stack.vocab_size * stack.hidden_dim);
  ASSERT_LT(split, whole);
  // Leaves of whole units of 16 features make the shares differ by a few units of the MLP.
  const int64_t unit = 4 * layers * 3 * stack.hidden_dim * 16;
  for (const int ranks : {2, 4}) {
    int64_t sum = 0;
    for (const int64_t bytes : bytes_read(ranks)) {
      sum += bytes;
      EXPECT_LE(std::abs(bytes - (whole - split + split / ranks)), unit) << ranks << " ranks";
    }
    EXPECT_EQ(sum, ranks * (whole - split) + split) << ranks << " ranks";
  }
}

}  // namespace
}  // namespace tandem
