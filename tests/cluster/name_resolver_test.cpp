// tests/cluster/name_resolver_test.cpp mirrors cluster/name_resolver.hpp
#include "cluster/name_resolver.hpp"

#include "persistence/refusing_reader.hpp"
#include "tests/support/test_context.hpp"

#include <gtest/gtest.h>

namespace hive::cluster {
namespace {

using namespace std::chrono_literals;

/// Knows one name, or none.
class one_name final : public persistence::refusing_reader {
public:
  one_name() : refusing_reader(error{errc::unavailable, "store_away", "the store is away"}) {}
  result<persistence::directory_row> find(tenant_context, entity_kind, std::string_view) override {
    ++reads;
    if (away) return error{errc::unavailable, "store_away", "the store is away"};
    if (!id) return error{errc::not_found, "not_found", "no such name"};
    persistence::directory_row row;
    row.id = *id;
    return row;
  }
  std::optional<entity_id> id;
  bool away = false;
  int reads = 0;
};

class NameResolverTest : public ::testing::Test {
protected:
  std::optional<entity_id> known() { return names_.known(who_, entity_kind::agent, "bob"); }
  result<entity_id> look_up() { return names_.lookup(store_, who_, entity_kind::agent, "bob"); }
  /// As a node does it.
  std::optional<entity_id> resolve() {
    if (const auto id = known()) return id;
    const auto found = look_up();
    return found ? std::optional(*found) : std::nullopt;
  }

  const tenant_context who_ = test::context_of(3);
  const entity_id first_{tenant_id{3}, 77};
  const entity_id second_{tenant_id{3}, 78};
  manual_clock clock_;
  one_name store_;
  name_resolver names_{1000, &clock_, 30s};
};

// Another node deleted the name and made it anew, and its word was lost.
TEST_F(NameResolverTest, ANameIsNotGoneByForLongerThanItIsRemembered) {
  store_.id = first_;
  ASSERT_EQ(resolve(), first_);
  store_.id = second_;
  clock_.advance(22s);
  EXPECT_EQ(resolve(), first_) << "still remembered";
  EXPECT_EQ(store_.reads, 1);
  clock_.advance(8s);
  EXPECT_FALSE(known());
  EXPECT_EQ(resolve(), second_);
}

TEST_F(NameResolverTest, OneCallerReadsAgainWhileTheOthersGoOn) {
  store_.id = first_;
  ASSERT_EQ(resolve(), first_);
  clock_.advance(25s);
  int told_to_read = 0;
  for (int i = 0; i < 10'000; ++i) told_to_read += known() ? 0 : 1;
  EXPECT_EQ(told_to_read, 1);
  clock_.advance(1s);
  EXPECT_FALSE(known()) << "whoever was told did not bring anything: the next one";
  EXPECT_TRUE(look_up());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(known());
  EXPECT_TRUE(look_up());
  EXPECT_EQ(store_.reads, 2) << "of many that wait for a reader one reads";
}

TEST_F(NameResolverTest, ANameThatTurnsOutToBeGoneIsGoneForAll) {
  store_.id = first_;
  ASSERT_EQ(resolve(), first_);
  store_.id.reset();
  clock_.advance(25s);
  EXPECT_FALSE(look_up());
  EXPECT_FALSE(known());
  EXPECT_FALSE(known());
}

TEST_F(NameResolverTest, WhileTheStoreIsAwayAKnownNameLastsUntilItsTimeIsUp) {
  store_.id = first_;
  ASSERT_EQ(resolve(), first_);
  store_.away = true;
  clock_.advance(25s);
  EXPECT_FALSE(look_up());
  (void)known();
  EXPECT_EQ(known(), first_);
  clock_.advance(5s);
  EXPECT_FALSE(known());
}

TEST_F(NameResolverTest, WithoutAClockNothingIsReadTwice) {
  name_resolver alone(1000);
  store_.id = first_;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(alone.lookup(store_, who_, entity_kind::agent, "bob"));
  EXPECT_EQ(store_.reads, 1);
}

} // namespace
} // namespace hive::cluster
