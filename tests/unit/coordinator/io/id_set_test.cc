#include "coordinator/io/id_set.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

TEST(IdSetTest, FindsDuplicatesAndNothingElse) {
  IdSet ids;
  EXPECT_TRUE(ids.Insert(""));
  EXPECT_FALSE(ids.Insert(""));
  constexpr int kIds = 300'000;  // Every shard grows several times.
  for (int i = 0; i < kIds; ++i) ASSERT_TRUE(ids.Insert(absl::StrCat("id-", i))) << i;
  for (int i = 0; i < kIds; i += 7) ASSERT_FALSE(ids.Insert(absl::StrCat("id-", i))) << i;
  EXPECT_FALSE(ids.Insert(""));
  EXPECT_TRUE(ids.Insert("id-"));
  EXPECT_TRUE(ids.Insert(std::string("id-\0", 4)));
  EXPECT_EQ(ids.size(), kIds + 3);
}

// At every number of ids, not only after a lucky growth: the promise is 16 bytes a line. Before a
// hundred thousand the first tables weigh more.
TEST(IdSetTest, TakesAtMostSixteenBytesAnId) {
  IdSet ids;
  double most = 0.0;
  double sum = 0.0;
  int64_t samples = 0;
  for (int64_t i = 1; i <= 3'000'000; ++i) {
    ids.Insert(absl::StrCat(i));
    if (i < 100'000 || i % 1000 != 0) continue;
    const double bytes = static_cast<double>(ids.memory_bytes()) / static_cast<double>(i);
    most = std::max(most, bytes);
    sum += bytes;
    ++samples;
  }
  EXPECT_LE(most, 16.0);
  RecordProperty("bytes_an_id_most", std::to_string(most));
  RecordProperty("bytes_an_id_mean", std::to_string(sum / static_cast<double>(samples)));
  std::printf("bytes an id: at most %.2f, on average %.2f\n", most,
              sum / static_cast<double>(samples));
}

}  // namespace
}  // namespace tandem
