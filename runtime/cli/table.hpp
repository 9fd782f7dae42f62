/// @file
/// Text for people: tables, colours, durations, progress bars. Pure functions of their arguments.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hive::cli {

/// Columns that a UTF-8 text takes on a terminal (one for each code point, two for wide East Asian ones).
std::size_t display_width(std::string_view text);

/// At most `width` columns of `text`, the last one "…" when something was cut. Control characters become "?".
std::string shorten(std::string_view text, std::size_t width);

/// Rows below a heading, columns padded to their widest cell; no trailing blanks.
class table {
public:
  explicit table(std::vector<std::string> headings) : headings_(std::move(headings)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const noexcept { return rows_.empty(); }
  std::string text() const;

private:
  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

enum class colour { none, red, green, yellow, blue, grey };
/// `text` in a colour, or unchanged when `enabled` is false.
std::string paint(colour c, std::string_view text, bool enabled);

/// "850 ms", "12 s", "3 min 5 s", "2 h 10 min"
std::string human_duration(std::chrono::milliseconds d);

/// "0", "0.5", "1234": one decimal below 10, so that what is rare is not shown as never.
std::string human_rate(double per_second);

/// Milliseconds of "250ms", "5s", "2m", "1h" or a bare number of seconds. Throws `failure` (usage) naming `option`.
std::chrono::milliseconds parse_duration(const std::string& text, const std::string& option);

/// "reading ━━━━━━━╺────── 45 %  450/1000  12 s", exactly as wide as `width` allows; a bar only when `total` is known.
std::string progress_line(std::string_view note, std::uint64_t done, std::uint64_t total,
                          std::chrono::milliseconds elapsed, std::size_t width);

} // namespace hive::cli
