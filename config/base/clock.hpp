/// @file
/// Time, injected. Core logic never asks the machine what time it is; it asks one of these, so that a test or a
/// simulation can move time by hand.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace hive {

/// Milliseconds since the Unix epoch: what is stored and shown.
using wall_time = std::chrono::sys_time<std::chrono::milliseconds>;
constexpr std::int64_t millis(wall_time t) noexcept { return t.time_since_epoch().count(); }
/// Never goes back; only differences mean anything. Never stored.
using steady_time = std::chrono::steady_clock::time_point;

/// Any thread may call it.
class clock_source {
public:
  virtual ~clock_source() = default;
  virtual wall_time wall_now() const noexcept = 0;
  virtual steady_time steady_now() const noexcept = 0;
};

class system_clock_source final : public clock_source {
public:
  wall_time wall_now() const noexcept override {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  steady_time steady_now() const noexcept override { return std::chrono::steady_clock::now(); }
};

/// Stands still until told otherwise.
class manual_clock final : public clock_source {
public:
  wall_time wall_now() const noexcept override { return wall_time{std::chrono::milliseconds{1'700'000'000'000 + now_.load()}}; }
  steady_time steady_now() const noexcept override { return steady_time{std::chrono::milliseconds{now_.load()}}; }
  void advance(std::chrono::milliseconds by) noexcept { now_ += by.count(); }

private:
  std::atomic<std::int64_t> now_{0};
};

} // namespace hive
