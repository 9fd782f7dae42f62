/// @file
/// Time, chance and order of a simulated hive: everything that happens is an event in one queue, so that a seed decides it
/// all. What happened is folded into one number; the same seed must give the same one.
#pragma once

#include "config/base/random.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hive::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// The words of the trace.
enum class word : std::uint8_t {
  asked, answered, submitted, committed, not_committed, applied, renewed, claimed, handed_over, declared, state, crash, start, pause, wake, cut,
  heal, broke, away, back, forgot, serving, stopped, released, forwarded, held, went_on, dropped, linked, fired, delivered, called, violation,
};

class world {
public:
  explicit world(std::uint64_t seed) : chance(seed), seed_(seed) {}

  microseconds now() const noexcept { return now_; }
  std::uint64_t seed() const noexcept { return seed_; }

  void after(microseconds delay, std::function<void()> what) { at(now_ + std::max(delay, microseconds{0}), std::move(what)); }
  void at(microseconds when, std::function<void()> what) {
    queue_.push_back({std::max(when, now_), next_++, std::move(what)});
    std::push_heap(queue_.begin(), queue_.end(), later);
  }
  void run_until(microseconds end) {
    while (!queue_.empty() && queue_.front().when <= end) {
      std::pop_heap(queue_.begin(), queue_.end(), later);
      event e = std::move(queue_.back());
      queue_.pop_back();
      now_ = e.when;
      ++events_;
      e.what();
    }
    now_ = end;
  }

  /// Uniform in [low, high].
  microseconds between(microseconds low, microseconds high) {
    return low + microseconds{static_cast<std::int64_t>(chance.below(static_cast<std::uint64_t>((high - low).count()) + 1))};
  }

  void trace(word w, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0) {
    for (const std::uint64_t x : {static_cast<std::uint64_t>(now_.count()), static_cast<std::uint64_t>(w), a, b, c})
      trace_ = (trace_ ^ x) * 0x100000001B3ULL + (trace_ >> 29U);
    if (keep_lines)
      lines.push_back(std::to_string(now_.count()) + " " + std::to_string(static_cast<int>(w)) + " " + std::to_string(a) + " " +
                      std::to_string(b) + " " + std::to_string(c));
  }
  std::uint64_t trace_number() const noexcept { return trace_; }
  std::uint64_t events() const noexcept { return events_; }

  random_source chance;
  bool keep_lines = false;
  std::vector<std::string> lines;

private:
  struct event {
    microseconds when;
    std::uint64_t number; // first in, first out within one microsecond
    std::function<void()> what;
  };
  static bool later(const event& a, const event& b) noexcept { return a.when != b.when ? a.when > b.when : a.number > b.number; }

  std::uint64_t seed_;
  microseconds now_{};
  std::vector<event> queue_;
  std::uint64_t next_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t trace_ = 0xCBF29CE484222325ULL;
};

/// A deliberate defect, for the checks to find.
enum class mutation : std::uint8_t {
  none,
  no_fence,             // the store takes turns of an old epoch
  weak_lock,            // the fence reads its rows without a lock that a takeover would wait for (FOR KEY SHARE)
  unordered_takeover,   // takeovers lock their rows in another order than batches
  no_base_version,      // the store takes a turn whatever it was built on
  half_of_refused,      // the store keeps what came before the guilty row
  orphan_not_shut_out,  // an unknown commit is looked for before its statement is shut out
  no_dedup,             // receivers forget whom they heard
  reads_without_fence,  // what changed nothing is answered from memory
  no_grace,             // after an outage whoever comes first takes everything
  keep_after_forgetting, // a store that forgot is taken for the same one
  any_clock,            // nobody compares his wall clock with the store's
  calls_again,          // whoever takes over a waiting turn makes its call again
  timers_by_name,       // a timer finds its entity by name
};

} // namespace hive::sim
