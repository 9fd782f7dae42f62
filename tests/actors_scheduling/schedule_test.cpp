#include "actors/scheduling/schedule.hpp"

#include <gtest/gtest.h>

namespace hive::actors::scheduling {
namespace {

using json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::minutes;
const wall_time began{minutes{29'000'000}};

class ScheduleTest : public ::testing::Test {
protected:
  schedule made(json spec) {
    spec["task"] = {{"agent", "a"}, {"type", "x"}};
    auto s = schedule::from_spec(spec, began, chance_);
    EXPECT_TRUE(s) << (s ? "" : s.error().message);
    return *s;
  }
  random_source chance_{1};
};

TEST_F(ScheduleTest, IntervalKeepsItsBeatHoweverLateItIsServed) {
  auto s = made({{"every_ms", 60'000}});
  EXPECT_EQ(s.slot, began + minutes{1});
  EXPECT_EQ(s.take_due(began + minutes{1} + milliseconds{700}, chance_), std::vector{began + minutes{1}});
  EXPECT_EQ(s.slot, began + minutes{2});
}

TEST_F(ScheduleTest, MissedTimesByThePolicy) {
  const auto late = began + minutes{10} + milliseconds{30'000};
  struct row {
    json spec;
    std::size_t fires;
  };
  const std::vector<row> table{{{{"every_ms", 60'000}}, 1},
                               {{{"every_ms", 60'000}, {"catch_up", "once"}}, 1},
                               {{{"every_ms", 60'000}, {"catch_up", "all"}}, 10},
                               {{{"every_ms", 60'000}, {"catch_up", "all"}, {"catch_up_max", 4}}, 4},
                               {{{"every_ms", 60'000}, {"catch_up", "skip"}}, 0},
                               {{{"cron", "* * * * *"}, {"catch_up", "all"}, {"catch_up_max", 1000}}, 10},
                               {{{"every_ms", 60'000}, {"paused", true}}, 0}};
  for (const auto& r : table) {
    auto s = made(r.spec);
    EXPECT_EQ(s.take_due(late, chance_).size(), r.fires) << r.spec;
    EXPECT_EQ(s.slot, began + minutes{11}) << "the plan goes on after now: " << r.spec;
  }
}

TEST_F(ScheduleTest, SkipStillTakesTheOneThatIsOnTime) {
  auto s = made({{"every_ms", 60'000}, {"catch_up", "skip"}});
  EXPECT_EQ(s.take_due(began + minutes{10} + milliseconds{1'000}, chance_), std::vector{began + minutes{10}});
}

TEST_F(ScheduleTest, JitterIsWithinItsBoundAndNeverEarly) {
  auto s = made({{"every_ms", 60'000}, {"jitter_ms", 5'000}});
  std::set<std::int64_t> seen;
  for (int i = 1; i < 200; ++i) {
    const auto wait = s.fire_at - s.slot;
    EXPECT_GE(wait.count(), 0);
    EXPECT_LE(wait.count(), 5'000);
    seen.insert(wait.count());
    s.take_due(s.fire_at, chance_);
  }
  EXPECT_GT(seen.size(), 100U);
}

TEST_F(ScheduleTest, RowBringsItBack) {
  auto s = made({{"cron", "0 6 * * *"}, {"zone", "Europe/Zurich"}, {"jitter_ms", 1000}});
  s.fired = 3;
  s.principal = "key:x";
  const auto back = schedule::from_row(s.to_row());
  EXPECT_EQ(back.to_row(), s.to_row());
  EXPECT_EQ(back.slot_after(began), s.slot_after(began));
}

TEST_F(ScheduleTest, WrongSpecsNameTheMember) {
  const json task{{"agent", "a"}, {"type", "x"}};
  const std::vector<std::pair<json, std::string>> table{
    {{{"task", task}}, "cron"},
    {{{"cron", "* * * * *"}, {"every_ms", 1000}, {"task", task}}, "cron"},
    {{{"cron", "61 * * * *"}, {"task", task}}, "cron"},
    {{{"every_ms", 5}, {"task", task}}, "every_ms"},
    {{{"every_ms", 1000}}, "task"},
    {{{"every_ms", 1000}, {"task", {{"agent", "a"}}}}, "task.type"},
    {{{"every_ms", 1000}, {"task", task}, {"zone", "Mars/Base"}}, "zone"},
    {{{"every_ms", 1000}, {"task", task}, {"catch_up", "never"}}, "catch_up"},
    {{{"every_ms", 1000}, {"task", task}, {"catch_up_max", 0}}, "catch_up_max"},
    {{{"every_ms", 1000}, {"task", task}, {"jitter", 1}}, "jitter"},
    {{{"every_ms", 1000}, {"task", task}, {"paused", "no"}}, "paused"},
  };
  for (const auto& [spec, field] : table) {
    const auto s = schedule::from_spec(spec, began, chance_);
    ASSERT_FALSE(s) << spec;
    EXPECT_EQ(s.error().field, field) << spec;
  }
}

} // namespace
} // namespace hive::actors::scheduling
