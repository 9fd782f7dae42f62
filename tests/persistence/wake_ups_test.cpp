#include "persistence/wake_ups.hpp"

#include "config/base/random.hpp"
#include "persistence/redis/circuit.hpp"

#include <gtest/gtest.h>

#include <map>

namespace hive::test {
namespace {

using namespace std::chrono_literals;
using persistence::wake_batcher;
using persistence::wake_up;
using batch = std::vector<wake_up>;

constexpr tenant_id acme{1};
constexpr tenant_id rival{2};
steady_time at(std::chrono::milliseconds t) { return steady_time{} + t; }

TEST(WakeUpsTest, WhatIsWrittenIsReadAndNothingElseIs) {
  const batch all{{acme, 7}, {rival, 1ULL << 60U}, {tenant_id{0}, 0}};
  const auto bytes = persistence::encode(all);
  EXPECT_EQ(persistence::decode_wake_ups(bytes), all);
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_TRUE(persistence::decode_wake_ups(bytes.substr(0, n)).empty()) << n;
  EXPECT_TRUE(persistence::decode_wake_ups("\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f").empty()) << "a count beyond all bounds";
  EXPECT_TRUE(persistence::decode_wake_ups("\x02\x01\x01\x01").empty()) << "another format";
}

TEST(WakeUpsTest, TheFirstOneOfATenantGoesAtOnceAndThoseThatFollowBecomeOne) {
  wake_batcher b(50, 100); // one in 20 ms
  EXPECT_FALSE(b.next());
  b.add({acme, 3}, at(0ms));
  EXPECT_EQ(b.due(at(0ms)), (batch{{acme, 3}}));
  b.add({acme, 5}, at(1ms));
  b.add({acme, 4}, at(2ms));
  b.add({rival, 1}, at(3ms));
  EXPECT_EQ(b.due(at(3ms)), (batch{{rival, 1}})) << "one tenant's storm does not hold up another";
  EXPECT_EQ(*b.next(), at(20ms));
  EXPECT_EQ(b.due(at(19ms)), batch{});
  EXPECT_EQ(b.due(at(20ms)), (batch{{acme, 5}}));
  EXPECT_EQ(b.due(at(100ms)), batch{});
  EXPECT_FALSE(b.next()) << "who is quiet costs nothing";
  b.add({acme, 6}, at(101ms));
  EXPECT_EQ(b.due(at(101ms)), (batch{{acme, 6}}));
}

TEST(WakeUpsTest, TooManyTenantsAtOnceAreDropped) {
  wake_batcher b(50, 2);
  EXPECT_TRUE(b.add({acme, 1}, at(0ms)));
  EXPECT_TRUE(b.add({rival, 1}, at(0ms)));
  EXPECT_FALSE(b.add({tenant_id{3}, 1}, at(0ms)));
  EXPECT_TRUE(b.add({acme, 2}, at(0ms)));
  EXPECT_EQ(b.due(at(0ms)).size(), 2U);
  (void)b.due(at(20ms));
  EXPECT_TRUE(b.add({tenant_id{3}, 1}, at(21ms)));
}

/// Whatever comes when: nobody is woken more often than allowed, and everybody hears the last position within an interval.
TEST(WakeUpsTest, EveryoneHearsTheLastPositionInTimeAndNoMoreOftenThanAllowed) {
  random_source chance(3);
  wake_batcher b(100, 1000); // one in 10 ms
  std::map<tenant_id, std::uint64_t> asked, told;
  std::map<tenant_id, steady_time> when, unheard;
  std::uint64_t position = 0;
  for (auto now = at(0ms); now < at(20'000ms); now += 1ms) {
    while (chance.one_in(2)) {
      const tenant_id t{static_cast<std::uint32_t>(1 + chance.below(12))};
      b.add({t, ++position}, now);
      asked[t] = position;
      unheard.try_emplace(t, now);
    }
    for (const auto& w : b.due(now)) {
      if (when.contains(w.tenant)) {
        ASSERT_GE(now - when[w.tenant], 10ms);
      }
      when[w.tenant] = now;
      told[w.tenant] = w.position;
      ASSERT_EQ(w.position, asked[w.tenant]);
      unheard.erase(w.tenant);
    }
    for (const auto& [t, since] : unheard) ASSERT_LT(now - since, 10ms);
  }
  EXPECT_GT(position, 10'000U);
}

TEST(WakeUpsTest, TheSenderHandsOnAndEndsWithWorkLeft) {
  system_clock_source clock;
  std::mutex guard;
  std::condition_variable changed;
  batch seen;
  persistence::wake_sender sender(1000, clock, [&](const batch& b) {
    std::lock_guard lock(guard);
    seen.insert(seen.end(), b.begin(), b.end());
    changed.notify_all();
  });
  sender.add(batch{{acme, 1}, {acme, 2}});
  std::unique_lock lock(guard);
  ASSERT_TRUE(changed.wait_for(lock, 10s, [&] { return !seen.empty(); }));
  EXPECT_EQ(seen.front(), (wake_up{acme, 2}));
  lock.unlock();
  for (std::uint64_t i = 3; i < 100; ++i) sender.add(batch{{acme, i}});
  EXPECT_EQ(sender.counters().asked, 99U);
}

TEST(CircuitTest, TriesComeAtGrowingIntervalsWithJitterUntilOneSucceeds) {
  persistence::redis::circuit c(100ms, 1s, 5);
  auto now = at(0ms);
  EXPECT_LE(c.next(), now) << "the first try is at once";
  auto least = 50ms;
  auto most = 100ms;
  for (int i = 0; i < 10; ++i) {
    c.failed(now);
    EXPECT_GE(c.next(), now + least);
    EXPECT_LE(c.next(), now + most);
    now = c.next();
    least = std::min(2 * least, 500ms);
    most = std::min(2 * most, 1000ms);
  }
  c.succeeded();
  c.failed(now);
  EXPECT_LE(c.next(), now + 100ms);
  persistence::redis::circuit one(100ms, 1s, 1), other(100ms, 1s, 2);
  one.failed(now);
  other.failed(now);
  EXPECT_NE(one.next(), other.next());
}

} // namespace
} // namespace hive::test
