/// @file
/// Which node should own which shard: pure functions of the tables, so that every node that read the same rows wants the
/// same thing.
///
/// Each shard has an order of preference over the nodes (weighted rendezvous), which changes for nobody when a node comes
/// or goes. Each node has a quota by its capacity. What has an owner stays with it; only what has none is placed, and only
/// what is above a quota moves: the least disturbance that keeps the nodes even.
#pragma once

#include "cluster/tables.hpp"

#include <cstdint>
#include <string_view>

namespace hive::cluster {

struct placement_settings {
  std::string pool = "default";   ///< Nodes of other pools are not looked at.
  std::uint32_t tolerance = 10;   ///< Percent of its quota that a node may be above or below it and nothing moves.
};

/// The score of a node for a shard; the highest is preferred. Deterministic on every machine; a node with twice the
/// capacity is preferred twice as often.
double rendezvous_score(shard_id shard, std::string_view node, std::uint32_t capacity) noexcept;

/// How many shards each of `nodes` should own: in proportion to capacity, rounded so that they add up to `shards`.
std::vector<std::uint32_t> quotas(const std::vector<const node_row*>& nodes, std::size_t shards);

struct shard_placement {
  shard_id shard;
  node_generation from;           ///< 0 or one that is gone: the shard has no live owner.
  node_generation to;
  friend bool operator==(const shard_placement&, const shard_placement&) = default;
};

/// Whether somebody owns the shard who has not ended: his lease may have run out, but he was not declared dead.
bool has_live_owner(const tables& t, const shard_owner& shard) noexcept;

class placement {
public:
  /// @param t outlives this.
  placement(const tables& t, placement_settings settings);

  /// The nodes that may own shards (active, lease holds, of the pool), by generation.
  const std::vector<const node_row*>& nodes() const noexcept { return nodes_; }
  std::uint32_t quota_of(node_generation node) const noexcept;
  std::uint32_t load_of(node_generation node) const noexcept;

  /// The nodes in the order in which `shard` prefers them as its next owner: those in another zone than its last owner
  /// first, so that a zone that fails piece by piece is left at once.
  std::vector<const node_row*> preference(shard_id shard) const;

  /// A place for the shards in `orphans`: the node that had it, when it was started again (while that one is joining, none
  /// yet); else the most preferred one with room, never above a quota. Counts them as placed. @returns ascending.
  std::vector<shard_placement> place(const std::vector<shard_id>& orphans);

  /// What the owner `from` should hand off, in order: everything when it is draining, else what is above its quota, while any
  /// node is out of tolerance. @param heat of the shards, by number; hot ones go last.
  std::vector<shard_placement> moves(node_generation from, const std::vector<std::uint64_t>& heat = {}) const;

private:
  std::size_t index_of(node_generation node) const noexcept; // nodes_.size() when it is none of them
  std::vector<std::size_t> ranked(shard_id shard) const;     // indices of nodes_, most preferred first
  const node_row* successor_of(const node_row& ended) const noexcept;
  std::vector<shard_placement> spread(node_generation from, std::uint32_t count, std::vector<std::uint32_t> room,
                                      const std::vector<std::uint64_t>& heat) const;

  const tables& tables_;
  placement_settings settings_;
  std::vector<const node_row*> nodes_;
  std::vector<std::uint32_t> quotas_; // of nodes_
  std::vector<std::uint32_t> loads_;  // of nodes_
};

/// All moves of a drain of `node`, as they would go if nothing else happened: for a dry run.
std::vector<shard_placement> drain_plan(const tables& now, node_generation node, const placement_settings& settings,
                                        const std::vector<std::uint64_t>& heat = {});

} // namespace hive::cluster
