#include "runtime/cli/table.hpp"

#include "runtime/cli/failure.hpp"

#include <algorithm>
#include <charconv>

namespace hive::cli {
namespace {

/// One code point of `text` at `at`, which moves behind it; a broken byte counts as one.
char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
  char32_t point = more == 3 ? lead & 0x07U : more == 2 ? lead & 0x0FU : more == 1 ? lead & 0x1FU : lead;
  for (int i = 0; i < more && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U; ++i)
    point = (point << 6U) | (static_cast<unsigned char>(text[at++]) & 0x3FU);
  return point;
}

std::size_t columns(char32_t point) {
  const bool combining = point >= 0x0300 && point <= 0x036F;
  const bool wide = (point >= 0x1100 && point <= 0x115F) || (point >= 0x2E80 && point <= 0xA4CF) ||
                    (point >= 0xAC00 && point <= 0xD7A3) || (point >= 0xF900 && point <= 0xFAFF) ||
                    (point >= 0xFF00 && point <= 0xFF60) || (point >= 0x1F300 && point <= 0x1FAFF);
  return combining ? 0 : wide ? 2 : 1;
}

std::string padded(std::string_view text, std::size_t width) {
  std::string out(text);
  const std::size_t has = display_width(text);
  if (has < width) out.append(width - has, ' ');
  return out;
}

} // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (text.substr(at, 2) == "\x1b[") { // a colour takes no room
      const auto end = text.find('m', at);
      if (end == std::string_view::npos) break;
      at = end + 1;
      continue;
    }
    width += columns(next_code_point(text, at));
  }
  return width;
}

std::string shorten(std::string_view text, std::size_t width) {
  std::string out;
  std::size_t used = 0;
  std::size_t room_end = 0; // of `out`, where the dots would still fit
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t point = next_code_point(text, at);
    const bool control = point < 0x20 || (point >= 0x7F && point < 0xA0);
    const std::size_t takes = control ? 1 : columns(point);
    if (used + takes > width) {
      out.resize(room_end);
      return width == 0 ? out : out + "…";
    }
    used += takes;
    if (control) out += '?';
    else out += text.substr(begin, at - begin);
    if (used + 1 <= width) room_end = out.size();
  }
  return out;
}

std::string table::text() const {
  std::vector<std::size_t> widths;
  for (const auto& heading : headings_) widths.push_back(display_width(heading));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i]));

  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string one;
    for (std::size_t i = 0; i < cells.size() && i < widths.size(); ++i)
      one += padded(cells[i], widths[i]) + (i + 1 < widths.size() ? "  " : "");
    one.erase(one.find_last_not_of(' ') + 1);
    out += one + "\n";
  };
  line(headings_);
  for (const auto& row : rows_) line(row);
  return out;
}

std::string paint(colour c, std::string_view text, bool enabled) {
  if (!enabled || c == colour::none) return std::string(text);
  const char* code = c == colour::red      ? "31"
                     : c == colour::green  ? "32"
                     : c == colour::yellow ? "33"
                     : c == colour::blue   ? "34"
                                           : "90";
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

std::string human_duration(std::chrono::milliseconds d) {
  const auto ms = d.count();
  if (ms < 1000) return std::to_string(ms) + " ms";
  const auto s = ms / 1000;
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  return std::to_string(s / 3600) + " h " + std::to_string(s % 3600 / 60) + " min";
}

std::string human_rate(double per_second) {
  const auto tenths = static_cast<std::uint64_t>(std::max(0.0, per_second) * 10 + 0.5);
  if (tenths >= 100 || tenths % 10 == 0) return std::to_string((tenths + 5) / 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
}

std::chrono::milliseconds parse_duration(const std::string& text, const std::string& option) {
  std::uint64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const std::uint64_t factor = unit == "ms"                 ? 1
                               : unit == "s" || unit.empty() ? 1000
                               : unit == "m"                 ? 60'000
                               : unit == "h"                 ? 3'600'000
                                                             : 0;
  if (problem != std::errc{} || factor == 0 || number > 1'000'000'000)
    throw failure(exit_code::usage, option + ": '" + text + "' is not a duration", "Write it as 250ms, 5s, 2m or 1h.");
  return std::chrono::milliseconds(number * factor);
}

std::string progress_line(std::string_view note, std::uint64_t done, std::uint64_t total,
                          std::chrono::milliseconds elapsed, std::size_t width) {
  std::string tail;
  if (total > 0) {
    const std::uint64_t percent = std::min<std::uint64_t>(100, done * 100 / total);
    tail = std::to_string(percent) + " %  " + std::to_string(done) + "/" + std::to_string(total) + "  ";
  } else if (done > 0) {
    tail = std::to_string(done) + "  ";
  }
  tail += human_duration(elapsed);
  const std::size_t tail_width = display_width(tail);
  if (tail_width >= width) return shorten(tail, width);

  std::size_t room = width - tail_width;
  std::string bar;
  if (total > 0 && room >= 14) {
    const std::size_t cells = std::min<std::size_t>(30, room / 2);
    const std::size_t full = static_cast<std::size_t>(std::min<std::uint64_t>(done, total) * cells / total);
    for (std::size_t i = 0; i < cells; ++i) bar += i < full ? "━" : "─";
    bar += "  ";
    room -= cells + 2;
  }
  if (room < 3) return bar + tail;
  const std::string head = shorten(note, room - 2);
  return (head.empty() ? "" : head + "  ") + bar + tail;
}

} // namespace hive::cli
