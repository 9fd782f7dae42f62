/// @file
/// When to dial again, and when a peer counts as silent. Pure: time and chance are arguments.
#pragma once

#include "cluster/links/link_types.hpp"
#include "config/base/random.hpp"

#include <algorithm>
#include <optional>

namespace hive::cluster::links {

/// Exponential, each wait between half and all of its step. A link that was up for a while is dialled again at once, since
/// whether the port still answers is what tells a dead process from a broken connection.
class reconnect_schedule {
public:
  reconnect_schedule(milliseconds least, milliseconds most, std::uint64_t seed) noexcept : least_(least), most_(most), chance_(seed) {}

  bool due(steady_time now) const noexcept { return now >= next_; }
  std::uint32_t failures() const noexcept { return failures_; }

  void came_up(steady_time now) noexcept {
    up_ = true;
    up_since_ = now;
  }

  /// An attempt failed, or a link that was up went down. `slowly`: only a person can mend it.
  void failed(steady_time now, bool slowly = false) noexcept {
    const bool was_stable = up_ && now - up_since_ >= most_;
    up_ = false;
    if (was_stable) failures_ = 0;
    milliseconds step = most_;
    if (!slowly && failures_ < 20) step = std::min(most_, least_ * (std::int64_t{1} << failures_));
    failures_ += 1;
    if (was_stable)
      next_ = now;
    else
      next_ = now + step / 2 + milliseconds{static_cast<std::int64_t>(chance_.below(static_cast<std::uint64_t>(step.count() / 2) + 1))};
  }

  /// Forget the wait: something changed for the better.
  void hurry() noexcept { next_ = {}; }

private:
  milliseconds least_, most_;
  random_source chance_;
  std::uint32_t failures_ = 0;
  bool up_ = false;
  steady_time up_since_{};
  steady_time next_{};
};

/// One side's view of a heartbeat. When this process itself stood still (stopped, swapped out), the time counts for nobody.
class heartbeat_monitor {
public:
  heartbeat_monitor(milliseconds period, milliseconds timeout, steady_time now) noexcept
      : period_(period), timeout_(timeout), next_(now), last_echo_(now), last_tick_(now) {}

  /// Call often (several times in a period). @returns the sequence of the ping to send now, if one is due.
  std::optional<std::uint64_t> tick(steady_time now) noexcept {
    if (const auto gap = now - last_tick_; gap > timeout_ / 2) last_echo_ += gap;
    last_tick_ = now;
    if (now < next_) return std::nullopt;
    next_ = now + period_;
    sequence_ += 1;
    sent_[sequence_ % sent_.size()] = now;
    return sequence_;
  }

  /// @returns the round trip, or nothing for an echo of a ping that was not sent, or too long ago.
  std::optional<std::chrono::microseconds> echo(std::uint64_t sequence, steady_time now) noexcept {
    if (sequence == 0 || sequence > sequence_ || sequence + sent_.size() <= sequence_) return std::nullopt;
    last_echo_ = std::max(last_echo_, now);
    return std::chrono::duration_cast<std::chrono::microseconds>(now - sent_[sequence % sent_.size()]);
  }

  bool silent(steady_time now) const noexcept { return now - last_echo_ > timeout_; }

private:
  milliseconds period_, timeout_;
  steady_time next_, last_echo_, last_tick_;
  std::uint64_t sequence_ = 0;
  std::array<steady_time, 64> sent_{};
};

} // namespace hive::cluster::links
