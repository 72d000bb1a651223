#include "common/transport/host_info.h"

#include "common/parallel/thread_world.h"
#include "common/transport/connect.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

TEST(GatherPlacesTest, RanksOfOneProcessShareTheHost) {
  RunRanks(3, [](World& world) {
    const auto places = GatherPlaces(world);
    ASSERT_TRUE(places.ok()) << places.status();
    ASSERT_EQ(places->size(), 3u);
    for (int rank = 0; rank < 3; ++rank) {
      const RankPlace& place = (*places)[static_cast<size_t>(rank)];
      EXPECT_EQ(place.host, HostName());
      EXPECT_EQ(place.local_rank, rank);
      EXPECT_EQ(place.local_size, 3);
    }
  });
}

// ctest starts this program without a launcher.
TEST(ConnectWorldTest, WithoutALauncherIsOneRank) {
  const auto world = ConnectWorld();
  ASSERT_TRUE(world.ok()) << world.status();
  EXPECT_EQ((*world)->rank(), 0);
  EXPECT_EQ((*world)->size(), 1);
  EXPECT_FALSE(HostName().empty());
  EXPECT_FALSE(GetMpiVersions().header.empty());
}

}  // namespace
}  // namespace tandem
