// tests/cluster/shard_map_test.cpp mirrors cluster/shard_map.hpp
#include "cluster/shard_map.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace hive::cluster {
namespace {

TEST(ShardMap, KnowsNothingAtFirst) {
  shard_map map(8);
  EXPECT_EQ(map.find(shard_id{3}).owner, node_generation{});
  EXPECT_FALSE(map.find(shard_id{3}).here);
  EXPECT_EQ(map.find(shard_id{8}).owner, node_generation{}) << "a number beyond the last shard is nobody's";
}

TEST(ShardMap, KnowledgeOnlyGrows) {
  shard_map map(8);
  EXPECT_TRUE(map.learn(shard_id{1}, node_generation{7}, epoch{5}));
  EXPECT_FALSE(map.learn(shard_id{1}, node_generation{6}, epoch{4}));
  EXPECT_EQ(map.find(shard_id{1}).owner, node_generation{7});
  EXPECT_EQ(map.find(shard_id{1}).fence, epoch{5});
  map.clear();
  EXPECT_TRUE(map.learn(shard_id{1}, node_generation{6}, epoch{4})) << "another timeline of the store begins anew";
}

TEST(ShardMap, ServingEndsWithTheEpoch) {
  shard_map map(8);
  map.learn(shard_id{1}, node_generation{7}, epoch{5});
  map.serve(shard_id{1}, true, true);
  EXPECT_TRUE(map.find(shard_id{1}).here);
  EXPECT_TRUE(map.find(shard_id{1}).closing);
  EXPECT_EQ(map.find(shard_id{1}).fence, epoch{5});
  map.learn(shard_id{1}, node_generation{8}, epoch{6});
  EXPECT_FALSE(map.find(shard_id{1}).here);
  EXPECT_FALSE(map.find(shard_id{1}).closing);
}

TEST(ShardMap, VersionRisesOnlyWithAChange) {
  shard_map map(8);
  map.learn(shard_id{1}, node_generation{7}, epoch{5});
  const auto version = map.version();
  map.learn(shard_id{1}, node_generation{7}, epoch{5});
  map.serve(shard_id{1}, false, false);
  EXPECT_EQ(map.version(), version);
  map.serve(shard_id{1}, true, false);
  EXPECT_GT(map.version(), version);
}

TEST(ShardMap, ReadersNeverSeeHalfAChange) {
  shard_map map(1);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> torn{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      while (!stop) {
        const auto r = map.find(shard_id{0});
        if (r.owner.value() != r.fence.value() * 3) ++torn; // as the writer always writes it
      }
    });
  for (std::uint64_t e = 1; e <= 200'000; ++e) map.learn(shard_id{0}, node_generation{e * 3}, epoch{e});
  stop = true;
  for (auto& t : readers) t.join();
  EXPECT_EQ(torn, 0U);
}

} // namespace
} // namespace hive::cluster
