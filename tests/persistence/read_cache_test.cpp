#include "persistence/memory_tier.hpp"
#include "tests/persistence/cache_tier_contract.hpp"

#include <list>

namespace hive::test {
namespace {

using namespace std::chrono_literals;
using persistence::memory_tier;
using persistence::read_cache;

class memory_home final : public tier_home {
public:
  cache_tier& tier() override { return tier_; }

private:
  manual_clock clock_;
  memory_tier tier_{{1024 * 1024, 64 * 1024, 60s}, clock_};
};

INSTANTIATE_TEST_SUITE_P(Memory, CacheTierContract, testing::Values([] { return std::unique_ptr<tier_home>(std::make_unique<memory_home>()); }));

class MemoryTierTest : public testing::Test {
protected:
  manual_clock clock;
};

TEST_F(MemoryTierTest, NothingIsOlderThanItsTime) {
  memory_tier tier({1024 * 1024, 1024, 10s}, clock);
  tier.put("a", value_of(7, "x"));
  clock.advance(9'999ms);
  EXPECT_TRUE(tier.get("a", 0));
  clock.advance(1ms);
  EXPECT_FALSE(tier.get("a", 0)) << "reading it does not prolong it";
  EXPECT_EQ(tier.counters().entries, 0U);
  tier.put("b", value_of(7, "new"));
  clock.advance(10s);
  EXPECT_TRUE(tier.put("b", value_of(3, "old"))) << "what has run out guards nothing";
}

/// Random puts, reads and time against the simplest thing that could be right: a list in the order of use.
TEST_F(MemoryTierTest, IsAListOfTheLastUsedWithinItsBytes) {
  constexpr std::uint64_t seed = 7;
  constexpr std::uint64_t room = 4'000;
  constexpr std::uint64_t overhead = 200;
  struct known {
    std::string key, bytes;
    std::uint64_t position;
    steady_time until;
  };
  memory_tier tier({room, 600, 5s}, clock);
  std::list<known> model; // used last first
  random_source chance(seed);
  std::uint64_t evictions = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto key = "k" + std::to_string(chance.below(30));
    const auto position = chance.below(50);
    auto found = std::find_if(model.begin(), model.end(), [&](const known& k) { return k.key == key; });
    const bool run_out = found != model.end() && found->until <= clock.steady_now();
    if (chance.one_in(3)) {
      const std::string bytes(chance.below(700), static_cast<char>('a' + chance.below(26)));
      const bool takes = bytes.size() <= 600 && (found == model.end() || run_out || found->position < position);
      ASSERT_EQ(tier.put(key, value_of(position, bytes)), takes) << "seed " << seed << ", step " << i;
      if (takes) {
        if (found != model.end()) model.erase(found);
        const auto used = [&] {
          std::uint64_t sum = 0;
          for (const auto& k : model) sum += overhead + k.key.size() + k.bytes.size();
          return sum;
        };
        while (used() + overhead + key.size() + bytes.size() > room) {
          model.pop_back();
          ++evictions;
        }
        model.push_front({key, bytes, position, clock.steady_now() + 5s});
      }
    } else {
      const bool there = found != model.end() && !run_out && found->position >= position;
      const auto got = tier.get(key, position);
      ASSERT_EQ(got.has_value(), there) << "seed " << seed << ", step " << i;
      if (there) {
        ASSERT_EQ(*got->bytes, found->bytes);
        model.splice(model.begin(), model, found);
      } else if (run_out) {
        model.erase(found);
      }
    }
    if (chance.one_in(10)) clock.advance(std::chrono::milliseconds{chance.below(800)});
    ASSERT_LE(tier.counters().bytes, room);
    ASSERT_EQ(tier.counters().entries, model.size()) << "seed " << seed << ", step " << i;
  }
  EXPECT_EQ(tier.counters().evictions, evictions);
  EXPECT_GT(evictions, 100U);
}

class ReadCacheTest : public testing::Test {
protected:
  manual_clock clock;
  memory_tier* near = nullptr;
  memory_tier* far = nullptr;
  std::unique_ptr<read_cache> cache = [this] {
    auto one = std::make_unique<memory_tier>(memory_tier::limits{100'000, 1'000, 1s}, clock);
    auto two = std::make_unique<memory_tier>(memory_tier::limits{100'000, 10'000, 10s}, clock);
    near = one.get();
    far = two.get();
    std::vector<std::unique_ptr<cache_tier>> tiers;
    tiers.push_back(std::move(one));
    tiers.push_back(std::move(two));
    return std::make_unique<read_cache>("hive/h/1", std::move(tiers));
  }();
  static constexpr tenant_id acme{1};
  static constexpr tenant_id rival{2};
};

TEST_F(ReadCacheTest, ATenantSeesNothingOfAnother) {
  cache->put(acme, "task", "t1", "secret");
  EXPECT_FALSE(cache->get(rival, "task", "t1"));
  EXPECT_FALSE(cache->get(acme, "name", "t1")) << "nor one kind of another";
  EXPECT_TRUE(cache->get(acme, "task", "t1"));
  EXPECT_EQ(cache->hits(), 1U);
  EXPECT_EQ(cache->misses(), 2U);
}

TEST_F(ReadCacheTest, AFartherTierFillsTheNearerOne) {
  cache->put(acme, "task", "t1", "x");
  clock.advance(2s);
  EXPECT_TRUE(cache->get(acme, "task", "t1"));
  EXPECT_EQ(far->counters().hits, 1U);
  EXPECT_TRUE(cache->get(acme, "task", "t1"));
  EXPECT_EQ(far->counters().hits, 1U) << "the second time it is in process";
  clock.advance(20s);
  EXPECT_FALSE(cache->get(acme, "task", "t1"));
}

TEST_F(ReadCacheTest, AReaderThatNeedsMoreThanOneTierHasAsksTheNext) {
  cache->put(acme, "events", "c", "up to 5", 5);
  clock.advance(2s);
  cache->put(acme, "events", "c", "up to 9", 9);
  near->put("hive/h/1/1/events/d", value_of(5, "up to 5"));
  far->put("hive/h/1/1/events/d", value_of(8, "up to 8"));
  EXPECT_EQ(*cache->get(acme, "events", "c", 6)->bytes, "up to 9");
  EXPECT_EQ(*cache->get(acme, "events", "d", 7)->bytes, "up to 8");
  EXPECT_EQ(*cache->get(acme, "events", "d", 1)->bytes, "up to 8") << "and has told the nearer one";
  EXPECT_FALSE(cache->get(acme, "events", "d"));
}

TEST_F(ReadCacheTest, WithoutTiersEveryReadIsAMiss) {
  read_cache none("hive/h/1", {});
  none.put(acme, "task", "t1", "x");
  EXPECT_FALSE(none.get(acme, "task", "t1"));
  EXPECT_EQ(none.misses(), 1U);
}

} // namespace
} // namespace hive::test
