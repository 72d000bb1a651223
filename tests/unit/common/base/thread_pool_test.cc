#include "common/base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

using ::testing::Each;

class ThreadPoolTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 3, 7));

TEST_P(ThreadPoolTest, RunsEveryMemberOnceAndTheCallerAsMemberZero) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.num_threads(), GetParam());
  std::vector<int> runs(static_cast<size_t>(GetParam()));
  const auto caller = std::this_thread::get_id();
  for (int i = 0; i < 2000; ++i) {  // Many rounds: a lost wake-up would hang here.
    pool.Run([&](int thread) {
      ++runs[static_cast<size_t>(thread)];
      EXPECT_EQ(thread == 0, std::this_thread::get_id() == caller);
    });
  }
  EXPECT_THAT(runs, Each(2000));
}

// What members wrote before the end of a Run is seen after it, and by all members in the next.
TEST_P(ThreadPoolTest, IsABarrier) {
  ThreadPool pool(GetParam());
  std::vector<int> value(static_cast<size_t>(GetParam()));
  std::atomic<int> wrong = 0;
  for (int round = 1; round <= 500; ++round) {
    pool.Run([&](int thread) { value[static_cast<size_t>(thread)] = round; });
    pool.Run([&](int) {
      for (int v : value) wrong += v != round;
    });
  }
  EXPECT_EQ(wrong, 0);
}

TEST_P(ThreadPoolTest, WakesMembersThatSleep) {
  ThreadPool pool(GetParam());
  std::atomic<int> runs = 0;
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // Far beyond the spin.
    pool.Run([&](int thread) {
      if (thread != 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      ++runs;
    });
  }
  EXPECT_EQ(runs, 5 * GetParam());
}

TEST_P(ThreadPoolTest, RangesCoverTheCountOnceInEvenParts) {
  ThreadPool pool(GetParam());
  for (int64_t grain : {1, 4, 16}) {
    for (int64_t count : {0, 1, 5, 16, 17, 100, 1000}) {
      std::vector<int> hits(static_cast<size_t>(count));
      std::vector<int64_t> units(static_cast<size_t>(GetParam()));
      pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end, int thread) {
        EXPECT_LT(begin, end);
        EXPECT_EQ(begin % grain, 0);
        EXPECT_TRUE(end % grain == 0 || end == count);
        units[static_cast<size_t>(thread)] += (end - begin + grain - 1) / grain;
        for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
      });
      EXPECT_THAT(hits, Each(1)) << count << " by " << grain;
      const auto [least, most] = std::minmax_element(units.begin(), units.end());
      EXPECT_LE(*most - *least, 1) << count << " by " << grain;
      EXPECT_EQ(std::accumulate(units.begin(), units.end(), int64_t{0}),
                (count + grain - 1) / grain);
    }
  }
}

TEST_P(ThreadPoolTest, EveryMemberFlushesDenormals) {
  ThreadPool pool(GetParam());
  std::vector<float> product(static_cast<size_t>(GetParam()), 1.0f);
  std::vector<float> read = product;
  pool.Run([&](int thread) {
    volatile float small = 0x1p-100f, denormal = 0x1p-140f, large = 0x1p100f;
    product[static_cast<size_t>(thread)] = small * small;  // Flushed to zero.
    read[static_cast<size_t>(thread)] = denormal * large;  // Taken as zero.
  });
  EXPECT_THAT(product, Each(0.0f));
  EXPECT_THAT(read, Each(0.0f));
}

TEST(ThreadPoolPinTest, PinsEachMemberToOneCpuWhereThereAreEnough) {
  cpu_set_t usable;
  ASSERT_EQ(pthread_getaffinity_np(pthread_self(), sizeof usable, &usable), 0);
  const int num_cpus = CPU_COUNT(&usable);
  for (int num_threads : {std::min(num_cpus, 4), num_cpus + 1}) {
    ThreadPool pool(num_threads, /*pin=*/true);
    std::vector<int> allowed(static_cast<size_t>(num_threads));
    pool.Run([&](int thread) {
      cpu_set_t set;
      pthread_getaffinity_np(pthread_self(), sizeof set, &set);
      allowed[static_cast<size_t>(thread)] = CPU_COUNT(&set);
    });
    EXPECT_EQ(allowed[0], num_cpus);  // The caller's affinity is the caller's.
    for (size_t i = 1; i < allowed.size(); ++i) {
      EXPECT_EQ(allowed[i], num_threads <= num_cpus ? 1 : num_cpus);
    }
  }
}

TEST(ThreadPoolTeamsTest, TeamsOfSeveralRanksWorkAtOnce) {
  std::vector<std::thread> ranks;
  std::atomic<int64_t> sum = 0;
  for (int rank = 0; rank < 3; ++rank) {
    ranks.emplace_back([&sum] {
      ThreadPool pool(2);
      for (int i = 0; i < 200; ++i) {
        pool.ParallelFor(100, 1, [&](int64_t begin, int64_t end, int) { sum += end - begin; });
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
  EXPECT_EQ(sum, 3 * 200 * 100);
}

}  // namespace
}  // namespace tandem
