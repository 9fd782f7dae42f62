/// @file
/// Keeps work away from an agent that fails: closed (all goes), open (nothing goes), half open (one probe decides).
#pragma once

#include "config/base/clock.hpp"
#include "config/base/random.hpp"

#include <algorithm>

namespace hive::actors::scheduling {

struct breaker_limits {
  std::uint32_t failures = 5;                    ///< In a row open it.
  std::chrono::milliseconds open{1'000};         ///< The first time; doubled each time a probe fails.
  std::chrono::milliseconds open_max{60'000};
};

class circuit_breaker {
public:
  enum class state : std::uint8_t { closed, open, half_open };

  /// @pre `allows(now)`: an attempt begins; after an open time it is the probe.
  void started(wall_time now) noexcept {
    if (state_ == state::open && now >= until_) state_ = state::half_open;
  }
  void succeeded() noexcept {
    error_rate_ -= error_rate_ / 8;
    in_a_row_ = 0;
    opened_ = 0;
    state_ = state::closed;
  }
  void failed(const breaker_limits& limits, wall_time now, random_source& chance) {
    error_rate_ += (1 - error_rate_) / 8;
    in_a_row_ = std::min(in_a_row_ + 1, limits.failures);
    if (state_ == state::open) return; // it began before the breaker opened, and is no probe
    if (state_ == state::half_open || in_a_row_ == limits.failures) trip(limits, now, chance);
  }
  /// It takes nothing just now (it is stopped, say): one attempt is enough to know.
  void refused(const breaker_limits& limits, wall_time now, random_source& chance) {
    if (state_ != state::open) trip(limits, now, chance);
  }
  /// The attempt ended without saying anything about the agent (it was cancelled): the next one is the probe.
  void dropped(wall_time now) noexcept {
    if (state_ != state::half_open) return;
    state_ = state::open;
    until_ = now;
  }

  /// While half open the probe is under way, and nothing else goes.
  bool allows(wall_time now) const noexcept { return state_ == state::closed || (state_ == state::open && now >= until_); }
  state now_is() const noexcept { return state_; }
  /// @pre open
  wall_time until() const noexcept { return until_; }
  /// 0 (healthy) .. 1, of the last attempts, newer ones weighing more.
  double error_rate() const noexcept { return error_rate_; }

private:
  void trip(const breaker_limits& limits, wall_time now, random_source& chance) {
    auto wait = limits.open * (std::int64_t{1} << std::min(opened_, 16U));
    wait = std::min<std::chrono::milliseconds>(wait, limits.open_max);
    // A fifth of it by chance: the agents that one outage broke are not all probed in the same moment.
    wait += std::chrono::milliseconds{chance.below(static_cast<std::uint64_t>(wait.count() / 5 + 1))};
    opened_ += 1;
    state_ = state::open;
    until_ = now + wait;
  }

  state state_ = state::closed;
  std::uint32_t in_a_row_ = 0;
  std::uint32_t opened_ = 0;
  wall_time until_{};
  double error_rate_ = 0;
};

} // namespace hive::actors::scheduling
