#include "common/protocol/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace tandem {
namespace {

using ::testing::ElementsAre;

SequenceDone Sample() {
  SequenceDone done;
  done.id = 7;
  SequenceOutput& output = done.outputs.emplace_back();
  output.reason = SequenceEnd::kStop;
  output.stop_token = 1;
  output.token_ids = {88, 301};
  output.score = -0.5f;
  output.logprobs = {{.logprob = -0.01f, .top = {{.id = 88, .logit = -0.01f}}},
                     {.logprob = -0.002f, .top = {}}};
  done.start_seconds = 1.5;
  done.end_seconds = 2.5;
  return done;
}

TEST(MessagesTest, SequenceDoneSurvivesTheWire) {
  const absl::StatusOr<SequenceDone> read = SequenceDone::Decode(Sample().Encode());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->id, 7u);
  ASSERT_EQ(read->outputs.size(), 1u);
  const SequenceOutput& output = read->outputs[0];
  EXPECT_EQ(output.reason, SequenceEnd::kStop);
  EXPECT_EQ(output.stop_token, 1);
  EXPECT_EQ(output.completion_tokens(), 3);
  EXPECT_EQ(output.score, -0.5f);
  EXPECT_THAT(output.token_ids, ElementsAre(88, 301));
  ASSERT_EQ(output.logprobs.size(), 2u);
  ASSERT_EQ(output.logprobs[0].top.size(), 1u);
  EXPECT_EQ(output.logprobs[0].top[0].id, 88);
  EXPECT_EQ(output.logprobs[0].top[0].logit, -0.01f);
  EXPECT_TRUE(output.logprobs[1].top.empty());
  EXPECT_EQ(read->end_seconds, 2.5);
}

TEST(MessagesTest, EveryFieldOfASequenceIsCarried) {
  Admit admit;
  admit.decoder_group = 3;
  SequenceSpec& sequence = admit.sequence;
  sequence.id = 9;
  sequence.memory = 4;
  sequence.prompt = {2, 5};
  sequence.max_tokens = 11;
  sequence.min_tokens = 1;
  sequence.stop_token_ids = {1, 106};
  sequence.num_logprobs = 2;
  sequence.choice = {.temperature = 0.7f,
                     .top_k = 40,
                     .top_p = 0.9f,
                     .min_p = 0.1f,
                     .seed = 0x123456789abcdefULL,
                     .sample = 6,
                     .repetition_penalty = 1.2f,
                     .presence_penalty = 0.3f,
                     .frequency_penalty = -0.4f,
                     .no_repeat_ngram_size = 3,
                     .bad_words = {{{7, 8}}, {{9}}},
                     .logit_bias = {{.id = 12, .bias = -5.0f}}};
  sequence.beams = {.num_beams = 4,
                    .num_outputs = 2,
                    .length_penalty = 0.5f,
                    .early_stopping = EarlyStop::kNever};
  sequence.streams = 1;
  sequence.target = {3, 4};
  const absl::StatusOr<Admit> read = Admit::Decode(admit.Encode());
  ASSERT_TRUE(read.ok()) << read.status();
  const SequenceSpec& got = read->sequence;
  EXPECT_EQ(got.choice.top_k, 40);
  EXPECT_EQ(got.choice.seed, 0x123456789abcdefULL);
  EXPECT_EQ(got.choice.sample, 6u);
  ASSERT_EQ(got.choice.bad_words.size(), 2u);
  EXPECT_THAT(got.choice.bad_words[0].token_ids, ElementsAre(7, 8));
  ASSERT_EQ(got.choice.logit_bias.size(), 1u);
  EXPECT_EQ(got.choice.logit_bias[0].bias, -5.0f);
  EXPECT_EQ(got.beams.early_stopping, EarlyStop::kNever);
  EXPECT_THAT(got.target, ElementsAre(3, 4));
  // What was not looked at is in the bytes all the same.
  EXPECT_EQ(read->Encode(), admit.Encode());
}

TEST(MessagesTest, EncodeBatchKeepsItsItems) {
  EncodeBatch batch;
  batch.batch_id = 3;
  batch.encoder_group = 1;
  batch.decoder_group = 2;
  batch.items = {{.key = 5, .token_ids = {2, 3, 4}, .positions = {}},
                 {.key = 6, .token_ids = {2}, .positions = {9}}};
  const absl::StatusOr<EncodeBatch> read = EncodeBatch::Decode(batch.Encode());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->decoder_group, 2);
  ASSERT_EQ(read->items.size(), 2u);
  EXPECT_THAT(read->items[0].token_ids, ElementsAre(2, 3, 4));
  EXPECT_THAT(read->items[1].positions, ElementsAre(9));
}

TEST(MessagesTest, EveryCutAndEveryAdditionIsRefused) {
  const std::vector<std::byte> bytes = Sample().Encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(SequenceDone::Decode(absl::MakeConstSpan(bytes).first(size)).status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
  std::vector<std::byte> longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_EQ(SequenceDone::Decode(longer).status().code(), absl::StatusCode::kDataLoss);
}

// A length field of any value must not make the reader allocate what the message cannot hold, nor
// read past its end (the sanitizers watch).
TEST(MessagesTest, DamagedBytesNeverCrash) {
  std::mt19937 random(1);
  const std::vector<std::byte> bytes = Sample().Encode();
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> damaged = bytes;
    for (int i = 0; i < 4; ++i) damaged[random() % damaged.size()] = std::byte(random());
    (void)SequenceDone::Decode(damaged);
    (void)EncodeBatch::Decode(damaged);
    (void)ForwardDecode::Decode(damaged);
    (void)EncoderOutput::Decode(damaged);
  }
}

}  // namespace
}  // namespace tandem
