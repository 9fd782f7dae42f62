// A real Redis on a unix socket: the tier and the wake-ups, with Redis killed, frozen, emptied, full of garbage.
#include "persistence/redis/redis_wakes.hpp"
#include "tests/persistence/cache_tier_contract.hpp"
#include "tests/persistence/redis_server.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace hive::test {
namespace {

using namespace std::chrono_literals;
using persistence::wake_up;
using persistence::redis::make_redis_tier;
using persistence::redis::redis_connection;
using persistence::redis::redis_wakes;
using batch = std::vector<wake_up>;

template <class Condition> bool soon(const Condition& condition) {
  for (int i = 0; i < 1'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return condition();
}

redis_server& shared() {
  static redis_server one;
  return one;
}

std::unique_ptr<cache_tier> tier_on(const redis_server& server, persistence::redis::tier_options options = {2, 64 * 1024, 60s}, std::chrono::milliseconds command_timeout = 1s) {
  auto where = server.options();
  where.where.command_timeout = command_timeout;
  auto tier = make_redis_tier(where, options, 1);
  EXPECT_TRUE(soon([&] { return tier->counters().up.load(); }));
  return tier;
}

class redis_home final : public tier_home {
public:
  redis_home() { shared().run({"FLUSHALL"}); }
  cache_tier& tier() override { return *tier_; }

private:
  std::unique_ptr<cache_tier> tier_ = tier_on(shared());
};

INSTANTIATE_TEST_SUITE_P(Redis, CacheTierContract, testing::Values([] { return std::unique_ptr<tier_home>(std::make_unique<redis_home>()); }));

class RedisTierTest : public testing::Test {
protected:
  void SetUp() override { shared().run({"FLUSHALL"}); }
};

TEST_F(RedisTierTest, ValuesRunOut) {
  auto tier = tier_on(shared(), {1, 1024, 30ms});
  EXPECT_TRUE(tier->put("short", value_of(1, "x")));
  EXPECT_TRUE(soon([&] { return !tier->get("short", 0); }));
}

TEST_F(RedisTierTest, EmptiedInTheMiddleItIsEmptyAndNothingElse) {
  auto tier = tier_on(shared());
  EXPECT_TRUE(tier->put("a", value_of(1, "x")));
  shared().run({"FLUSHALL"});
  EXPECT_FALSE(tier->get("a", 0));
  EXPECT_TRUE(tier->put("a", value_of(1, "x")));
  EXPECT_TRUE(tier->get("a", 0));
  EXPECT_EQ(tier->counters().errors, 0U);
}

TEST_F(RedisTierTest, WhatWasNotPutThereIsNotTaken) {
  auto tier = tier_on(shared());
  EXPECT_TRUE(tier->put("a", value_of(1, "the value of a")));
  const auto a = shared().run({"GET", "a"}).text;
  for (const auto& wrong : {std::string("garbage"), std::string(), a.substr(0, a.size() - 1), a + "x", "9" + a.substr(1), std::string(40, '0')}) {
    shared().run({"SET", "a", wrong});
    EXPECT_FALSE(tier->get("a", 0)) << wrong;
  }
  shared().run({"SET", "b", a});
  EXPECT_FALSE(tier->get("b", 0)) << "another's value";
  shared().run({"DEL", "a"});
  shared().run({"LPUSH", "a", "1"});
  EXPECT_FALSE(tier->get("a", 0)) << "another type";
  EXPECT_FALSE(tier->put("a", value_of(2, "x")));
  EXPECT_GE(tier->counters().errors, 8U);
  shared().run({"DEL", "a"});
  EXPECT_TRUE(tier->put("a", value_of(2, "x"))) << "the connection is still good";
}

TEST_F(RedisTierTest, KilledItFailsAtOnceAndBackItServes) {
  redis_server server;
  auto tier = tier_on(server);
  EXPECT_TRUE(tier->put("a", value_of(1, "x")));
  server.kill();
  EXPECT_FALSE(tier->get("a", 0));
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_FALSE(tier->get("a", 0));
    EXPECT_FALSE(tier->put("a", value_of(1, "x")));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 500ms);
  EXPECT_FALSE(tier->counters().up);
  server.start();
  EXPECT_TRUE(soon([&] { return tier->put("a", value_of(1, "y")); }));
  EXPECT_EQ(*tier->get("a", 0)->bytes, "y");
}

TEST_F(RedisTierTest, FrozenItCostsOneTimeout) {
  redis_server server;
  auto tier = tier_on(server, {4, 1024, 60s}, 50ms);
  server.pause();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(tier->get("a", 0));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
  server.go_on();
  EXPECT_TRUE(soon([&] { return tier->put("a", value_of(1, "x")); }));
}

TEST_F(RedisTierTest, PasswordIsNeededAndSaid) {
  redis_server server("s3cret");
  auto tier = tier_on(server);
  EXPECT_TRUE(tier->put("a", value_of(1, "x")));
  for (const auto* wrong : {"", "no"}) {
    auto where = server.where();
    where.password = wrong;
    const auto refused = redis_connection::open(where);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, errc::unauthenticated);
    EXPECT_EQ(refused.error().field, "cache.redis.password_file");
  }
  server.run({"ACL", "SETUSER", "hive", "on", ">other", "~hive/*", "&hive/*", "+get", "+eval", "+set", "+getrange", "+ping", "+publish", "+subscribe"});
  auto where = server.options();
  where.where.user = "hive";
  where.where.password = "other";
  auto as_user = make_redis_tier(where, {1, 1024, 60s}, 1);
  EXPECT_TRUE(soon([&] { return as_user->put("hive/a", value_of(1, "x")); })) << "so much is all that it needs";
  EXPECT_TRUE(as_user->get("hive/a", 0));
}

