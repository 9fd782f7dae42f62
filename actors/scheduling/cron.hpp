/// @file
/// Cron expressions in a time zone: "minute hour day month weekday", with optional seconds in front. Pure.
///
/// Fields take `*`, numbers, ranges `a-b`, steps `*/n` and `a-b/n`, lists by comma, and names (jan, mon). When both day and
/// weekday are limited, either may match, as in Vixie cron. Words: @hourly @daily @weekly @monthly @yearly.
///
/// When clocks change: a time of a fixed hour that is skipped runs at the moment of the change; one that comes twice runs
/// the first time only. With `*` or a step as hour, it runs by the minutes that really pass.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/result.hpp"

#include <bitset>
#include <optional>
#include <string>
#include <string_view>

namespace hive::actors::scheduling {

class cron {
public:
  /// @returns an error that says which field is wrong and why.
  static result<cron> parse(std::string_view text);

  /// The first time after `after` in `zone` (see `check_zone`). Empty: none within ten years.
  std::optional<wall_time> next(wall_time after, std::string_view zone) const;

private:
  std::optional<std::int64_t> next_local(std::int64_t from) const; ///< Seconds since 1970 on the wall.
  bool day_matches(std::int64_t day) const;

  std::bitset<60> seconds_;
  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<7> weekdays_;
  bool any_hour_ = false;
  bool any_day_ = false;
  bool any_weekday_ = false;
};

/// Whether the machine's time zone database knows it; "UTC" always is known.
result<void> check_zone(std::string_view zone, std::string_view field);

} // namespace hive::actors::scheduling
