#include "coordinator/embed_work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "tests/unit/coordinator/played_ranks.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

PreparedRequest RequestWith(std::vector<std::vector<int32_t>> prompts) {
  PreparedRequest prepared;
  for (std::vector<int32_t>& ids : prompts) prepared.prompts.emplace_back().encoder_ids = ids;
  return prepared;
}

EncoderOutput OutputOf(MemoryKey key, std::vector<float> data, uint64_t rows = 1) {
  EncoderOutput output;
  output.decoder_group = -1;
  output.key = key;
  output.rows = rows;
  output.hidden_dim = data.size() / rows;
  output.data.resize(data.size() * sizeof(float));
  std::memcpy(output.data.data(), data.data(), output.data.size());
  return output;
}

Envelope Embedding(const EncoderOutput& output) {
  return Message(MessageKind::kEmbedded, output.Encode());
}

// What is embedded is written down as it comes; nothing is formatted.
class EmbedWorkTest : public ::testing::Test {
 protected:
  std::unique_ptr<EmbedWork> Work(int64_t max_batch_tokens, Pooling pooling = Pooling::kMean) {
    return std::make_unique<EmbedWork>(Groups(0), max_batch_tokens, pooling,
                                       [this](const EmbeddedRequest& embedded) {
                                         embedded_.push_back(embedded);
                                         return FinishedRequest{.number = embedded.number};
                                       });
  }
  static std::vector<int64_t> Finished(EmbedWork& work) {
    std::vector<int64_t> numbers;
    const auto finished = work.TakeFinished();
    for (const FinishedRequest& request : *finished) numbers.push_back(request.number);
    return numbers;
  }

  std::vector<EmbeddedRequest> embedded_;
};

TEST_F(EmbedWorkTest, APromptGoesToAnEncoderAndComesBack) {
  const auto work = Work(100, Pooling::kLast);
  PreparedRequest request = RequestWith({{2, 5, 6}});
  request.truncated = true;
  work->Start(4, std::move(request));
  EXPECT_FALSE(work->idle());
  Ranks ranks;
  ranks.Take(work->Dispatch());
  ASSERT_EQ(ranks.batches.size(), 1u);
  const EncodeBatch& batch = ranks.batches[0];
  EXPECT_EQ(batch.decoder_group, -1);
  EXPECT_EQ(batch.pooling, Pooling::kLast);
  ASSERT_EQ(batch.items.size(), 1u);
  EXPECT_THAT(batch.items[0].token_ids, ElementsAre(2, 5, 6));
  ASSERT_TRUE(work->Handle(Embedding(OutputOf(batch.items[0].key, {0.5f, -2}))).ok());
  EXPECT_FALSE(work->idle());  // A message is still to come.
  ASSERT_TRUE(work->Handle(BatchEncoded(batch)).ok());
  EXPECT_TRUE(work->idle());
  EXPECT_THAT(Finished(*work), ElementsAre(4));
  ASSERT_EQ(embedded_.size(), 1u);
  EXPECT_THAT(embedded_[0].prompts[0].data, ElementsAre(0.5f, -2));
  EXPECT_EQ(embedded_[0].prompt_tokens, 3);
  EXPECT_TRUE(embedded_[0].truncated);
}

TEST_F(EmbedWorkTest, EqualPromptsInFlightAreEncodedOnce) {
  const auto work = Work(100);
  work->Start(0, RequestWith({{2, 5}}));
  work->Start(1, RequestWith({{2, 5}, {2, 6}}));
  Ranks ranks;
  ranks.Take(work->Dispatch());
  ASSERT_EQ(ranks.batches.size(), 1u);
  ASSERT_EQ(ranks.batches[0].items.size(), 2u);
  work->Start(2, RequestWith({{2, 5}}));
  ranks.Take(work->Dispatch());
  EXPECT_EQ(ranks.batches.size(), 1u);  // It is on its way.
  EXPECT_EQ(work->counts().prompts_encoded, 2);
  EXPECT_EQ(work->counts().prompts_shared, 2);
  EXPECT_EQ(work->counts().encoder_batches, 1);
  ASSERT_TRUE(work->Handle(Embedding(OutputOf(ranks.batches[0].items[0].key, {1}))).ok());
  EXPECT_THAT(Finished(*work), ElementsAre(0, 2));  // The second still lacks a prompt.
  // What came is forgotten: the same prompt is encoded again.
  work->Start(3, RequestWith({{2, 5}}));
  ranks.Take(work->Dispatch());
  ASSERT_EQ(ranks.batches.size(), 2u);
  EXPECT_NE(ranks.batches[1].items[0].key, ranks.batches[0].items[0].key);
  ASSERT_TRUE(work->Handle(Embedding(OutputOf(ranks.batches[0].items[1].key, {7}))).ok());
  EXPECT_THAT(Finished(*work), ElementsAre(1));
  EXPECT_THAT(embedded_.back().prompts[0].data, ElementsAre(1));
  EXPECT_THAT(embedded_.back().prompts[1].data, ElementsAre(7));
}

