/// @file
/// What a supervisor decides when a child's life ends: the OTP contract as a pure state machine. Time is an argument.
///
/// This version knows `one_for_one` with intensity and period, restart types and escalation; the other strategies come
/// with the whole contract and have their place in `on_exit`.
#pragma once

#include "actors/specs.hpp"
#include "config/base/clock.hpp"
#include "config/base/ids.hpp"

#include <deque>

namespace hive::actors {

/// Confined to one thread.
class supervisor_core {
public:
  struct decision {
    enum class kind : std::uint8_t {
      restart,   ///< Give the child a new life.
      leave,     ///< Its restart type says no.
      escalate,  ///< More than `intensity` restarts within `period`: the supervisor's own life ends.
    };
    kind what = kind::restart;
  };

  explicit supervisor_core(supervisor_spec spec) : spec_(std::move(spec)) {}

  /// @param normal the child ended by itself, without an error.
  decision on_exit(restart_type restart, bool normal, steady_time now);

  /// A new life of the supervisor itself: its window starts empty.
  void restarted() { window_.clear(); }

  const supervisor_spec& spec() const noexcept { return spec_; }
  std::uint64_t restarts() const noexcept { return restarts_; }

private:
  supervisor_spec spec_;
  std::deque<steady_time> window_;   // restarts within the last `period`
  std::uint64_t restarts_ = 0;
};

} // namespace hive::actors
