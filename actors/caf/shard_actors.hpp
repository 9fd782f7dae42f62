/// @file
/// The shards of a node as CAF actors: the one place that knows CAF, and its 0.17 dialect. Policy `sharing`; inboxes are
/// our own lock-free queues, and an actor is woken only when its inbox was empty.
#pragma once

#include "actors/shard_core.hpp"

#include <memory>

namespace hive::actors {

/// The shard is this node's from here on.
struct install_op final : shard_op {
  std::unique_ptr<shard_core> core;
  std::function<void(shard_core&)> begin; ///< Before anything that was kept for it.
  install_op(std::unique_ptr<shard_core> c, std::function<void(shard_core&)> b) : shard_op(kind::install), core(std::move(c)), begin(std::move(b)) {}
};

/// It is not any more. `done` is called on the shard's thread, with null when it was not.
struct remove_op final : shard_op {
  std::function<void(std::unique_ptr<shard_core>)> done;
  explicit remove_op(std::function<void(std::unique_ptr<shard_core>)> d) : shard_op(kind::remove), done(std::move(d)) {}
};

class shard_actors {
public:
  /// What is told to a shard that is not here; on the shard's thread, in order.
  /// @returns null, or the op: the shard is to come here, and it is handed to it then, in order. @param room whether it may be
  /// kept: of one shard, `kept_most` are, and count in its `depth`.
  using elsewhere = std::function<std::unique_ptr<shard_op>(shard_id, std::unique_ptr<shard_op>, bool room)>;
  static constexpr std::size_t kept_most = 10'000;

  /// @param cores one a shard; null: not here, until an `install_op` brings it.
  /// @param workers threads that run turns; 0: one a core.
  shard_actors(std::vector<std::unique_ptr<shard_core>> cores, std::uint32_t workers, elsewhere where_else = {});
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
