/// @file
/// Hot counters: one block a tenant, one cache-line-aligned slot a worker thread, summed at scrape.
#pragma once

#include "actors/messaging.hpp"
#include "actors/scheduling/partitions.hpp"

#include <array>
#include <atomic>
#include <bit>

namespace hive::actors {

/// A small number for the calling thread, below `metric_slots`.
inline constexpr std::size_t metric_slots = 8;
std::size_t metric_slot() noexcept;

/// Any thread adds to its own slot; reads may be a moment behind.
class tenant_metrics {
public:
  struct alignas(64) slot {
    std::atomic<std::uint64_t> turns{0}, tells{0}, asks{0}, crashes{0}, rejected{0}, dead_letters{0}, overdue{0};
    std::array<std::atomic<std::uint64_t>, 24> turn_micros{};
    std::array<std::atomic<std::uint64_t>, 24> ask_micros{};
  };
  slot& mine() noexcept { return slots_[metric_slot()]; }
  void sum_into(tenant_counters& out) const noexcept {
    for (const auto& s : slots_) {
      out.turns += s.turns.load(std::memory_order_relaxed);
      out.tells += s.tells.load(std::memory_order_relaxed);
      out.asks += s.asks.load(std::memory_order_relaxed);
      out.crashes += s.crashes.load(std::memory_order_relaxed);
      out.rejected += s.rejected.load(std::memory_order_relaxed);
      out.overdue += s.overdue.load(std::memory_order_relaxed);
      out.dead_letters += s.dead_letters.load(std::memory_order_relaxed);
      for (std::size_t i = 0; i < 24; ++i) {
        out.turn_micros[i] += s.turn_micros[i].load(std::memory_order_relaxed);
        out.ask_micros[i] += s.ask_micros[i].load(std::memory_order_relaxed);
      }
    }
  }
  static std::size_t bucket(std::chrono::nanoseconds took) noexcept {
    const auto micros = static_cast<std::uint64_t>(took.count()) / 1000U;
    return micros == 0 ? 0 : std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(micros)) - 1, 23);
  }

  std::atomic<std::uint32_t> weight{1};   ///< Of the tenant's turns among others' (`TenantSpec.weight`).

  /// How many partitions its queue has, as this node knows it: it may be behind for a while.
  scheduling::queue_division division() const noexcept {
    const auto bits = division_.load(std::memory_order_relaxed);
    return {static_cast<std::uint32_t>(bits & 0xFFU), static_cast<std::uint32_t>(bits >> 8U & 0xFFU), wall_time{std::chrono::milliseconds{static_cast<std::int64_t>(bits >> 16U)}}};
  }
  /// Partitions are never taken away: fewer are what somebody read before there were more.
  void set_division(const scheduling::queue_division& d) noexcept {
    const auto bits = d.partitions | std::uint64_t{d.before} << 8U | static_cast<std::uint64_t>(d.grown.time_since_epoch().count()) << 16U;
    auto known = division_.load(std::memory_order_relaxed);
    while ((known & 0xFFU) <= d.partitions && !division_.compare_exchange_weak(known, bits, std::memory_order_relaxed)) {}
  }

private:
  std::atomic<std::uint64_t> division_{1 | 1U << 8U};
  std::array<slot, metric_slots> slots_;
};

inline void add(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) noexcept {
  counter.fetch_add(n, std::memory_order_relaxed);
}

/// Of the whole node. Moved up and down by the shards.
struct node_gauges {
  std::atomic<std::int64_t> activations{0}, activation_bytes{0}, queued{0}, run_ahead_turns{0}, run_ahead_bytes{0},
    waiting{0}, outbox{0}, timers{0};
};

} // namespace hive::actors
