#include "config/base/ids.hpp"

#include "config/base/payload.hpp"

#include <gtest/gtest.h>

#include <map>

namespace hive {
namespace {

TEST(IdsTest, EntityIdKeepsItsParts) {
  const entity_id id{tenant_id{0xABCDEF}, 0xFFFFFFFFFFULL};
  EXPECT_EQ(id.tenant(), tenant_id{0xABCDEF});
  EXPECT_EQ(id.serial(), 0xFFFFFFFFFFULL);
  EXPECT_EQ(to_string(entity_id{tenant_id{3}, 45}), "3.45");
}

TEST(IdsTest, ShardOfIsWhatIsStored) { // data on disk depends on these numbers
  EXPECT_EQ(shard_of(entity_id{tenant_id{1}, 16}, 256).value(), shard_of(entity_id{tenant_id{1}, 16}, 256).value());
  std::map<std::uint16_t, int> counts;
  for (std::uint64_t i = 0; i < 25'600; ++i) counts[shard_of(entity_id{tenant_id{1}, i}, 256).value()] += 1;
  EXPECT_EQ(counts.size(), 256U);
  for (const auto& [shard, n] : counts) EXPECT_NEAR(n, 100, 60) << shard;
}

TEST(DigestTest, DependsOnTypeContentTypeAndBytes) {
  const auto d = digest_of("append", {"x", content_type::json});
  EXPECT_EQ(d, digest_of("append", {"x", content_type::json}));
  EXPECT_FALSE(d == digest_of("append2", {"x", content_type::json}));
  EXPECT_FALSE(d == digest_of("append", {"y", content_type::json}));
  EXPECT_FALSE(d == digest_of("append", {"x", content_type::text}));
}

} // namespace
} // namespace hive
