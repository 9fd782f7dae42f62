#include "actors/scheduling/cron.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <date/tz.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace hive::actors::scheduling {
namespace {

using std::chrono::seconds;

constexpr std::int64_t day_seconds = 86'400;
constexpr std::int64_t horizon_days = 3'660; // ten years: "29 2" always comes within eight

const std::array<std::string_view, 12> month_names{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
const std::array<std::string_view, 7> day_names{"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct field {
  const char* name;
  int low;
  int high;
};
constexpr std::array fields{field{"second", 0, 59}, field{"minute", 0, 59}, field{"hour", 0, 23},
                            field{"day", 1, 31},    field{"month", 1, 12},  field{"weekday", 0, 7}};

error wrong(const field& f, std::string_view text) {
  return invalid("cron", "\"" + std::string(text) + "\" is not a " + f.name + ": " + std::to_string(f.low) + " to " + std::to_string(f.high) +
                           ", ranges, steps and lists of them");
}

std::optional<int> number(const field& f, std::string_view text) {
  if (f.high == 12)
    for (std::size_t i = 0; i < month_names.size(); ++i)
      if (month_names[i] == text) return static_cast<int>(i) + 1;
  if (f.high == 7)
    for (std::size_t i = 0; i < day_names.size(); ++i)
      if (day_names[i] == text) return static_cast<int>(i);
  int value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || value < f.low || value > f.high) return std::nullopt;
  return value;
}

/// @param any whether it says `*` or a step of it.
template <std::size_t N> result<void> read(const field& f, std::string_view text, std::bitset<N>& into, bool& any) {
  any = text.starts_with('*');
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    std::string_view part = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    if (comma != std::string_view::npos && rest.empty()) return wrong(f, text);
    int step = 1;
    if (const auto slash = part.find('/'); slash != std::string_view::npos) {
      const auto given = part.substr(slash + 1);
      const auto [end, ec] = std::from_chars(given.data(), given.data() + given.size(), step);
      if (ec != std::errc{} || end != given.data() + given.size() || step < 1 || step > f.high) return wrong(f, text);
      part = part.substr(0, slash);
    }
    int from = f.low;
    int to = f.high == 7 ? 6 : f.high;
    if (part != "*") {
      const auto dash = part.find('-');
      const auto first = number(f, part.substr(0, dash));
      const auto last = dash == std::string_view::npos ? first : number(f, part.substr(dash + 1));
      if (!first || !last || *last < *first) return wrong(f, text);
      from = *first;
      to = dash == std::string_view::npos && step > 1 ? to : *last;
    }
    for (int v = from; v <= to; v += step) into.set(static_cast<std::size_t>(f.high == 7 ? v % 7 : v));
  }
  if (into.none()) return wrong(f, text);
  return {};
}

template <std::size_t N> int next_in(const std::bitset<N>& set, int from) {
  for (auto i = static_cast<std::size_t>(std::max(from, 0)); i < N; ++i)
    if (set.test(i)) return static_cast<int>(i);
  return -1;
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

} // namespace

