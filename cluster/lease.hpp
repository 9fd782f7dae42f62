/// @file
/// A node's own lease, as everybody who answers or commits must ask for it, and the clock it is counted by.
#pragma once

#include <atomic>
#include <chrono>
#include <ctime>

namespace hive::cluster {

/// CLOCK_BOOTTIME: never goes back, and goes on while the machine sleeps. `steady_clock` would give a node that was
/// suspended its lease back.
struct boot_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<boot_clock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    return time_point{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
  }
};
using boot_time = boot_clock::time_point;

/// Until when this node may answer and commit. Written by the membership, read by any thread before each answer.
class lease_guard {
public:
  bool held(boot_time now) const noexcept { return now.time_since_epoch().count() < until_.load(std::memory_order_acquire); }
  boot_time until() const noexcept { return boot_time{boot_clock::duration{until_.load(std::memory_order_acquire)}}; }
  void hold_until(boot_time end) noexcept { until_.store(end.time_since_epoch().count(), std::memory_order_release); }
  void let_go() noexcept { until_.store(0, std::memory_order_release); }

private:
  std::atomic<boot_clock::rep> until_{0};
};

} // namespace hive::cluster
