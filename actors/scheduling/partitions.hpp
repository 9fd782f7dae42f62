/// @file
/// How the queue of a tenant is divided into partitions, each an entity of its own shard: which one an agent, a key or a
/// task belongs to. Pure. Partitions are added, never taken away.
///
/// An agent belongs to one partition, by its name. A task stays in the partition that took it, which its id names; an
/// attempt by an agent of another partition is lent to that one (task_queue.hpp).
#pragma once

#include "config/base/clock.hpp"
#include "config/base/ids.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace hive::actors::scheduling {

using task_id = strong_id<struct task_id_tag>;

inline constexpr std::uint32_t queue_partitions_max = 14;

/// The partition among `n` that `what` belongs to, by rendezvous: when n grows, what moves goes to the new ones.
std::uint32_t partition_for(std::string_view what, std::uint32_t n) noexcept;

/// A task's id: milliseconds since 1970 (44 bits), partition (4), a number of that millisecond (16).
inline std::uint32_t partition_of(task_id id) noexcept { return static_cast<std::uint32_t>(id.value() >> 16U) & 15U; }
/// The first id after `last` that a partition may give out at `now`.
std::uint64_t next_task_id(std::uint64_t last, std::uint32_t partition, wall_time now) noexcept;

/// How many partitions a tenant's queue has: a part of the tenant's spec.
struct queue_division {
  std::uint32_t partitions = 1;
  std::uint32_t before = 1;                      ///< The least that there were within `keep.keys` before it grew last.
  wall_time grown{};                             ///< When it grew last.

  static queue_division from_spec(const nlohmann::json& spec);
  static queue_division from_spec(std::string_view spec);
  void write_to(nlohmann::json& spec) const;
  /// @param keep how long keys are kept (`keep.keys`).
  void grow(std::uint32_t to, wall_time now, std::chrono::milliseconds keep) noexcept;
  /// The partitions that may know a key which `what` was submitted with, in the order to ask them: each but the last says
  /// that it does not take it, for good, unless it knows the key.
  std::vector<std::uint32_t> meeting_points(std::string_view what, wall_time now, std::chrono::milliseconds keep) const;
};

} // namespace hive::actors::scheduling
