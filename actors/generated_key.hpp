/// @file
/// Idempotency keys that the gateway makes when a client names none: "hive-<milliseconds, hex>-<random, hex>". They tell
/// their time, so that a repeat is looked for no further back than that.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/random.hpp"

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

namespace hive::actors {

inline std::string make_generated_key(wall_time now, random_source& random) {
  char text[48];
  const int n = std::snprintf(text, sizeof text, "hive-%011llx-%016llx", static_cast<unsigned long long>(now.time_since_epoch().count()),
                              static_cast<unsigned long long>(random.next()));
  return {text, static_cast<std::size_t>(n)};
}

inline bool is_generated_key(std::string_view key) noexcept { return key.size() == 33 && key.starts_with("hive-") && key[16] == '-'; }

/// @pre `is_generated_key(key)`
inline wall_time generated_key_time(std::string_view key) noexcept {
  long long ms = 0;
  std::from_chars(key.data() + 5, key.data() + 16, ms, 16);
  return wall_time{std::chrono::milliseconds{ms}};
}

} // namespace hive::actors