/// What one node hears.
class listener {
public:
  explicit listener(const redis_server& server, const std::string& channel = "hive/h/events")
    : wakes(server.options(), channel, [this](const batch& b) { add(b); }, [this] { ++subscribed; }, 1) {
    EXPECT_TRUE(soon([&] { return wakes.up(); }));
  }
  bool hears(const wake_up& w) {
    std::unique_lock lock(guard);
    return changed.wait_for(lock, 5s, [&] { return std::find(seen.begin(), seen.end(), w) != seen.end(); });
  }
  std::mutex guard;
  std::condition_variable changed;
  batch seen;
  std::atomic<int> subscribed{0};
  redis_wakes wakes; // last: its thread uses the others

private:
  void add(const batch& b) {
    std::lock_guard lock(guard);
    seen.insert(seen.end(), b.begin(), b.end());
    changed.notify_all();
  }
};

constexpr tenant_id acme{1};

TEST(RedisWakesTest, EverySubscriberOfTheChannelHears) {
  listener a(shared()), b(shared()), stranger(shared(), "hive/other/events");
  EXPECT_EQ(a.wakes.publish(batch{{acme, 7}}), 2U);
  EXPECT_TRUE(a.hears({acme, 7}));
  EXPECT_TRUE(b.hears({acme, 7}));
  EXPECT_EQ(stranger.wakes.publish(batch{{acme, 8}}), 1U);
  EXPECT_TRUE(stranger.hears({acme, 8}));
  EXPECT_EQ(stranger.seen.size(), 1U);
}

TEST(RedisWakesTest, GarbageInTheChannelIsNotHeard) {
  listener a(shared());
  shared().run({"PUBLISH", "hive/h/events", "garbage"});
  EXPECT_EQ(a.wakes.publish(batch{{acme, 9}}), 1U);
  EXPECT_TRUE(a.hears({acme, 9}));
  EXPECT_EQ(a.seen.size(), 1U);
}

TEST(RedisWakesTest, KilledItReachesNobodyAtOnceAndBackItCarriesAgain) {
  redis_server server;
  listener a(server), b(server);
  server.kill();
  EXPECT_TRUE(soon([&] { return a.wakes.publish(batch{{acme, 1}}) == 0; }));
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(a.wakes.publish(batch{{acme, 1}}), 0U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 500ms);
  EXPECT_TRUE(soon([&] { return !a.wakes.up() && !b.wakes.up(); }));
  server.start();
  EXPECT_TRUE(soon([&] { return a.wakes.publish(batch{{acme, 2}}) == 2; }));
  EXPECT_TRUE(b.hears({acme, 2}));
  EXPECT_GE(b.subscribed, 2) << "it is told that it may have missed something";
}

TEST(RedisWakesTest, FrozenItIsNoticedAndLeft) {
  redis_server server;
  listener a(server);
  server.pause();
  EXPECT_TRUE(soon([&] { return !a.wakes.up(); })) << "silence is asked about";
  server.go_on();
  EXPECT_TRUE(soon([&] { return a.wakes.publish(batch{{acme, 3}}) == 1; }));
}

} // namespace
} // namespace hive::test
