#include "coordinator/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "tests/unit/coordinator/played_ranks.h"

namespace tandem {
namespace {

using ::testing::ElementsAre;

TEST(DispatcherTest, BatchesFillTheTokenBudgetWithTheNearestLengths) {
  Dispatcher dispatcher(Config(1, 32, /*max_batch_tokens=*/30));
  dispatcher.Add(RequestOf(0, std::vector<int32_t>(10, 1)));
  dispatcher.Add(RequestOf(1, std::vector<int32_t>(25, 2)));
  dispatcher.Add(RequestOf(2, std::vector<int32_t>(9, 3)));
  dispatcher.Add(RequestOf(3, std::vector<int32_t>(11, 4)));
  Ranks ranks;
  ranks.Take(dispatcher.Dispatch());
  // The oldest, of 10 tokens; 9 and 11 are nearest and fill the 30. Then the long one alone.
  ASSERT_EQ(ranks.batches.size(), 2u);
  ASSERT_EQ(ranks.batches[0].items.size(), 3u);
  EXPECT_EQ(ranks.batches[0].items[0].token_ids.size(), 10u);
  EXPECT_EQ(ranks.batches[0].items[1].token_ids.size(), 9u);
  EXPECT_EQ(ranks.batches[0].items[2].token_ids.size(), 11u);
  EXPECT_EQ(ranks.batches[1].items.size(), 1u);
}

TEST(DispatcherTest, APromptLongerThanTheBudgetTravelsAlone) {
  Dispatcher dispatcher(Config(1, 32, /*max_batch_tokens=*/8));
  dispatcher.Add(RequestOf(0, std::vector<int32_t>(100, 1)));
  dispatcher.Add(RequestOf(1, {5}));
  Ranks ranks;
  ranks.Take(dispatcher.Dispatch());
  ASSERT_GE(ranks.batches.size(), 1u);
  EXPECT_EQ(ranks.batches[0].items.size(), 1u);
}

TEST(DispatcherTest, EqualPromptsInFlightAreEncodedOnce) {
  Dispatcher dispatcher(Config(2, 8));
  Ranks ranks;
  dispatcher.Add(RequestOf(0, {2, 7, 7}));
  dispatcher.Add(RequestOf(1, {2, 7, 7}));  // In the same batch.
  ranks.Take(dispatcher.Dispatch());
  dispatcher.Add(RequestOf(2, {2, 7, 7}));  // While they are in flight.
  ranks.Take(dispatcher.Dispatch());
  EXPECT_EQ(dispatcher.counts().prompts_encoded, 1);
  EXPECT_EQ(dispatcher.counts().prompts_shared, 2);
  ASSERT_EQ(ranks.admitted.size(), 3u);
  EXPECT_EQ(ranks.admitted[0].sequence.memory, ranks.admitted[2].sequence.memory);
  EXPECT_EQ(ranks.admitted[0].decoder_group, ranks.admitted[2].decoder_group);
  for (const SequenceId id : {0, 1}) ASSERT_TRUE(dispatcher.Handle(Done(id)).ok());
  ranks.Take(dispatcher.Dispatch());
  EXPECT_TRUE(ranks.released.empty());  // The third still reads it.
  ASSERT_TRUE(dispatcher.Handle(Done(2)).ok());
  ranks.Take(dispatcher.Dispatch());
  EXPECT_THAT(ranks.released, ElementsAre(ranks.admitted[0].sequence.memory));
  EXPECT_FALSE(dispatcher.idle());  // A message is still to come.
  ASSERT_TRUE(dispatcher.Handle(BatchEncoded(ranks.batches[0])).ok());
  EXPECT_TRUE(dispatcher.idle());
}

TEST(DispatcherTest, TwinsWaitForTheirGroupRatherThanBeEncodedTwice) {
  Dispatcher dispatcher(Config(2, /*max_num_seqs=*/1));
  Ranks ranks;
  dispatcher.Add(RequestOf(0, {2, 7}));
  dispatcher.Add(RequestOf(1, {2, 7}));
  ranks.Take(dispatcher.Dispatch());
  EXPECT_EQ(ranks.admitted.size(), 1u);  // Its group has no room, the other group is not asked.
  ASSERT_TRUE(dispatcher.Handle(Started(0)).ok());
  ranks.Take(dispatcher.Dispatch());
  EXPECT_EQ(ranks.admitted.size(), 2u);
  EXPECT_EQ(dispatcher.counts().prompts_encoded, 1);
}

TEST(DispatcherTest, DecoderGroupsShareTheLoad) {
  Dispatcher dispatcher(Config(2, /*max_num_seqs=*/2, /*max_batch_tokens=*/2));
  for (int32_t id = 0; id < 4; ++id) {
    dispatcher.Add(RequestOf(static_cast<SequenceId>(id), {2, 10 + id}));
  }
  Ranks ranks;
  ranks.Take(dispatcher.Dispatch());
  while (ranks.admitted.size() < 4) {
    ASSERT_FALSE(ranks.batches.empty());
    ASSERT_TRUE(dispatcher.Handle(BatchEncoded(ranks.batches.back())).ok());
    ranks.batches.pop_back();
    ranks.Take(dispatcher.Dispatch());
  }
  std::map<int, int> load;
  for (const auto& [id, admit] : ranks.admitted) ++load[admit.decoder_group];
  EXPECT_EQ(load[1], 2);
  EXPECT_EQ(load[2], 2);
}

TEST(DispatcherTest, AnEvictedSequenceIsEncodedAgainFirst) {
  Dispatcher dispatcher(Config(1, /*max_num_seqs=*/1));
  Ranks ranks;
  dispatcher.Add(RequestOf(0, {2, 7}));
  dispatcher.Add(RequestOf(1, {2, 8}));
  dispatcher.Add(RequestOf(2, {2, 9}));
  ranks.Take(dispatcher.Dispatch());
  const MemoryKey first = ranks.admitted.at(0).sequence.memory;
  ASSERT_TRUE(dispatcher.Handle(Started(0)).ok());
  ranks.Take(dispatcher.Dispatch());
  ASSERT_TRUE(dispatcher.Handle(BatchEncoded(ranks.batches[0])).ok());
  ASSERT_TRUE(dispatcher.Handle(Evicted(0)).ok());
  ASSERT_TRUE(dispatcher.Handle(Started(1)).ok());
  ranks.Take(dispatcher.Dispatch());
  EXPECT_THAT(ranks.released, ElementsAre(first));
  EXPECT_NE(ranks.admitted.at(0).sequence.memory, first);
  EXPECT_EQ(ranks.admitted.count(2), 0u);
  EXPECT_EQ(dispatcher.counts().evictions, 1);
}

TEST(DispatcherTest, PagesAtMostCountsPromptAndWholeAnswer) {
  SequenceSpec sequence = RequestOf(0, {1}).sequence;
  sequence.max_tokens = 32;  // With the start token 33 positions.
  EXPECT_EQ(Dispatcher::PagesAtMost(33, sequence), 2 + 2);
  sequence.beams.num_beams = 3;
  EXPECT_EQ(Dispatcher::PagesAtMost(33, sequence), 2 + 3 * 2);
  sequence.beams.num_beams = 1;
  sequence.target.assign(64, 5);  // Nothing is generated.
  EXPECT_EQ(Dispatcher::PagesAtMost(33, sequence), 2 + 3);
}

TEST(DispatcherTest, AMessageAboutAnUnknownSequenceIsAnError) {
  Dispatcher dispatcher(Config(1, 1));
  EXPECT_FALSE(dispatcher.Handle(Done(5)).ok());
  EXPECT_FALSE(dispatcher.Handle(Started(5)).ok());
  EXPECT_FALSE(dispatcher.Handle(Evicted(5)).ok());
  EncodeBatch never_sent;
  EXPECT_FALSE(dispatcher.Handle(BatchEncoded(never_sent)).ok());
  never_sent.encoder_group = 7;  // There is none.
  EXPECT_FALSE(dispatcher.Handle(BatchEncoded(never_sent)).ok());
}

// Ranks that answer in any order and evict at random: every request ends exactly once, nothing is
// released that is in use, and all memories are released in the end.
class DispatcherSimulation : public ::testing::TestWithParam<int> {};

TEST_P(DispatcherSimulation, EachRequestEndsOnce) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const int num_decoders = 1 + static_cast<int>(random() % 3);
  const int max_num_seqs = 1 + static_cast<int>(random() % 4);
  Dispatcher dispatcher(Config(num_decoders, max_num_seqs, 1 + static_cast<int>(random() % 20)));
  const SequenceId num_requests = 60;
  SequenceId added = 0;
  std::set<SequenceId> finished;
  std::vector<EncodeBatch> to_encode;
  std::set<SequenceId> waiting;
  std::set<SequenceId> live;
  std::map<SequenceId, MemoryKey> memory_of;
  std::set<MemoryKey> encoded;
  std::set<MemoryKey> released;
  for (int round = 0; round < 100000 && finished.size() < num_requests; ++round) {
    while (added < num_requests && dispatcher.WantsRequests() && random() % 3 != 0) {
      std::vector<int32_t> ids(1 + random() % 6, static_cast<int32_t>(random() % 5));
      dispatcher.Add(RequestOf(added++, std::move(ids)));
    }
    Ranks ranks;
    ranks.Take(dispatcher.Dispatch());
    for (EncodeBatch& batch : ranks.batches) to_encode.push_back(std::move(batch));
    for (const auto& [id, admit] : ranks.admitted) {
      waiting.insert(id);
      memory_of[id] = admit.sequence.memory;
      EXPECT_EQ(released.count(admit.sequence.memory), 0u);
    }
    for (const MemoryKey key : ranks.released) {
      EXPECT_TRUE(released.insert(key).second);
      for (const SequenceId id : waiting) EXPECT_NE(memory_of[id], key);
      for (const SequenceId id : live) EXPECT_NE(memory_of[id], key);
    }
    const auto pick = [&](const std::set<SequenceId>& from) {
      auto it = from.begin();
      std::advance(it, random() % from.size());
      return *it;
    };
    switch (random() % 4) {
      case 0:
        if (to_encode.empty()) break;
        for (const EncodeItem& item : to_encode.front().items) {
          EXPECT_TRUE(encoded.insert(item.key).second);
        }
        ASSERT_TRUE(dispatcher.Handle(BatchEncoded(to_encode.front())).ok());
        to_encode.erase(to_encode.begin());
        break;
      case 1: {
        if (waiting.empty()) break;
        const SequenceId id = pick(waiting);
        if (encoded.count(memory_of[id]) == 0) break;
        ASSERT_TRUE(dispatcher.Handle(Started(id)).ok());
        waiting.erase(id);
        live.insert(id);
        break;
      }
      case 2: {
        if (live.empty()) break;
        const SequenceId id = pick(live);
        live.erase(id);
        ASSERT_TRUE(dispatcher.Handle(Done(id)).ok());
        break;
      }
      default: {
        std::set<SequenceId>& from = random() % 2 == 0 ? live : waiting;
        if (from.empty() || random() % 4 != 0) break;
        const SequenceId id = pick(from);
        from.erase(id);
        ASSERT_TRUE(dispatcher.Handle(Evicted(id)).ok());
      }
    }
    for (const SequenceDone& done : dispatcher.TakeDone()) {
      EXPECT_TRUE(finished.insert(done.id).second);
    }
  }
  EXPECT_EQ(finished.size(), num_requests);
  for (const EncodeBatch& batch : to_encode) {
    ASSERT_TRUE(dispatcher.Handle(BatchEncoded(batch)).ok());
  }
  EXPECT_TRUE(dispatcher.idle());
  Ranks ranks;
  ranks.Take(dispatcher.Dispatch());
  released.insert(ranks.released.begin(), ranks.released.end());
  EXPECT_EQ(released.size(), static_cast<size_t>(dispatcher.counts().prompts_encoded));
}

INSTANTIATE_TEST_SUITE_P(Seeds, DispatcherSimulation, ::testing::Range(0, 200));

}  // namespace
}  // namespace tandem
