/// @file
/// How much of an agent's work may be retries: a bucket of tokens that first attempts and time fill. A retry that finds it
/// empty is not lost; it is put off until its token will be there, so that an outage is not multiplied by its retries.
#pragma once

#include "config/base/clock.hpp"

#include <algorithm>

namespace hive::actors::scheduling {

struct retry_limits {
  double burst = 100;          ///< Retries at once after a quiet time.
  double per_attempt = 0.1;    ///< Earned by each first attempt.
  double per_second = 10;      ///< Earned by time.
};

class retry_budget {
public:
  explicit retry_budget(retry_limits limits = {}, wall_time now = {}) noexcept : whole_(limits), limits_(limits), tokens_(limits.burst), at_(now) {}

  /// It is one of `parts` that share the limits.
  void share(std::uint32_t parts) noexcept {
    limits_.burst = whole_.burst / parts;
    limits_.per_second = whole_.per_second / parts;
    tokens_ = std::min(tokens_, limits_.burst);
  }

  void first_attempt() noexcept { tokens_ = std::min(limits_.burst, tokens_ + limits_.per_attempt); }
  /// Takes a token, from the future if need be. @returns how long the retry must wait for it.
  std::chrono::milliseconds take(wall_time now) noexcept {
    if (now > at_) {
      tokens_ = std::min(limits_.burst, tokens_ + limits_.per_second * static_cast<double>((now - at_).count()) / 1000);
      at_ = now;
    }
    tokens_ -= 1;
    if (tokens_ >= 0) return {};
    return std::chrono::milliseconds{static_cast<std::int64_t>(-tokens_ / limits_.per_second * 1000) + 1};
  }

private:
  retry_limits whole_;
  retry_limits limits_;
  double tokens_;
  wall_time at_;
};

} // namespace hive::actors::scheduling
