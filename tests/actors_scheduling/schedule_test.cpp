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

TEST_F(ScheduleTest, JitterLongerThanTheGapLosesNoSlot) {
  const std::vector<json> table{{{"every_ms", 60'000}, {"jitter_ms", 60'000}},
                                {{"cron", "* * * * *"}, {"jitter_ms", 600'000}},
                                {{"cron", "0,1,2,30 * * * *"}, {"jitter_ms", 300'000}, {"catch_up", "skip"}}};
  for (const auto& spec : table) {
    auto s = made(spec);
    auto now = began;
    for (int i = 0; i < 200; ++i) {
      const auto wanted = s.slot;
      now = std::max(now, s.fire_at) + milliseconds{chance_.below(20)};
      EXPECT_EQ(s.take_due(now, chance_), std::vector{wanted}) << spec;
      EXPECT_EQ(s.slot, s.slot_after(wanted)) << "none is left out: " << spec;
      EXPECT_LE(now - wanted, s.jitter + milliseconds{20}) << spec;
    }
  }
}

TEST_F(ScheduleTest, OutageWithJitterIsCaughtUpByThePolicy) {
  const auto late = began + minutes{10} + milliseconds{30'000};
  for (const auto& [policy, fires] : std::vector<std::pair<std::string, std::size_t>>{{"once", 1}, {"all", 9}, {"skip", 0}}) {
    auto s = made({{"every_ms", 60'000}, {"jitter_ms", 60'000}, {"catch_up", policy}});
    EXPECT_EQ(s.take_due(late, chance_).size(), fires) << policy;
    EXPECT_EQ(s.slot, began + minutes{10}) << "may still wait for its chance: " << policy;
  }
}

TEST_F(ScheduleTest, PutAgainAsItIsKeepsItsPlan) {
  const json spec{{"every_ms", 60'000}, {"jitter_ms", 30'000}, {"task", {{"agent", "a"}, {"type", "x"}}}};
  auto first = *schedule::from_spec(spec, began, chance_);
  first.submitted("t", began);
  first.refused({errc::resource_exhausted, "queue_full", "full"}, began);
  auto again = *schedule::from_spec(spec, began + minutes{1} - milliseconds{1}, chance_);
  again.replaces(first);
  EXPECT_EQ(again.to_row(), first.to_row());
  auto other = spec;
  other["every_ms"] = 120'000;
  auto changed = *schedule::from_spec(other, began + milliseconds{1}, chance_);
  changed.replaces(first);
  EXPECT_EQ(changed.slot, began + minutes{2} + milliseconds{1});
  EXPECT_EQ(changed.fired, 1U) << "its past stays";
  EXPECT_EQ(changed.failed, 1U);
}

TEST_F(ScheduleTest, WhatItsEarlierVersionsTookIsStillRead) {
  const json task{{"agent", "a"}, {"type", "x"}};
  const std::vector<json> specs{{{"cron", "0 0 30 2 *"}, {"task", task}}, {{"every_ms", 1'000}, {"jitter_ms", 5'000}, {"task", task}}};
  for (const auto& spec : specs) {
    const auto s = schedule::from_row({{"spec", spec}, {"made", millis(began)}, {"slot", millis(began)}, {"fire_at", millis(began)}});
    EXPECT_EQ(s.slot, began);
    EXPECT_EQ(s.failed, 0U);
  }
}

TEST_F(ScheduleTest, RowBringsItBack) {
  auto s = made({{"cron", "0 6 * * *"}, {"zone", "Europe/Zurich"}, {"jitter_ms", 1000}});
  s.fired = 3;
  EXPECT_FALSE(s.failing());
  s.refused({errc::not_found, "not_found", "no agent named \"a\"", "agent"}, began);
  EXPECT_TRUE(s.failing());
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
    {{{"every_ms", 1000}, {"task", task}, {"jitter_ms", 1001}}, "jitter_ms"},
    {{{"cron", "0 0 30 2 *"}, {"task", task}}, "cron"},
    {{{"every_ms", 1000}, {"task", {{"agent", "a"}, {"type", "x"}, {"parent", "1"}}}}, "task.parent"},
    {{{"every_ms", 1000}, {"task", {{"agent", "a"}, {"type", "x"}, {"name", "n"}}}}, "task.name"},
    {{{"every_ms", 1000}, {"task", {{"agent", "a"}, {"type", "x"}, {"depends_on", {"n"}}}}}, "task.depends_on"},
    {{{"every_ms", 1000}, {"task", {{"agent", "a"}, {"type", "x"}, {"undo", {{"type", "y"}}}}}}, "task.undo"},
  };
  for (const auto& [spec, field] : table) {
    const auto s = schedule::from_spec(spec, began, chance_);
    ASSERT_FALSE(s) << spec;
    EXPECT_EQ(s.error().field, field) << spec;
  }
}

} // namespace
} // namespace hive::actors::scheduling
