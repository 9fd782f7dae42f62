/// @file
/// How long something that was read and is remembered is good.
#pragma once

#include "config/base/clock.hpp"

#include <ratio>

namespace hive {

/// Copy and replace it under the lock of what it belongs to; `usable` may be called by many at a time.
class freshness {
public:
  /// Good for ever.
  freshness() = default;
  freshness(steady_time read_at, std::chrono::milliseconds good_for) noexcept
    : due_(ticks_of(read_at + good_for * 3 / 4)), end_(ticks_of(read_at + good_for)) {}

  /// In the first three quarters of its time: nobody needs to read it again.
  bool fresh(steady_time now) const noexcept { return due_ == never || ticks_of(now) < due_; }
  bool over(steady_time now) const noexcept { return end_ != never && ticks_of(now) >= end_; }

  /// @returns false: the caller is to read it again. In its last quarter one caller a second hears so, and the others go on
  /// with what is known: what thousands use at once is not read by all of them in the same moment.
  bool usable(steady_time now) const noexcept {
    if (fresh(now)) return true;
    const auto t = ticks_of(now);
    if (t >= end_) return false;
    const std::atomic_ref<std::uint32_t> next(next_reader_);
    auto seen = next.load(std::memory_order_relaxed);
    return t < seen || !next.compare_exchange_strong(seen, t + ticks_a_second, std::memory_order_relaxed);
  }

private:
  static constexpr std::uint32_t never = ~std::uint32_t{0};
  static constexpr std::uint32_t ticks_a_second = 16; // 32 bits of them are eight years: caches have millions of these
  static std::uint32_t ticks_of(steady_time t) noexcept {
    using ticks = std::chrono::duration<std::int64_t, std::ratio<1, ticks_a_second>>;
    return static_cast<std::uint32_t>(std::chrono::floor<ticks>(t.time_since_epoch()).count());
  }

  std::uint32_t due_ = never;
  std::uint32_t end_ = never;
  mutable std::uint32_t next_reader_ = 0;
};

} // namespace hive
