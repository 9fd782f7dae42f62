/// @file
/// Who owns which shard, as this node knows it: read by every thread for every message, written by the membership.
#pragma once

#include "config/base/ids.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

namespace hive::cluster {

/// Where a message for a shard goes.
struct route {
  node_generation owner;   ///< 0: nobody, or not known: wait or say `unavailable`.
  epoch fence;
  bool here = false;       ///< This node serves it now.
  bool closing = false;    ///< This node is handing it off: buffer, do not start turns.
};

/// One slot a shard, each consistent in itself. Readers never wait for a lock, and try again when a writer was faster.
/// Knowledge only grows: a row of an older epoch than the known one is not taken.
class shard_map {
public:
  explicit shard_map(std::uint16_t shards);

  std::uint16_t size() const noexcept { return size_; }
  /// Any thread.
  route find(shard_id shard) const noexcept;
  /// Rises with each change: for who keeps something derived from the map.
  std::uint64_t version() const noexcept { return version_.load(std::memory_order_acquire); }

  // -- the membership's thread
  /// @returns whether the row was taken: its epoch is not older than the known one.
  bool learn(shard_id shard, node_generation owner, epoch fence) noexcept;
  /// `here` and `closing` of the shard, until the next `learn` of another owner or epoch.
  void serve(shard_id shard, bool here, bool closing) noexcept;
  /// Forgets everything: epochs of another timeline of the store do not compare.
  void clear() noexcept;

private:
  struct alignas(32) slot {
    std::atomic<std::uint64_t> turn{0};  // odd while a writer is in it
    std::atomic<std::uint64_t> owner{0};
    std::atomic<std::uint64_t> fence{0}; // the highest bit: here; the next: closing
  };
  static constexpr std::uint64_t here_bit = std::uint64_t{1} << 63U;
  static constexpr std::uint64_t closing_bit = std::uint64_t{1} << 62U;
  void write(slot& s, std::uint64_t owner, std::uint64_t fence) noexcept;

  std::uint16_t size_;
  std::unique_ptr<slot[]> slots_;
  std::atomic<std::uint64_t> version_{0};
};

} // namespace hive::cluster
