/// @file
/// What nodes agree on, as one read of the store gave it: who is there, and who owns which shard.
///
/// Plain values. Times are how much was left of something, by the store's clock, when it answered; no node's clock is ever
/// compared with another one's.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/ids.hpp"

#include <string>
#include <vector>

namespace hive::cluster {

using std::chrono::milliseconds;

/// `left` and `dead` end a generation for ever.
enum class node_state : std::uint8_t {
  joining,  ///< Renews and is linked to; owns nothing.
  active,   ///< May own shards.
  draining, ///< Owns what it has not handed off.
  left,     ///< Ended by itself.
  dead,     ///< Ended by others, or by its successor under the same name.
};
const char* to_string(node_state state) noexcept;

/// Of the store, when the generation began: the store gives generations as timeline << 40 | counter.
constexpr std::uint64_t timeline_of(node_generation g) noexcept { return g.value() >> 40U; }

/// What a node says of itself when it joins; does not change within a generation.
struct node_facts {
  std::string name;             ///< "node-1": unique in the hive; the identity in its certificate.
  std::string links;            ///< ADDRESS:PORT where peers reach it.
  std::string http;             ///< For clients and people.
  std::string pool = "default"; ///< The nodes of one pool share the shards of a cell.
  std::string zone;             ///< What fails together; may be empty.
  std::string version;          ///< Of the program. While versions differ, nothing moves only for balance.
  std::uint32_t capacity = 100; ///< Its weight in placement.
};

struct node_row {
  node_generation generation;   ///< One life of the node; never returns.
  node_facts facts;
  node_state state = node_state::joining;
  std::uint64_t renewal = 0;    ///< Rises with each renewal of its lease.
  milliseconds lease_left{};    ///< <= 0: it has run out.
  std::string reason{};         ///< Why it ended; of a live one: what its node should know.

  bool ended() const noexcept { return state == node_state::left || state == node_state::dead; }
  bool live() const noexcept { return !ended() && lease_left.count() > 0; }
};

struct shard_owner {
  shard_id shard;
  node_generation owner;        ///< 0: nobody yet.
  epoch fence;
  journal_position first{};     ///< The owner's positions in the shard begin here.
};

/// One consistent read.
struct tables {
  std::uint64_t version = 0;    ///< Rises with each change of a node's state or a shard's owner.
  std::uint64_t timeline = 0;   ///< Of the store: another one after a replica was promoted, or a backup restored.
  milliseconds grace_left{};    ///< After an outage: nothing is taken from anyone before this has passed.
  std::vector<node_row> nodes;  ///< Sorted by generation; ended ones may be missing.
  std::vector<shard_owner> shards; ///< Index is the number of the shard.

  /// Null when there is no such row.
  const node_row* find(node_generation generation) const noexcept;
};

} // namespace hive::cluster
