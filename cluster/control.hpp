/// @file
/// What people and programs ask about the hive's nodes, and order: the seam between the API and whoever keeps the
/// membership. A node without peers has one too, with itself alone in it.
#pragma once

#include "cluster/links/link_types.hpp"
#include "cluster/tables.hpp"
#include "config/base/result.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hive::cluster {

/// A node as this one knows it.
struct node_report {
  node_row row;
  bool self = false;
  std::size_t shards = 0;               ///< That it owns by the last read.
  std::string link;                     ///< "up", "connecting", "waiting"; empty for this node.
  std::chrono::microseconds rtt{};      ///< Of the last heartbeat; 0: none.
  std::string last_error;               ///< Why the link is not up.
};

struct hive_report {
  std::string hive;                     ///< Its name; empty without peers.
  std::string self;                     ///< Name of the node that answers.
  bool serving = true;                  ///< Its lease holds.
  std::uint64_t version = 0;            ///< Of the tables.
  std::vector<node_report> nodes;       ///< Ordered by name, then by generation.
  std::vector<shard_owner> shards;      ///< Index is the number.
};

/// A drain, planned or under way.
struct drain_report {
  struct move {
    shard_id shard;
    std::string to;
  };
  std::string node;
  node_state state = node_state::active;
  std::size_t shards_left = 0;          ///< That it still owns.
  std::size_t handing_off = 0;          ///< Of these, under way.
  std::vector<move> plan;               ///< Where they would go, or go next.
};

/// What this node counts of the others and of itself among them.
struct cluster_gauges {
  bool serving = false;                 ///< Its lease holds.
  node_state state = node_state::joining;
  std::size_t shards = 0;               ///< That it owns,
  std::size_t handing_off = 0;          ///< and of these on their way to others.
  std::vector<links::link_status> peers;
  links::link_counters links;
};

/// Any thread; answers come on any thread and must not block.
class control {
public:
  virtual ~control() = default;
  virtual void report(std::function<void(result<hive_report>)> done) = 0;
  /// Hands all shards of `node` to the others; it stays in the hive, owning nothing, until `undrain`. Any node may be
  /// asked, and asks that one. Asked again, it says how far it is.
  /// @param plan_only nothing happens; says what would.
  /// Errors: `not_found`; `failed_precondition` (no_other_node, single_node); `unavailable` when that node does not answer.
  virtual void drain(std::string node, bool plan_only, std::function<void(result<drain_report>)> done) = 0;
  /// Answers when the node is active again; one that is still draining after a while says so.
  virtual void undrain(std::string node, std::function<void(result<drain_report>)> done) = 0;
};

} // namespace hive::cluster
