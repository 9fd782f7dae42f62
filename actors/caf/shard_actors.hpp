/// @file
/// The shards of a node as CAF actors: the one place that knows CAF, and its 0.17 dialect. Policy `sharing`; inboxes are
/// our own lock-free queues, and an actor is woken only when its inbox was empty.
#pragma once

#include "actors/shard_core.hpp"

#include <memory>

namespace hive::actors {

class shard_actors {
public:
  /// @param workers threads that run turns; 0: one a core.
  shard_actors(std::vector<std::unique_ptr<shard_core>> cores, std::uint32_t workers);
  ~shard_actors();
  /// Returns when no shard runs, for good. What is posted afterwards is kept and dropped with this object.
  void stop();

  /// Any thread.
  void post(shard_id to, std::unique_ptr<shard_op> op);
  /// Ops posted and not yet taken by the shard. Any thread; a moment old.
  std::uint32_t depth(shard_id of) const noexcept;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace hive::actors
