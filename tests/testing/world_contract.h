// What every World and its communicators do, as tests. A test program includes this in one file and
// instantiates WorldContractTest with its implementation (ranks as threads, MPI processes).
#ifndef TANDEM_TESTS_TESTING_WORLD_CONTRACT_H_
#define TANDEM_TESTS_TESTING_WORLD_CONTRACT_H_

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "common/parallel/communicator.h"
#include "common/parallel/waiting.h"
#include "common/parallel/world.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {

// Runs a body on this process's ranks of a job: all of them for threads, one for MPI.
struct WorldRunner {
  std::string name;
  int world_size = 1;
  size_t large_message_bytes = 1'000'000;
  std::function<void(absl::FunctionRef<void(World& world)> body)> run;
};

inline void PrintTo(const WorldRunner& runner, std::ostream* out) { *out << runner.name; }

class WorldContractTest : public ::testing::TestWithParam<WorldRunner> {
 protected:
  // All ranks end a test together: the messages of the next do not come into this one.
  void Run(absl::FunctionRef<void(World& world)> body) {
    GetParam().run([&](World& world) {
      body(world);
      EXPECT_TRUE(world.Gather({}).ok());
    });
  }
};

// --- What the tests send ---

// A rank's floats, over 20 binary orders of magnitude and of both signs: the order of a sum shows.
inline std::vector<float> PartialOf(int rank, size_t count) {
  std::mt19937 random(static_cast<uint32_t>(1000 + rank));
  std::vector<float> out(count);
  for (float& value : out) {
    const auto bits = static_cast<uint32_t>(random());
    const float mantissa = static_cast<float>(bits & 0xffffff) / float{1 << 24} - 0.5f;
    value = std::ldexp(mantissa, static_cast<int>(bits >> 24) % 20);
  }
  return out;
}

// The tree, as communicator.h states it; written apart from TreeSum.
inline std::vector<float> SerialTreeSum(std::vector<std::vector<float>> partials) {
  for (size_t step = 1; step < partials.size(); step *= 2) {
    for (size_t r = 0; r + step < partials.size(); r += 2 * step) {
      for (size_t i = 0; i < partials[r].size(); ++i) partials[r][i] += partials[r + step][i];
    }
  }
  return partials[0];
}

inline std::vector<std::vector<float>> PartialsOf(absl::Span<const int> ranks, size_t count) {
  std::vector<std::vector<float>> partials;
  for (int rank : ranks) partials.push_back(PartialOf(rank, count));
  return partials;
}

inline bool SameBits(absl::Span<const float> a, absl::Span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

inline std::vector<std::byte> BytesOf(size_t count, uint32_t seed) {
  std::vector<std::byte> out(count);
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (size_t i = 0; i < count; i += sizeof(state)) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::memcpy(out.data() + i, &state, std::min(sizeof(state), count - i));
  }
  return out;
}

