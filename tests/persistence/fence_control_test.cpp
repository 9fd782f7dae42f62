// Negative control: built with a store that checks neither fence nor base version. What store_contract.hpp expects to
// be refused is then committed, so those expectations do fail when the checks are missing.
#include "persistence/sqlite/sqlite_store.hpp"

#include "tests/persistence/temp_dir.hpp"
#include "tests/persistence/turn_maker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hive::test {
namespace {

TEST(FenceControl, WithoutTheChecksAnOldOwnerAndASecondHistoryWrite) {
  temp_dir dir;
  auto store = open_sqlite({.directory = dir.path() / "data", .shard_count = 64, .codec = nullptr, .vfs = {}});
  ASSERT_TRUE(store);
  turn_maker make(**store);
  make.claim_all();
  actor a{entity_id{tenant_id{1}, 5}};
  actor second_history = a;
  auto first = make.turn(a);
  ASSERT_EQ(write(**store, first, make.turn(a)).what, batch_result::kind::done);
  second_history.version = 1;
  EXPECT_THAT(write(**store, make.turn(second_history)).outcomes, testing::ElementsAre(turn_outcome::committed));
  ASSERT_TRUE((*store)->claim(make.shard(a.id)));
  EXPECT_THAT(write(**store, make.turn(a)).outcomes, testing::ElementsAre(turn_outcome::committed));
}

} // namespace
} // namespace hive::test