TEST_F(EmbedWorkTest, BatchesAreOfNearLengthsAndTwoAGroupAreAhead) {
  const auto work = Work(30);
  const size_t lengths[] = {10, 25, 9, 11, 26, 24};
  for (size_t i = 0; i < 6; ++i) {
    work->Start(static_cast<int64_t>(i),
                RequestWith({std::vector<int32_t>(lengths[i], static_cast<int32_t>(i))}));
  }
  Ranks ranks;
  ranks.Take(work->Dispatch());
  ASSERT_EQ(ranks.batches.size(), 2u);
  const auto batch_lengths = [&](size_t batch) {
    std::vector<size_t> out;
    for (const EncodeItem& item : ranks.batches[batch].items) out.push_back(item.token_ids.size());
    return out;
  };
  EXPECT_THAT(batch_lengths(0), ElementsAre(10, 9, 11));
  EXPECT_THAT(batch_lengths(1), ElementsAre(25));
  ranks.Take(work->Dispatch());
  EXPECT_EQ(ranks.batches.size(), 2u);
  ASSERT_TRUE(work->Handle(BatchEncoded(ranks.batches[0])).ok());
  ranks.Take(work->Dispatch());
  ASSERT_EQ(ranks.batches.size(), 3u);
  EXPECT_THAT(batch_lengths(2), ElementsAre(26));
}

TEST_F(EmbedWorkTest, WhatMakesNoSenseIsAnError) {
  const auto work = Work(100);
  work->Start(0, RequestWith({{2, 5}}));
  Ranks ranks;
  ranks.Take(work->Dispatch());
  const EncoderOutput good = OutputOf(ranks.batches[0].items[0].key, {1, 2});
  const auto refuses = [&](void (*spoil)(EncoderOutput&)) {
    EncoderOutput output = good;
    spoil(output);
    return !work->Handle(Embedding(output)).ok();
  };
  EXPECT_TRUE(refuses([](EncoderOutput& o) { ++o.key; }));
  EXPECT_TRUE(refuses([](EncoderOutput& o) { o.bf16 = 1; }));
  EXPECT_TRUE(refuses([](EncoderOutput& o) { o.hidden_dim = 3; }));
  EXPECT_TRUE(refuses([](EncoderOutput& o) { o.data.pop_back(); }));
  EXPECT_TRUE(refuses([](EncoderOutput& o) { o.data.clear(), o.hidden_dim = 0; }));
  EXPECT_TRUE(refuses([](EncoderOutput& o) { o.rows = 2, o.hidden_dim = 1; }));  // Pooled: one.
  EXPECT_TRUE(refuses([](EncoderOutput& o) { o.rows = 5; }));
  // Products that overflow to the right size.
  EXPECT_TRUE(
      refuses([](EncoderOutput& o) { o.rows = 1, o.hidden_dim = (uint64_t{1} << 62) + 2; }));
  EXPECT_TRUE(refuses([](EncoderOutput& o) { o.rows = 0, o.hidden_dim = 0, o.data.clear(); }));
  EXPECT_FALSE(work->Handle(Message(MessageKind::kEmbedded, {})).ok());
  EXPECT_FALSE(work->Handle(Done(0)).ok());
  EncodeBatch unknown = ranks.batches[0];
  unknown.encoder_group = 3;
  EXPECT_FALSE(work->Handle(BatchEncoded(unknown)).ok());
  EXPECT_THAT(Finished(*work), IsEmpty());
  EXPECT_TRUE(work->Handle(Embedding(good)).ok());
  EXPECT_FALSE(work->Handle(Embedding(good)).ok());  // Once.
}

TEST_F(EmbedWorkTest, WholeStatesHaveARowAToken) {
  const auto work = Work(100, Pooling::kNone);
  work->Start(0, RequestWith({{2, 5}}));
  Ranks ranks;
  ranks.Take(work->Dispatch());
  const MemoryKey key = ranks.batches[0].items[0].key;
  EXPECT_FALSE(work->Handle(Embedding(OutputOf(key, {1, 2, 3, 4}, /*rows=*/1))).ok());
  ASSERT_TRUE(work->Handle(Embedding(OutputOf(key, {1, 2, 3, 4}, /*rows=*/2))).ok());
  EXPECT_EQ(embedded_[0].prompts[0].rows, 2);
  EXPECT_THAT(embedded_[0].prompts[0].data, ElementsAre(1, 2, 3, 4));
}

}  // namespace
}  // namespace tandem
