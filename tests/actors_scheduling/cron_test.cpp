// Times over changes of the clock are from the IANA database: Zurich 2026-03-29 02:00 -> 03:00 and 2026-10-25 03:00 -> 02:00,
// New York 2026-03-08 and 2026-11-01, Lord Howe (half an hour) 2026-10-04 and 2026-04-05, Kathmandu (+05:45, never).
#include "actors/scheduling/cron.hpp"

#include <gtest/gtest.h>

#include <ctime>

namespace hive::actors::scheduling {
namespace {

/// "2026-03-29T01:30:00" in UTC.
wall_time utc(const std::string& text) {
  std::tm t{};
  EXPECT_NE(::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &t), nullptr) << text;
  return wall_time{std::chrono::seconds{::timegm(&t)}};
}
std::string text_of(std::optional<wall_time> at) {
  if (!at) return "never";
  const auto seconds = static_cast<std::time_t>(std::chrono::floor<std::chrono::seconds>(*at).time_since_epoch().count());
  std::tm t{};
  ::gmtime_r(&seconds, &t);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S", &t);
  return buffer;
}

struct sequence {
  const char* cron;
  const char* zone;
  const char* after;
  std::vector<std::string> next;
};

TEST(CronTest, NextTimesByTheTable) {
  const std::vector<sequence> table{
    {"0 12 * * *", "UTC", "2026-01-01T00:00:00", {"2026-01-01T12:00:00", "2026-01-02T12:00:00"}},
    {"0 12 * * *", "UTC", "2026-01-01T12:00:00", {"2026-01-02T12:00:00"}},
    {"*/15 * * * *", "UTC", "2026-01-01T00:07:30", {"2026-01-01T00:15:00", "2026-01-01T00:30:00"}},
    {"*/20 30 6 * * *", "UTC", "2026-01-01T00:00:00", {"2026-01-01T06:30:00", "2026-01-01T06:30:20", "2026-01-01T06:30:40", "2026-01-02T06:30:00"}},
    {"0 0 29 2 *", "UTC", "2026-01-01T00:00:00", {"2028-02-29T00:00:00", "2032-02-29T00:00:00"}},
    {"0 0 31 * *", "UTC", "2026-01-31T00:00:00", {"2026-03-31T00:00:00", "2026-05-31T00:00:00"}},
    {"0 9 * * mon-fri", "UTC", "2026-01-02T09:00:00", {"2026-01-05T09:00:00", "2026-01-06T09:00:00"}}, // a Friday before
    {"0 9 13 * fri", "UTC", "2026-02-01T00:00:00", {"2026-02-06T09:00:00", "2026-02-13T09:00:00"}},    // either
    {"0 9 * * 7", "UTC", "2026-01-01T00:00:00", {"2026-01-04T09:00:00"}},
    {"5-10/5,50 1 1 jan,jul *", "UTC", "2026-02-01T00:00:00", {"2026-07-01T01:05:00", "2026-07-01T01:10:00", "2026-07-01T01:50:00", "2027-01-01T01:05:00"}},
    {"@hourly", "UTC", "2026-12-31T23:10:00", {"2027-01-01T00:00:00"}},
    {"0 0 30 2 *", "UTC", "2026-01-01T00:00:00", {"never"}},
    {"15 12 * * *", "Asia/Kathmandu", "2026-01-01T00:00:00", {"2026-01-01T06:30:00"}},
    // Spring: 02:30 does not exist on that day and runs at the change; the day after it is back.
    {"30 2 * * *", "Europe/Zurich", "2026-03-28T00:00:00", {"2026-03-28T01:30:00", "2026-03-29T01:00:00", "2026-03-30T00:30:00"}},
    {"30 2 * * *", "America/New_York", "2026-03-08T00:00:00", {"2026-03-08T07:00:00", "2026-03-09T06:30:00"}},
    {"0 2-3 * * *", "Europe/Zurich", "2026-03-28T23:00:00", {"2026-03-29T01:00:00", "2026-03-30T00:00:00"}}, // 02:00 is 03:00: once
    // Spring, by the minutes that pass.
    {"30 * * * *", "Europe/Zurich", "2026-03-29T00:00:00", {"2026-03-29T00:30:00", "2026-03-29T01:30:00", "2026-03-29T02:30:00"}},
    // Autumn: 02:30 comes twice and runs the first time only.
    {"30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00", {"2026-10-25T00:30:00", "2026-10-26T01:30:00"}},
    {"30 1 * * *", "America/New_York", "2026-11-01T00:00:00", {"2026-11-01T05:30:00", "2026-11-02T06:30:00"}},
    {"0 3 * * *", "Europe/Zurich", "2026-10-25T00:00:00", {"2026-10-25T02:00:00"}},
    // Autumn, by the minutes that pass.
    {"30 * * * *", "Europe/Zurich", "2026-10-25T00:00:00", {"2026-10-25T00:30:00", "2026-10-25T01:30:00", "2026-10-25T02:30:00"}},
    // Half an hour.
    {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00", {"2026-10-03T15:30:00", "2026-10-04T15:15:00"}},
    {"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00", {"2026-04-04T14:45:00", "2026-04-05T15:15:00"}},
  };
  for (const auto& row : table) {
    const auto c = cron::parse(row.cron);
    ASSERT_TRUE(c) << row.cron;
    wall_time at = utc(row.after);
    for (const auto& expected : row.next) {
      const auto next = c->next(at, row.zone);
      EXPECT_EQ(text_of(next), expected) << row.cron << " in " << row.zone << " after " << text_of(at);
      if (!next) break;
      at = *next;
    }
  }
}

TEST(CronTest, WrongExpressionsAreRefusedWithTheField) {
  for (const char* text : {"", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *",
                           "5-1 * * * *", "a * * * *", "1,, * * * *", "1, * * * *", "* * * foo *", "-1 * * * *", "1-2-3 * * * *"}) {
    const auto c = cron::parse(text);
    ASSERT_FALSE(c) << text;
    EXPECT_EQ(c.error().field, "cron");
  }
  EXPECT_NE(cron::parse("* 24 * * *").error().message.find("hour"), std::string::npos);
}

TEST(CronTest, NextIsAlwaysLaterAndRisesOverTwoYearsOfEveryZone) {
  for (const char* zone : {"UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/St_Johns", "Pacific/Apia"})
    for (const char* text : {"*/30 * * * *", "30 2 * * *", "0 0 * * *", "15 1,2,3 * * sun"}) {
      const auto c = cron::parse(text);
      ASSERT_TRUE(c);
      wall_time at = utc("2025-12-31T00:00:00");
      const auto end = utc("2028-01-01T00:00:00");
      std::size_t n = 0;
      while (at < end) {
        const auto next = c->next(at, zone);
        ASSERT_TRUE(next);
        ASSERT_GT(*next, at) << text << " in " << zone;
        at = *next;
        ++n;
      }
      if (std::string(text) == "30 2 * * *" || std::string(text) == "0 0 * * *") {
        EXPECT_NEAR(static_cast<double>(n), 731, 1.5) << text << " in " << zone << ": once a day, whatever the clocks do";
      }
    }
}

TEST(CronTest, UnknownZoneIsNamed) {
  EXPECT_TRUE(check_zone("UTC", "zone"));
  EXPECT_TRUE(check_zone("America/Argentina/Ushuaia", "zone"));
  const auto bad = check_zone("Europe/Atlantis", "zone");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().field, "zone");
}

} // namespace
} // namespace hive::actors::scheduling