result<cron> cron::parse(std::string_view text) {
  static const std::array<std::pair<std::string_view, std::string_view>, 6> words{{{"@hourly", "0 * * * *"},
                                                                                   {"@daily", "0 0 * * *"},
                                                                                   {"@midnight", "0 0 * * *"},
                                                                                   {"@weekly", "0 0 * * 0"},
                                                                                   {"@monthly", "0 0 1 * *"},
                                                                                   {"@yearly", "0 0 1 1 *"}}};
  for (const auto& [word, meaning] : words)
    if (text == word) return parse(meaning);
  std::string lower(text);
  for (auto& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  std::vector<std::string_view> parts;
  std::string_view rest = lower;
  for (;;) {
    const auto begin = rest.find_first_not_of(" \t");
    if (begin == std::string_view::npos) break;
    const auto end = std::min(rest.find_first_of(" \t", begin), rest.size());
    parts.push_back(rest.substr(begin, end - begin));
    rest = rest.substr(end);
  }
  if (parts.size() != 5 && parts.size() != 6)
    return invalid("cron", "a cron expression has five fields (minute hour day month weekday), or six with seconds in front");
  if (parts.size() == 5) parts.insert(parts.begin(), "0");
  cron c;
  bool ignored = false;
  if (auto ok = read(fields[0], parts[0], c.seconds_, ignored); !ok) return ok.error();
  if (auto ok = read(fields[1], parts[1], c.minutes_, ignored); !ok) return ok.error();
  if (auto ok = read(fields[2], parts[2], c.hours_, c.any_hour_); !ok) return ok.error();
  if (auto ok = read(fields[3], parts[3], c.days_, c.any_day_); !ok) return ok.error();
  if (auto ok = read(fields[4], parts[4], c.months_, ignored); !ok) return ok.error();
  if (auto ok = read(fields[5], parts[5], c.weekdays_, c.any_weekday_); !ok) return ok.error();
  return c;
}

bool cron::day_matches(std::int64_t day) const {
  const date::sys_days at{date::days{static_cast<int>(day)}};
  const date::year_month_day ymd{at};
  if (!months_.test(static_cast<unsigned>(ymd.month()))) return false;
  const bool by_day = days_.test(static_cast<unsigned>(ymd.day()));
  const bool by_weekday = weekdays_.test(date::weekday{at}.c_encoding());
  if (any_day_ || any_weekday_) return by_day && by_weekday;
  return by_day || by_weekday;
}

std::optional<std::int64_t> cron::next_local(std::int64_t from) const {
  const std::int64_t first = floor_div(from, day_seconds);
  for (std::int64_t day = first; day <= first + horizon_days; ++day) {
    if (!day_matches(day)) continue;
    const std::int64_t start = day == first ? from - day * day_seconds : 0;
    int h = static_cast<int>(start / 3600);
    int m = static_cast<int>(start / 60 % 60);
    int s = static_cast<int>(start % 60);
    s = next_in(seconds_, s);
    if (s < 0) s = next_in(seconds_, 0), m += 1;
    const int m_found = next_in(minutes_, m);
    if (m_found < 0) m = next_in(minutes_, 0), s = next_in(seconds_, 0), h += 1;
    else {
      if (m_found != m) s = next_in(seconds_, 0);
      m = m_found;
    }
    const int h_found = next_in(hours_, h);
    if (h_found < 0) continue;
    if (h_found != h) m = next_in(minutes_, 0), s = next_in(seconds_, 0);
    return day * day_seconds + h_found * 3600 + m * 60 + s;
  }
  return std::nullopt;
}

std::optional<wall_time> cron::next(wall_time after, std::string_view zone) const {
  const auto* tz = date::locate_zone(std::string(zone));
  auto t = std::chrono::floor<seconds>(after) + seconds{1};
  const auto last = t + seconds{horizon_days * day_seconds};
  const auto at = [](date::sys_seconds when) { return wall_time{when.time_since_epoch()}; };
  // Between two changes of the zone's clocks the wall runs evenly: look for a match in one such span after the other.
  while (t < last) {
    const auto span = tz->get_info(t);
    std::int64_t from = (t.time_since_epoch() + span.offset).count();
    if (!any_hour_ && span.begin > date::sys_seconds{seconds{0}}) {
      const auto before = tz->get_info(span.begin - seconds{1});
      const std::int64_t left_at = (span.begin.time_since_epoch() + before.offset).count(); // where the wall stood before the change
      if (span.offset < before.offset) from = std::max(from, left_at); // that hour comes a second time
      else if (span.offset > before.offset && t == span.begin) {
        const auto skipped = next_local(left_at);
        if (skipped && *skipped < (span.begin.time_since_epoch() + span.offset).count()) return at(span.begin);
      }
    }
    const auto match = next_local(from);
    if (!match) return std::nullopt;
    const date::sys_seconds found{seconds{*match} - span.offset};
    if (found < span.end) return at(found);
    t = span.end;
  }
  return std::nullopt;
}

result<void> check_zone(std::string_view zone, std::string_view field) {
  try {
    (void)date::locate_zone(std::string(zone));
    return {};
  } catch (const std::exception&) {
    return invalid(std::string(field), "no time zone named \"" + std::string(zone) + "\" (IANA names: UTC, Europe/Zurich, America/New_York)");
  }
}

} // namespace hive::actors::scheduling
