#include "cluster/links/link_timing.hpp"

#include <gtest/gtest.h>

namespace hive::cluster::links {
namespace {

constexpr steady_time at(int ms) { return steady_time{milliseconds{ms}}; }

/// How long after `now` it becomes due.
int wait_after(const reconnect_schedule& s, int now) {
  int ms = now;
  while (!s.due(at(ms))) ms += 1;
  return ms - now;
}

TEST(ReconnectScheduleTest, WaitsDoubleUpToTheMostWithJitter) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    reconnect_schedule s(milliseconds{100}, milliseconds{1000}, seed);
    EXPECT_TRUE(s.due(at(0)));
    int now = 0;
    for (const int step : {100, 200, 400, 800, 1000, 1000, 1000}) {
      s.failed(at(now));
      const int waited = wait_after(s, now);
      EXPECT_GE(waited, step / 2);
      EXPECT_LE(waited, step);
      now += waited;
    }
  }
}

TEST(ReconnectScheduleTest, SeedsSpreadTheAttempts) {
  std::set<int> waits;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    reconnect_schedule s(milliseconds{1000}, milliseconds{1000}, seed);
    s.failed(at(0));
    waits.insert(wait_after(s, 0));
  }
  EXPECT_GT(waits.size(), 25U);
}

TEST(ReconnectScheduleTest, StableLinkIsDialledAgainAtOnceAndAFlappingOneIsNot) {
  reconnect_schedule s(milliseconds{100}, milliseconds{1000}, 1);
  s.came_up(at(0));
  s.failed(at(5000));
  EXPECT_TRUE(s.due(at(5000)));
  s.came_up(at(5001));
  s.failed(at(5002));
  EXPECT_FALSE(s.due(at(5002)));
}

TEST(ReconnectScheduleTest, RefusedByWordWaitsLong) {
  reconnect_schedule s(milliseconds{10}, milliseconds{1000}, 1);
  s.failed(at(0), true);
  EXPECT_GE(wait_after(s, 0), 500);
  s.hurry();
  EXPECT_TRUE(s.due(at(0)));
}

TEST(HeartbeatMonitorTest, PingsEveryPeriodAndMeasuresTheEcho) {
  heartbeat_monitor h(milliseconds{100}, milliseconds{300}, at(0));
  EXPECT_EQ(h.tick(at(0)), 1U);
  EXPECT_FALSE(h.tick(at(50)));
  EXPECT_EQ(h.echo(1, at(60)), std::chrono::microseconds{60'000});
  EXPECT_EQ(h.tick(at(110)), 2U);
  EXPECT_FALSE(h.echo(3, at(111))) << "was never sent";
  EXPECT_FALSE(h.echo(0, at(111)));
}

TEST(HeartbeatMonitorTest, SilentWhenNoEchoComesWithinTheTimeout) {
  heartbeat_monitor h(milliseconds{100}, milliseconds{300}, at(0));
  for (int now = 0; now <= 300; now += 50) {
    h.tick(at(now));
    EXPECT_FALSE(h.silent(at(now))) << now;
  }
  h.tick(at(350));
  EXPECT_TRUE(h.silent(at(350)));
}

TEST(HeartbeatMonitorTest, OwnPauseIsNotThePeersSilence) {
  heartbeat_monitor h(milliseconds{100}, milliseconds{300}, at(0));
  h.tick(at(0));
  h.echo(1, at(1));
  h.tick(at(10'000)); // this process was stopped in between
  EXPECT_FALSE(h.silent(at(10'000)));
  for (int now = 10'050; now <= 10'400; now += 50) h.tick(at(now));
  EXPECT_TRUE(h.silent(at(10'400))) << "but then it is";
}

} // namespace
} // namespace hive::cluster::links
