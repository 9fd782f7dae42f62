/// @file
/// What every tier of the read cache does. Run against the one in process and against Redis.
#pragma once

#include "config/base/random.hpp"
#include "persistence/read_cache.hpp"

#include <gtest/gtest.h>

#include <map>

namespace hive::test {

using persistence::cache_tier;
using persistence::cached_value;

inline cached_value value_of(std::uint64_t position, std::string bytes) { return {position, std::make_shared<const std::string>(std::move(bytes))}; }

/// Where a tier comes from, empty and reached.
class tier_home {
public:
  virtual ~tier_home() = default;
  virtual cache_tier& tier() = 0;
};

class CacheTierContract : public testing::TestWithParam<std::function<std::unique_ptr<tier_home>()>> {
protected:
  std::unique_ptr<tier_home> home = GetParam()();
  cache_tier& tier = home->tier();
  std::string read(const std::string& key, std::uint64_t at_least = 0) {
    const auto found = tier.get(key, at_least);
    return found ? *found->bytes : "(nothing)";
  }
};

TEST_P(CacheTierContract, WhatWasPutIsThereAndNothingElse) {
  EXPECT_EQ(read("a"), "(nothing)");
  EXPECT_TRUE(tier.put("a", value_of(1, "x")));
  EXPECT_EQ(read("a"), "x");
  EXPECT_EQ(read("b"), "(nothing)");
  EXPECT_EQ(tier.counters().hits, 1U);
  EXPECT_EQ(tier.counters().misses, 2U);
  EXPECT_EQ(tier.counters().errors, 0U);
}

TEST_P(CacheTierContract, AnOlderOrEqualValueDoesNotReplaceANewerOne) {
  EXPECT_TRUE(tier.put("a", value_of(9, "nine")));
  EXPECT_FALSE(tier.put("a", value_of(8, "eight")));
  EXPECT_FALSE(tier.put("a", value_of(9, "also nine")));
  EXPECT_EQ(read("a"), "nine");
  EXPECT_TRUE(tier.put("a", value_of(10, "ten"))) << "as numbers, not as texts";
  EXPECT_EQ(read("a"), "ten");
  EXPECT_TRUE(tier.put("a", value_of(persistence::final_position, "the last")));
  EXPECT_FALSE(tier.put("a", value_of(persistence::final_position - 1, "no")));
  EXPECT_EQ(tier.counters().refused, 3U);
}

TEST_P(CacheTierContract, WhatIsOlderThanTheReaderNeedsIsAMiss) {
  EXPECT_TRUE(tier.put("a", value_of(5, "five")));
  EXPECT_EQ(read("a", 5), "five");
  EXPECT_EQ(read("a", 6), "(nothing)");
  EXPECT_EQ(read("a", persistence::final_position), "(nothing)");
  EXPECT_EQ(read("a", 4), "five") << "a reader that needs more takes nothing away from the others";
}

TEST_P(CacheTierContract, AnyBytesAreKept) {
  std::string all;
  for (int i = 0; i < 1024; ++i) all.push_back(static_cast<char>(i));
  const std::string key("hive/\0/\r\n $", 11);
  EXPECT_TRUE(tier.put(key, value_of(1, all)));
  EXPECT_EQ(read(key), all);
  EXPECT_TRUE(tier.put("empty", value_of(1, "")));
  EXPECT_EQ(read("empty"), "");
}

TEST_P(CacheTierContract, TooLargeAValueIsNotKept) {
  EXPECT_FALSE(tier.put("a", value_of(1, std::string(64 * 1024 + 1, 'x'))));
  EXPECT_EQ(read("a"), "(nothing)");
  EXPECT_EQ(tier.counters().refused, 1U);
}

/// Against a map, without time and want of room: what is read is what was put with the highest position.
TEST_P(CacheTierContract, IsAMapOfTheNewestValues) {
  constexpr std::uint64_t seed = 1;
  random_source chance(seed);
  std::map<std::string, std::pair<std::uint64_t, std::string>> model;
  for (int i = 0; i < 4'000; ++i) {
    const auto key = "k" + std::to_string(chance.below(40));
    const auto position = chance.below(200);
    const auto in_model = model.find(key);
    if (chance.one_in(2)) {
      const auto text = std::to_string(chance.next());
      const bool newer = in_model == model.end() || in_model->second.first < position;
      ASSERT_EQ(tier.put(key, value_of(position, text)), newer) << "seed " << seed << ", step " << i;
      if (newer) model[key] = {position, text};
    } else {
      const bool there = in_model != model.end() && in_model->second.first >= position;
      ASSERT_EQ(read(key, position), there ? in_model->second.second : "(nothing)") << "seed " << seed << ", step " << i;
    }
  }
}

} // namespace hive::test
