#include "coordinator/decode_work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "coordinator/answers.h"
#include "tests/unit/coordinator/demo_tokenizer.h"
#include "tests/unit/coordinator/played_ranks.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Envelope Streamed(SequenceId id, int32_t token) {
  StreamedTokens tokens;
  tokens.tokens.push_back({.id = id, .token = token});
  return Message(MessageKind::kTokens, tokens.Encode());
}

Envelope DoneWith(SequenceId id, std::vector<int32_t> ids,
                  SequenceEnd reason = SequenceEnd::kLength) {
  SequenceDone done;
  done.id = id;
  SequenceOutput output;
  output.reason = reason;
  output.token_ids = std::move(ids);
  done.outputs.push_back(std::move(output));
  return Message(MessageKind::kSequenceDone, done.Encode());
}

PreparedRequest RequestWith(std::vector<std::string> stop, uint32_t num_samples = 1,
                            int num_prompts = 1) {
  PreparedRequest prepared;
  prepared.request.id = {.json = "\"a\"", .key = "a"};
  prepared.request.decoding.n = static_cast<int32_t>(num_samples);
  prepared.request.decoding.stop = std::move(stop);
  for (int i = 0; i < num_prompts; ++i) {
    DispatchRequest prompt = RequestOf(0, {2, 30 + i});
    prompt.num_samples = num_samples;
    prompt.sequence.choice.sample = static_cast<uint32_t>(i) * num_samples;
    prompt.sequence.streams = prepared.request.decoding.stop.empty() ? 0 : 1;
    prepared.prompts.push_back(std::move(prompt));
  }
  return prepared;
}

class DecodeWorkTest : public ::testing::Test {
 protected:
  void Start(PreparedRequest request) {
    work_.Start(number_++, std::move(request));
    ranks_.Take(work_.Dispatch());
  }
  void Handle(const Envelope& message) {
    const absl::Status status = work_.Handle(message);
    ASSERT_TRUE(status.ok()) << status;
    ranks_.Take(work_.Dispatch());
  }
  std::vector<std::string> Lines() {
    std::vector<std::string> lines;
    const auto finished = work_.TakeFinished();
    for (const FinishedRequest& request : *finished) lines.push_back(request.line);
    return lines;
  }

  DecodeWork work_{Config(1, 32), &DemoTokenizer(), [](const DecodedRequest& decoded) {
                     return GenerateResult(decoded, &DemoTokenizer(), /*text_format=*/true);
                   }};
  Ranks ranks_;
  int64_t number_ = 0;
};

TEST_F(DecodeWorkTest, AStopStringEndsASequenceOnce) {
  Start(RequestWith({"XI"}));
  Handle(Started(0));
  const std::vector<int32_t> ids = Tokens({"M", "X", "I", "V"});
  Handle(Streamed(0, ids[0]));
  Handle(Streamed(0, ids[1]));
  EXPECT_THAT(ranks_.finished, IsEmpty());
  Handle(Streamed(0, ids[2]));
  EXPECT_THAT(ranks_.finished, ElementsAre(0));
  Handle(Streamed(0, ids[3]));  // The decoder was a step ahead.
  EXPECT_THAT(ranks_.finished, ElementsAre(0));
  EXPECT_THAT(Lines(), IsEmpty());
  Handle(DoneWith(0, ids, SequenceEnd::kFinished));
  EXPECT_THAT(Lines(), ElementsAre("M"));
  Handle(BatchEncoded(ranks_.batches[0]));
  EXPECT_TRUE(work_.idle());
}

TEST_F(DecodeWorkTest, TheResultIsTheSameWhereTheSequenceIsDoneBefore) {
  // Its end crosses the last tokens, or its tokens never come.
  Start(RequestWith({"XI"}));
  Handle(Started(0));
  Handle(DoneWith(0, Tokens({"M", "X", "I", "V", "V"})));
  EXPECT_THAT(Lines(), ElementsAre("M"));
  Handle(Streamed(0, 5));
  EXPECT_THAT(ranks_.finished, IsEmpty());
}

TEST_F(DecodeWorkTest, AnEvictedSequenceBeginsItsTextAnew) {
  Start(RequestWith({"XX", "IVI"}));
  Handle(Started(0));
  const std::vector<int32_t> ids = Tokens({"X", "I", "V", "I"});
  Handle(Streamed(0, ids[0]));
  Handle(Evicted(0));
  Handle(BatchEncoded(ranks_.batches.front()));
  Handle(Started(0));
  Handle(Streamed(0, ids[0]));  // Behind the old X it would be a stop string.
  EXPECT_THAT(ranks_.finished, IsEmpty());
  for (size_t i = 1; i < ids.size(); ++i) Handle(Streamed(0, ids[i]));
  EXPECT_THAT(ranks_.finished, ElementsAre(0));
  Handle(DoneWith(0, ids, SequenceEnd::kFinished));
  EXPECT_THAT(Lines(), ElementsAre("X"));
}

