/// @file
/// When something that is away is tried again: at growing intervals, with jitter, so that the nodes of a hive do not all
/// knock at once.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/random.hpp"

#include <algorithm>

namespace hive::persistence::redis {

/// Pure. Confined to one thread.
class circuit {
public:
  circuit(std::chrono::milliseconds first, std::chrono::milliseconds most, std::uint64_t seed) : first_(first), most_(most), wait_(first), chance_(seed) {}

  /// When it may be tried; in the past: now.
  steady_time next() const noexcept { return next_; }
  void succeeded() noexcept { wait_ = first_; }
  /// The next try comes after between half and all of an interval that doubles each time.
  void failed(steady_time now) noexcept {
    const auto half = wait_.count() / 2;
    next_ = now + std::chrono::milliseconds{half + static_cast<std::int64_t>(chance_.below(static_cast<std::uint64_t>(wait_.count() - half) + 1))};
    wait_ = std::min(wait_ * 2, most_);
  }

private:
  std::chrono::milliseconds first_, most_, wait_;
  steady_time next_{};
  random_source chance_;
};

} // namespace hive::persistence::redis
