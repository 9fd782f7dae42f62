/// @file
/// Waiting for what other threads bring about.
#pragma once

#include <chrono>
#include <thread>

namespace hive::test {

/// Whether `holds` within `most`. Asked once when it holds: asking may take what it asks for.
template <class Condition> bool eventually(Condition&& holds, std::chrono::milliseconds most) {
  const auto until = std::chrono::steady_clock::now() + most;
  for (;;) {
    if (holds()) return true;
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
}

} // namespace hive::test