TEST_F(DecodeWorkTest, EvictedWhileItsEndWasOnTheWayItIsToldAgain) {
  Start(RequestWith({"I"}));
  Handle(Started(0));
  Handle(Streamed(0, Tokens({"I"})[0]));
  EXPECT_THAT(ranks_.finished, ElementsAre(0));
  Handle(Evicted(0));
  Handle(Started(0));
  Handle(Streamed(0, Tokens({"I"})[0]));
  EXPECT_THAT(ranks_.finished, ElementsAre(0, 0));
}

TEST_F(DecodeWorkTest, SamplesShareOneEncoding) {
  Start(RequestWith({}, /*num_samples=*/16));
  ASSERT_EQ(ranks_.batches.size(), 1u);
  EXPECT_EQ(ranks_.batches[0].items.size(), 1u);
  ASSERT_EQ(ranks_.admitted.size(), 16u);
  std::set<uint32_t> samples;
  for (const auto& [id, admit] : ranks_.admitted) {
    EXPECT_EQ(admit.sequence.memory, ranks_.batches[0].items[0].key);
    samples.insert(admit.sequence.choice.sample);
  }
  EXPECT_EQ(samples.size(), 16u);
  EXPECT_EQ(*samples.begin(), 0u);
  EXPECT_EQ(*samples.rbegin(), 15u);
  EXPECT_EQ(work_.counts().prompts_encoded, 1);
  // They end in any order; the result has them in theirs, once all are there.
  for (const auto& [id, admit] : ranks_.admitted) Handle(Started(id));
  std::string expected;
  for (SequenceId i = 16; i-- > 0;) {
    EXPECT_THAT(Lines(), IsEmpty());
    EXPECT_THAT(ranks_.released, IsEmpty());
    Handle(DoneWith(i, std::vector<int32_t>(i + 1, Tokens({"I"})[0])));
    expected = std::string(i + 1, 'I') + (i == 15 ? "" : "\n") + expected;
  }
  EXPECT_THAT(Lines(), ElementsAre(expected));
  EXPECT_EQ(ranks_.released.size(), 1u);
}

TEST_F(DecodeWorkTest, AnEvictedSampleKeepsItsNumber) {
  Start(RequestWith({}, /*num_samples=*/3));
  for (SequenceId id = 0; id < 3; ++id) Handle(Started(id));
  Handle(Evicted(2));
  Handle(BatchEncoded(ranks_.batches.front()));
  const SequenceSpec& again = ranks_.admitted.at(2).sequence;
  EXPECT_EQ(again.choice.sample, 2u);
  EXPECT_NE(again.memory, ranks_.admitted.at(0).sequence.memory);
  EXPECT_EQ(ranks_.admitted.size(), 3u);
}

TEST_F(DecodeWorkTest, PromptsOfOneRequestAreOneResult) {
  Start(RequestWith({}, /*num_samples=*/2, /*num_prompts=*/2));
  EXPECT_EQ(ranks_.admitted.size(), 4u);
  EXPECT_EQ(ranks_.admitted.at(2).sequence.choice.sample, 2u);
  EXPECT_NE(ranks_.admitted.at(2).sequence.memory, ranks_.admitted.at(1).sequence.memory);
  const std::vector<std::vector<int32_t>> ids = {Tokens({"I"}), Tokens({"V"}), Tokens({"X"}),
                                                 Tokens({"L"})};
  for (const SequenceId id : {3, 0, 2}) Handle(DoneWith(id, ids[id]));
  EXPECT_THAT(Lines(), IsEmpty());
  Handle(DoneWith(1, ids[1]));
  EXPECT_THAT(Lines(), ElementsAre("I\nV\nX\nL"));
}

TEST_F(DecodeWorkTest, WhatMakesNoSenseIsAnError) {
  Start(RequestWith({}));
  EXPECT_FALSE(work_.Handle(Message(MessageKind::kOrder, {})).ok());
  EXPECT_FALSE(work_.Handle(Message(MessageKind::kSequenceDone, {})).ok());
  EXPECT_FALSE(work_.Handle(DoneWith(9, {1})).ok());
  EXPECT_THAT(std::string(work_.Handle(Done(0)).message()), HasSubstr("without an output"));
}

}  // namespace
}  // namespace tandem