// Not EXPECT_EQ, which would print megabytes.
inline bool SameBytes(absl::Span<const std::byte> a, absl::Span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

inline std::vector<int> AllRanksOf(const World& world) {
  std::vector<int> ranks(static_cast<size_t>(world.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

inline std::unique_ptr<Communicator> GroupOf(World& world, const std::vector<int>& ranks) {
  absl::StatusOr<std::unique_ptr<Communicator>> group = world.MakeGroup(ranks);
  EXPECT_TRUE(group.ok()) << group.status();
  return group.ok() ? *std::move(group) : nullptr;
}

// The next message, or none after a minute: long for any machine, short of ctest's limit.
inline std::optional<Envelope> Receive(World& world) {
  absl::StatusOr<std::optional<Envelope>> message = WaitForMessage(world, std::chrono::minutes(1));
  EXPECT_TRUE(message.ok()) << message.status();
  EXPECT_TRUE(message.ok() && message->has_value()) << "rank " << world.rank() << " waited in vain";
  return message.ok() ? *std::move(message) : std::nullopt;
}

// --- Collectives ---

TEST_P(WorldContractTest, AllReduceSumHasTheBitsOfTheSerialTree) {
  Run([](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    ASSERT_NE(group, nullptr);
    for (size_t count : {0, 1, 7, 63, 64, 65, 1000, 1024, 16384, 20000, 20001, 300000}) {
      std::vector<float> data = PartialOf(world.rank(), count);
      ASSERT_TRUE(group->AllReduceSum(absl::MakeSpan(data)).ok());
      EXPECT_TRUE(SameBits(data, SerialTreeSum(PartialsOf(AllRanksOf(world), count))))
          << "count " << count << " rank " << world.rank();
    }
  });
}

// The check above means something: on the same data, a sum in rank order has other bits.
TEST(WorldContractDataTest, OrderOfTheSumShows) {
  const std::vector<std::vector<float>> partials = PartialsOf({0, 1, 2, 3}, 1000);
  std::vector<float> in_rank_order = partials[0];
  for (size_t r = 1; r < 4; ++r) {
    for (size_t i = 0; i < 1000; ++i) in_rank_order[i] += partials[r][i];
  }
  EXPECT_FALSE(SameBits(in_rank_order, SerialTreeSum(partials)));
}

TEST_P(WorldContractTest, AllReduceSumTakesUnalignedSpans) {
  Run([](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    ASSERT_NE(group, nullptr);
    std::vector<float> data = PartialOf(world.rank(), 40003);
    const std::vector<float> sum = SerialTreeSum(PartialsOf(AllRanksOf(world), 40003));
    const float first = data.front();
    const float last = data.back();
    ASSERT_TRUE(group->AllReduceSum(absl::MakeSpan(data).subspan(1, 40001)).ok());
    EXPECT_TRUE(
        SameBits(absl::MakeSpan(data).subspan(1, 40001), absl::MakeSpan(sum).subspan(1, 40001)));
    EXPECT_EQ(data.front(), first);
    EXPECT_EQ(data.back(), last);
  });
}

TEST_P(WorldContractTest, AllGatherPlacesByRank) {
  Run([](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    ASSERT_NE(group, nullptr);
    for (size_t bytes : {0, 1, 13, 4096, 300001}) {
      std::vector<std::byte> expected;
      for (int rank : AllRanksOf(world)) {
        const std::vector<std::byte> part = BytesOf(bytes, static_cast<uint32_t>(rank));
        expected.insert(expected.end(), part.begin(), part.end());
      }
      std::vector<std::byte> all(expected.size());
      const std::vector<std::byte> mine = BytesOf(bytes, static_cast<uint32_t>(world.rank()));
      ASSERT_TRUE(group->AllGather(mine, absl::MakeSpan(all)).ok());
      EXPECT_TRUE(SameBytes(all, expected)) << bytes;

      // `mine` may be its own place in `all`.
      std::vector<std::byte> in_place(expected.size());
      const auto place =
          absl::MakeSpan(in_place).subspan(bytes * static_cast<size_t>(world.rank()), bytes);
      std::copy(mine.begin(), mine.end(), place.begin());
      ASSERT_TRUE(group->AllGather(place, absl::MakeSpan(in_place)).ok());
      EXPECT_TRUE(SameBytes(in_place, expected)) << bytes;
    }
  });
}

TEST_P(WorldContractTest, MergeDisjointTakesTheOwnersWord) {
  Run([](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    ASSERT_NE(group, nullptr);
    const auto owner = [&](size_t i) { return static_cast<int>(i * 7 % 11) % world.size(); };
    for (size_t count : {0, 1, 5, 2000, 100003}) {
      std::vector<uint32_t> data(count, 0);
      std::vector<uint32_t> expected(count);
      for (size_t i = 0; i < count; ++i) {
        expected[i] = 0x80000001u ^ static_cast<uint32_t>(i * 2654435761u);  // NaNs too.
        if (owner(i) == world.rank()) data[i] = expected[i];
      }
      ASSERT_TRUE(group->MergeDisjoint(absl::MakeSpan(data)).ok());
      EXPECT_EQ(data, expected) << count;
    }
  });
}

TEST_P(WorldContractTest, BroadcastFromEveryRoot) {
  Run([](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    ASSERT_NE(group, nullptr);
    for (int root = 0; root < world.size(); ++root) {
      for (size_t bytes : {0, 1, 4097, 250000}) {
        const auto seed = static_cast<uint32_t>(bytes) + static_cast<uint32_t>(root);
        std::vector<std::byte> data(bytes);
        if (world.rank() == root) data = BytesOf(bytes, seed);
        ASSERT_TRUE(group->Broadcast(absl::MakeSpan(data), root).ok());
        EXPECT_TRUE(SameBytes(data, BytesOf(bytes, seed)));
      }
    }
    EXPECT_TRUE(group->Barrier().ok());
  });
}

// --- Groups ---

TEST_P(WorldContractTest, OverlappingGroupsAreIndependent) {
  Run([](World& world) {
    std::vector<std::vector<int>> groups = {AllRanksOf(world), {world.size() - 1}};
    for (int first = 0; first + 1 < world.size(); ++first) groups.push_back({first, first + 1});
    if (world.size() >= 3) groups.push_back({0, world.size() - 1});
    if (world.size() >= 3) groups.push_back({0, 2});
    groups.push_back(AllRanksOf(world));  // The same ranks again: another group.

    std::vector<std::pair<std::vector<int>, std::unique_ptr<Communicator>>> mine;
    for (const std::vector<int>& ranks : groups) {
      const auto place = std::find(ranks.begin(), ranks.end(), world.rank());
      if (place == ranks.end()) continue;
      mine.emplace_back(ranks, GroupOf(world, ranks));
      ASSERT_NE(mine.back().second, nullptr);
      EXPECT_EQ(mine.back().second->rank(), place - ranks.begin());
      EXPECT_EQ(mine.back().second->size(), static_cast<int>(ranks.size()));
    }
    for (auto& [ranks, group] : mine) {
      for (size_t count : {100, 30000}) {
        std::vector<float> data = PartialOf(world.rank(), count);
        ASSERT_TRUE(group->AllReduceSum(absl::MakeSpan(data)).ok());
        EXPECT_TRUE(SameBits(data, SerialTreeSum(PartialsOf(ranks, count))));
      }
    }
  });
}

TEST_P(WorldContractTest, RefusesRanksThatAreNoGroup) {
  Run([](World& world) {
    const int me = world.rank();
    const std::vector<std::vector<int>> refused = {
        {}, {me, me}, {me, world.size()}, {-1, me}, {me + 1}};
    for (const std::vector<int>& ranks : refused) {
      const absl::Status status = world.MakeGroup(ranks).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    }
    if (world.size() >= 2) {
      const std::vector<int> descending =
          me == 0 ? std::vector<int>{1, 0} : std::vector<int>{me, 0};
      EXPECT_FALSE(world.MakeGroup(descending).ok());
    }
  });
}

TEST_P(WorldContractTest, GatherTakesPartsOfAnySize) {
  Run([](World& world) {
    const auto part = [](int rank) {
      return BytesOf(static_cast<size_t>(rank) * 5000, static_cast<uint32_t>(rank));
    };
    for (int repeat = 0; repeat < 3; ++repeat) {
      const auto all = world.Gather(part(world.rank()));
      ASSERT_TRUE(all.ok()) << all.status();
      ASSERT_EQ(static_cast<int>(all->size()), world.size());
      for (int rank : AllRanksOf(world)) EXPECT_EQ((*all)[static_cast<size_t>(rank)], part(rank));
    }
  });
}

// --- Messages ---

// Receives what every rank, this one too, has sent by `message_of(sender, i)` for i < count, and
// checks that each sender's come in order.
template <class MessageOf>
void ReceiveInOrder(World& world, int count, const MessageOf& message_of) {
  std::vector<int> next(static_cast<size_t>(world.size()), 0);
  for (int i = 0; i < count * world.size(); ++i) {
    const std::optional<Envelope> message = Receive(world);
    ASSERT_TRUE(message.has_value());
    ASSERT_GE(message->source, 0);
    ASSERT_LT(message->source, world.size());
    int& index = next[static_cast<size_t>(message->source)];
    EXPECT_EQ(message->kind, index % 65536) << "from " << message->source;
    ASSERT_TRUE(SameBytes(message->payload, message_of(message->source, index)))
        << "from " << message->source << ", message " << index;
    ++index;
  }
  EXPECT_THAT(next, ::testing::Each(count));
  ASSERT_TRUE(world.Gather({}).ok());  // Each has what it expects: there is nothing more.
  const auto rest = world.Poll();
  ASSERT_TRUE(rest.ok());
  EXPECT_FALSE(rest->has_value());
}

TEST_P(WorldContractTest, MessagesOfAllSizesArriveInOrder) {
  const std::vector<size_t> sizes = {0,      1, 700000,  16,    0, 4080,  4096, 8175, 8176, 8177,
                                     100000, 2, 1 << 18, 65536, 5, 70000, 3,    4,    900,  250000};
  const auto message_of = [&](int sender, int i) {
    return BytesOf(sizes[static_cast<size_t>(i)], static_cast<uint32_t>(sender * 100 + i));
  };
  Run([&](World& world) {
    for (int i = 0; i < static_cast<int>(sizes.size()); ++i) {
      for (int to = 0; to < world.size(); ++to) {
        ASSERT_TRUE(world.Send(to, static_cast<uint16_t>(i), message_of(world.rank(), i)).ok());
      }
    }
    ReceiveInOrder(world, static_cast<int>(sizes.size()), message_of);
    EXPECT_TRUE(world.Flush().ok());
  });
}

TEST_P(WorldContractTest, ManySmallMessagesInFlight) {
  constexpr int kCount = 3000;
  const auto message_of = [](int sender, int i) {
    return BytesOf(static_cast<size_t>(i % 40), static_cast<uint32_t>(sender + i));
  };
  Run([&](World& world) {
    for (int i = 0; i < kCount; ++i) {
      for (int to = 0; to < world.size(); ++to) {
        ASSERT_TRUE(world.Send(to, static_cast<uint16_t>(i), message_of(world.rank(), i)).ok());
      }
    }
    ReceiveInOrder(world, kCount, message_of);
    EXPECT_TRUE(world.Flush().ok());
  });
}

TEST_P(WorldContractTest, FlushEndsWhenAllRanksFlushLargeMessages) {
  const size_t bytes = GetParam().large_message_bytes / 64;
  const auto message_of = [bytes](int sender, int i) {
    return BytesOf(bytes, static_cast<uint32_t>(sender * 10 + i));
  };
  Run([&](World& world) {
    for (int i = 0; i < 3; ++i) {
      for (int to = 0; to < world.size(); ++to) {
        ASSERT_TRUE(world.Send(to, static_cast<uint16_t>(i), message_of(world.rank(), i)).ok());
      }
    }
    ASSERT_TRUE(world.Flush().ok());
    ReceiveInOrder(world, 3, message_of);
  });
}

TEST_P(WorldContractTest, AVeryLargeMessage) {
  const size_t bytes = GetParam().large_message_bytes;
  Run([&](World& world) {
    const int last = world.size() - 1;
    if (world.rank() == 0) {
      ASSERT_TRUE(world.Send(last, 77, BytesOf(bytes, 3)).ok());
    }
    if (world.rank() == last) {
      const std::optional<Envelope> message = Receive(world);
      ASSERT_TRUE(message.has_value());
      EXPECT_EQ(message->source, 0);
      EXPECT_EQ(message->kind, 77);
      EXPECT_EQ(message->payload.size(), bytes);
      EXPECT_TRUE(SameBytes(message->payload, BytesOf(bytes, 3)));
    }
    EXPECT_TRUE(world.Flush().ok());
  });
}

TEST_P(WorldContractTest, MessagesAndCollectivesDoNotMeet) {
  Run([](World& world) {
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    ASSERT_NE(group, nullptr);
    const auto message_of = [](int sender, int i) {
      return BytesOf(i % 3 == 0 ? 200000 : 50, static_cast<uint32_t>(sender + 8 * i));
    };
    const std::vector<float> expected = SerialTreeSum(PartialsOf(AllRanksOf(world), 5000));
    for (int i = 0; i < 20; ++i) {
      const int next = (world.rank() + 1) % world.size();
      for (int to = 0; to < world.size(); ++to) {
        ASSERT_TRUE(world
                        .Send((next + to) % world.size(), static_cast<uint16_t>(i),
                              message_of(world.rank(), i))
                        .ok());
      }
      std::vector<float> data = PartialOf(world.rank(), 5000);
      ASSERT_TRUE(group->AllReduceSum(absl::MakeSpan(data)).ok());
      ASSERT_TRUE(SameBits(data, expected));
    }
    ReceiveInOrder(world, 20, message_of);
    EXPECT_TRUE(world.Flush().ok());
  });
}

TEST_P(WorldContractTest, PollOfNothingReturnsNothing) {
  Run([](World& world) {
    // Nobody sends until all have looked.
    const std::unique_ptr<Communicator> group = GroupOf(world, AllRanksOf(world));
    ASSERT_NE(group, nullptr);
    const auto message = WaitForMessage(world, std::chrono::milliseconds(1));
    ASSERT_TRUE(message.ok());
    EXPECT_FALSE(message->has_value());
    ASSERT_TRUE(group->Barrier().ok());
  });
}

TEST_P(WorldContractTest, RefusesDestinationsOutsideTheJob) {
  Run([](World& world) {
    for (int to : {-1, world.size()}) {
      const absl::Status status = world.Send(to, 1, {});
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    }
  });
}

}  // namespace tandem

#endif  // TANDEM_TESTS_TESTING_WORLD_CONTRACT_H_
