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
  done.reason = SequenceEnd::kStop;
  done.stop_token = 1;
  done.completion_tokens = 3;
  done.token_ids = {88, 301};
  done.cumulative_logprob = -0.0123f;
  done.logprobs = {{.logprob = -0.01f, .top = {{.id = 88, .logit = -0.01f}}},
                   {.logprob = -0.002f, .top = {}}};
  done.start_seconds = 1.5;
  done.end_seconds = 2.5;
  return done;
}

TEST(MessagesTest, SequenceDoneSurvivesTheWire) {
  const absl::StatusOr<SequenceDone> read = SequenceDone::Decode(Sample().Encode());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->id, 7u);
  EXPECT_EQ(read->reason, SequenceEnd::kStop);
  EXPECT_EQ(read->stop_token, 1);
  EXPECT_THAT(read->token_ids, ElementsAre(88, 301));
  ASSERT_EQ(read->logprobs.size(), 2u);
  ASSERT_EQ(read->logprobs[0].top.size(), 1u);
  EXPECT_EQ(read->logprobs[0].top[0].id, 88);
  EXPECT_EQ(read->logprobs[0].top[0].logit, -0.01f);
  EXPECT_TRUE(read->logprobs[1].top.empty());
  EXPECT_EQ(read->end_seconds, 2.5);
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
