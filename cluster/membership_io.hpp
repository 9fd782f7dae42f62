/// @file
/// What `membership` says and hears: calls to the store, messages to peers, orders to the rest of the node. Plain values.
///
/// The calls match `persistence/ownership_store.hpp` one to one. Each is one transaction; the conditions named here are
/// checked by the store, by its own clock, in that transaction.
#pragma once

#include "cluster/lease.hpp"
#include "cluster/tables.hpp"
#include "config/base/error.hpp"

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace hive::cluster {

/// The store's wall clock beside this node's: its answer came between two looks at the own one.
struct clock_reading {
  wall_time store{};
  milliseconds ahead{};                ///< How far the own one is ahead at least; negative: behind. However slow the answer was.
};
constexpr clock_reading compare_clocks(wall_time before, wall_time store, wall_time after) noexcept {
  if (store < before) return {store, before - store};
  return {store, store > after ? after - store : milliseconds{0}};
}

// -- calls to the store: cluster/README.md has the table of which call is which of `persistence::ownership_store`

/// A new generation, `joining`, with a lease, if the own wall clock is near the store's. @see ownership_store::join
struct join_call {
  node_facts facts;
  milliseconds lease_ttl{};
  milliseconds clock_difference{};     ///< At most. Else nothing happens, and the answer is `clock_differs`.
  node_generation former;              ///< The life that surely ended: of this process, or of this data directory. 0: none.
};
/// Lease until now + `lease_ttl`, also when it had run out. @see ownership_store::renew
struct renew_call {
  node_generation self;
  milliseconds lease_ttl{};
};
struct read_call {};
/// Each shard by itself, if owner and epoch are still those of `from` and `fence`, `to` is active with a lease that holds,
/// and `from` is `by`, nobody, or has ended. Epoch + 1. @see ownership_store::change_owners
struct change_owners_call {
  struct item {
    shard_id shard;
    node_generation from;              ///< 0: nobody.
    epoch fence;
    node_generation to;
  };
  node_generation by;
  std::vector<item> shards;            ///< Ascending.
};
/// Ends `target` if it has not renewed since `renewal`, and, unless peers agreed, its lease has run out.
/// @see ownership_store::declare_dead
struct declare_dead_call {
  node_generation target;
  std::uint64_t renewal = 0;
  bool agreed = false;
  std::string reason;
};
/// @see ownership_store::change_state
struct change_state_call {
  node_generation target;
  node_state from = node_state::active;
  node_state to = node_state::draining;
};
/// Removes rows of nodes that ended longer ago than this and own nothing. @see ownership_store::forget
struct forget_call {
  milliseconds age{};
};
using store_call =
  std::variant<join_call, renew_call, read_call, change_owners_call, declare_dead_call, change_state_call, forget_call>;

// -- their answers

struct joined {
  node_generation generation;
  std::uint64_t timeline = 0;          ///< Of the store.
};
struct clock_differs {
  clock_reading clock;
};
struct name_taken {
  milliseconds retry_after{};          ///< What is left of the lease of the other generation of this name.
};
struct renewed {
  std::uint64_t renewal = 0;
  std::uint64_t version = 0;           ///< Of the tables.
  clock_reading clock{};
  std::uint64_t timeline = 0;
};
/// `fenced`: this generation is dead, has left, or the store does not know it.
struct generation_ended {
  std::string why = "this generation was declared dead, or the store does not know it";
};
struct tables_read {
  std::shared_ptr<const tables> rows;
};
/// Those that changed, as they are now.
struct owners_changed {
  std::vector<shard_owner> rows;
};
/// Whether the condition of a `declare_dead_call` or `change_state_call` held. `forget_call`: true.
struct row_changed {
  bool done = false;
};
/// The store said no for now ("grace").
struct store_refused {
  milliseconds retry_after{};
};
/// No answer within `cluster.store_timeout`, or none will come. It may have happened.
struct store_failed {
  error why;
};
using store_answer =
  std::variant<joined, clock_differs, name_taken, renewed, generation_ended, tables_read, owners_changed, row_changed, store_refused, store_failed>;

// -- between peers

/// "Is the connection to `about` closed and a new one refused for you too?"
struct agreement_question {
  std::uint64_t number = 0;
  node_generation about;
};
struct agreement_answer {
  std::uint64_t number = 0;
  bool agreed = false;
};
/// The tables changed: read them.
struct look_again {};
/// Rows that the sender changed: for routers, and for the new owner, who begins at once.
struct shards_moved {
  std::vector<shard_owner> rows;
};
/// The peers that the sender has not reached for `unreachable_after`: its votes. At once when they change, and each
/// `reconcile_every` while there are any. Sorted.
struct votes {
  std::vector<node_generation> unreachable;
};
using peer_message = std::variant<agreement_question, agreement_answer, look_again, shards_moved, votes>;

/// What the links to and from a peer are seen to be, together.
enum class link_state : std::uint8_t {
  up,      ///< Outgoing and incoming both.
  silent,  ///< One of them is not, for any other reason than the next two. Says nothing about the peer.
  closed,  ///< The outgoing one was closed by the other end.
  refused, ///< ... and then a new connection was refused: nobody listens there.
};

// -- orders

/// Exactly one `answered(number, ...)` follows, `store_failed` at the latest after `cluster.store_timeout`.
struct call_store {
  std::uint64_t number = 0;
  store_call what;
};
struct send_peer {
  node_generation to;
  peer_message what;
};
/// Connect to these, and to no others. @see links::node_links::set_peers
struct set_peers {
  std::vector<node_row> peers;         ///< Those that have not ended, without this node.
};
/// The shard is ours under this epoch: load on demand, run turns.
struct start_serving {
  shard_id shard;
  epoch fence;
  journal_position first;              ///< @see turn_store::begin_at
};
/// It is not ours any more: drop its activations and what they have not committed; what waits there is `moved`.
struct stop_serving {
  shard_id shard;
};
/// Start no new turns there, buffer messages; call `quiet` when what runs has ended and is committed.
struct release_shard {
  shard_id shard;
  node_generation to;
};
/// The hand-off did not happen: run turns again.
struct resume_shard {
  shard_id shard;
};
/// The hand-off happened: drop its activations, send what was buffered to the new owner.
struct forward_shard {
  shard_id shard;
  node_generation to;
  epoch fence;
};
/// The lease may have run out, or there is none: answer nothing and commit nothing from here on. Memory is kept.
struct hold {
  std::optional<error> why{};          ///< For readiness, where there is more to say than that.
};
/// The lease holds again, and what was lost meanwhile has been stopped.
struct go_on {};
/// This generation is over: drop every activation and link; a new generation follows.
struct drop_everything {
  std::string why;
};
/// End the process.
struct leave_process {
  std::string why;
  bool failed = false;                 ///< Not asked for: exit code other than 0.
};
/// For the log and the event stream: "node_declared_dead", "store_timeline_changed" ...
struct report {
  std::string event;
  std::string detail;
  bool trouble = false;                ///< Somebody has to mend something.
};
using command = std::variant<call_store, send_peer, set_peers, start_serving, stop_serving, release_shard, resume_shard, forward_shard,
                             hold, go_on, drop_everything, leave_process, report>;
using commands = std::vector<command>;

} // namespace hive::cluster
