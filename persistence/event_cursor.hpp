/// @file
/// The opaque cursor of an event stream: "1" (its format) and the number of an event in 16 hexadecimal digits.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace hive::persistence {

inline std::string cursor_of(std::uint64_t number) {
  std::string text = "1";
  for (int shift = 60; shift >= 0; shift -= 4) text.push_back("0123456789abcdef"[(number >> shift) & 0xFU]);
  return text;
}

/// Nothing when the text is no cursor.
inline std::optional<std::uint64_t> number_of(std::string_view cursor) {
  if (cursor.size() != 17 || cursor.front() != '1') return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : cursor.substr(1)) {
    if (c >= '0' && c <= '9') {
      number = number << 4U | static_cast<std::uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      number = number << 4U | static_cast<std::uint64_t>(c - 'a' + 10);
    } else {
      return std::nullopt;
    }
  }
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return number;
}

} // namespace hive::persistence
