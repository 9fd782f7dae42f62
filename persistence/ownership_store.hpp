/// @file
/// Who is here and who owns which shard, as the store has it: the arbiter that all nodes of a cell ask. Every change is
/// a compare-and-set, every time is the store's own clock.
///
/// A life of a node:
///
///     join -> joining -> active -> draining -> left          `left` and `dead` are final for this generation;
///                 \________\__________\______-> dead         the same node comes back by `join`, as a new one.
///
/// What the store itself refuses, so that no bug of a node can do it:
///   - two live generations of one node name (`join`),
///   - a lease for a node that was declared dead (`renew`),
///   - a shard for a node that is not live (`change_owners`),
///   - a shard of a live node, unless that node itself gives it away,
///   - taking shards over within `grace` after the store was out of everyone's reach.
///
/// The membership state machine (cluster/) decides *when*; it is pure and sees this only as calls and answers.
/// tests/persistence/ownership_contract.hpp is the suite that every implementation passes.
#pragma once

#include "config/base/result.hpp"
#include "persistence/turn_store.hpp"

#include <span>

namespace hive::persistence {

/// The stored numbers; never renumber.
enum class node_state : std::uint8_t { joining = 0, active = 1, draining = 2, left = 3, dead = 4 };
/// May renew its lease, and counts in placement or still has shards to give away.
constexpr bool is_live(node_state s) noexcept { return s != node_state::left && s != node_state::dead; }
const char* to_string(node_state s) noexcept;

/// What a node says of itself. It does not change within a generation.
struct node_description {
  std::string name; ///< "node-1": the identity in its certificate. One live generation at a time.
  std::string link; ///< ADDRESS:PORT of its node links.
  std::string http; ///< ADDRESS:PORT of its HTTP API, as others reach it.
  std::string pool = "default";
  std::string zone;             ///< Failure domain; may be empty.
  std::string version;          ///< Of the program: "0.1.0".
  std::uint32_t capacity = 100; ///< Weight in placement, 1..1,000,000.
};

/// One life of a node, as the store had it when it answered.
struct node_row {
  node_generation generation; ///< Given by the store; never returns, for any node.
  node_description what;
  node_state state = node_state::joining;
  std::uint64_t renewal = 0;              ///< Rises by one with each renewal: the number that `declare_dead` must name.
  std::chrono::milliseconds lease_left{}; ///< By the store's clock when it answered; <= 0: the lease has ended.
  std::string reason;                     ///< Why it is dead; of a live one: what its node should know.
  std::uint64_t timeline = 0;             ///< Of the store; in the answer to `join`.
};

/// All rows of one moment.
struct ownership_view {
  std::uint64_t version = 0;     ///< Rises with each change of a node's state or a shard's owner; renewals leave it.
  std::vector<node_row> nodes;   ///< Ordered by generation. Dead and left ones stay until `forget`.
  std::vector<shard_row> shards; ///< Every shard, ordered by number. `owner` 0: nobody has it, nor ever had.
  std::chrono::milliseconds grace_left{}; ///< Until then `change_owners` takes nothing over; 0: now.
  std::uint64_t timeline = 0; ///< Of the store; another one after a replica was promoted. Then the generations of before are over:
                              ///< each node's own `turn_store` says what it knows to be lost ("store_lost_commits").
};

/// The answer to a renewal. The node counts its lease from before it *sent* the renewal.
struct node_lease {
  std::uint64_t renewal = 0;
  std::uint64_t version = 0; ///< Of the view: when it is another than the known one, `read` again.
  std::chrono::milliseconds grace_left{};
  std::uint64_t timeline = 0;
  wall_time now{};           ///< The store's wall clock when it answered.
};

/// One shard's change of owner: done if owner and epoch are still those of `from`.
struct owner_change {
  shard_id shard;
  node_generation from; ///< 0: nobody.
  epoch fence;          ///< The epoch that goes with `from`.
  node_generation to;
};

/// A shard that changed its owner.
struct changed_shard {
  shard_row now;
  journal_position first; ///< Positions of the new owner's turns in this shard begin here: hand it to
                          ///< `turn_store::begin_at` before the first turn.
};

/// Confined to one thread; make one for each. Every call waits at most the time it was made for and then answers
/// `unavailable` (`reason` "store_away"): the change may or may not have happened; `read` tells.
class ownership_store {
public:
  virtual ~ownership_store() = default;

  /// The store's wall clock. What nodes stamp (rows that are trimmed by age, timers, keys) means the same at all of them
  /// only as long as their own clocks are near it.
  virtual result<wall_time> clock() = 0;

  /// Begins a new generation, with a lease of `ttl` (its renewal number is 1), as `joining`.
  /// @param former the generation of this node's last life, when the caller can prove that it is over (it holds the lock
  /// that whoever lived it held); 0: none. That row becomes `dead` in the same step,
  /// so that a node that restarts at once does not wait for its own lease.
  /// @returns or, with nothing changed,
  ///   - `already_exists` ("node_name_taken"): another generation of this name has a lease that has not ended;
  ///   `retry_after`
  ///     says for how long, and that one's `reason` that its name was asked for. (One whose lease has ended becomes `dead`.)
  virtual result<node_row> join(const node_description& what, std::chrono::milliseconds ttl,
                                node_generation former) = 0;

  /// Prolongs the lease to `ttl` from now. Also when it had ended, as long as nobody declared the node dead.
  /// The first renewal after a time in which no live node had a lease begins a grace of `ttl` for everybody.
  /// @returns or `fenced`: this generation is dead, has left, or is unknown (the store forgot it). Stop, and join anew.
  virtual result<node_lease> renew(node_generation generation, std::chrono::milliseconds ttl) = 0;

  /// joining -> active, active -> draining, draining -> active, any of them -> left; not to `dead`. Nothing happens
  /// when it is in that state already.
  /// @returns or
  ///   - `conflict`: it was in another state than `from`.
  ///   - `failed_precondition` ("still_owner"): to `left`, while it owns shards.
  ///   - `fenced`: as in `renew`.
  virtual result<void> change_state(node_generation generation, node_state from, node_state to) = 0;

  /// Ends a life from outside. @param renewal the number that the caller saw: a node that renewed since is alive.
  /// @param agreed false: only if the lease has ended by the store's clock. True: also before, because every other live
  /// peer says that its connection is closed and refused.
  /// @returns also when it was dead already; or
  ///   - `conflict`: it renewed since.
  ///   - `failed_precondition` ("lease_holds"): the lease has not ended, and `agreed` is false; `retry_after` says how
  ///   long.
  ///   - `not_found`.
  virtual result<void> declare_dead(node_generation generation, std::uint64_t renewal, bool agreed,
                                    std::string_view reason) = 0;

  /// Claims, take-overs and hand-offs: each shard by itself, all in one transaction, in the order of their numbers.
  /// Waits for batches of the old owners that are being committed; when it returns, no later one can be.
  /// @param by the generation that asks; its lease must not have ended.
  /// @returns what changed, ordered by number; a shard is missing when
  ///   - owner or epoch are others than in `from`/`fence` (somebody was faster),
  ///   - `to` is not live, or its lease has ended,
  ///   - `from` is live and not `by`: only its owner gives a shard away;
  /// or, with nothing changed,
  ///   - `fenced`: `by` is not live, or its lease has ended.
  ///   - `unavailable` ("grace"): some change takes from another than `by` or nobody, within the grace; `retry_after`.
  virtual result<std::vector<changed_shard>> change_owners(node_generation by,
                                                           std::span<const owner_change> changes) = 0;

  virtual result<ownership_view> read() = 0;

  /// Positions that nobody else allots, above all that were allotted before the call: for an owner that learns of its shard
  /// by a `read`, without the `first` of the change. Hand them to `turn_store::begin_at`.
  virtual result<journal_position> fresh_positions() = 0;

  /// Removes rows of dead and left nodes that own nothing and ended longer than `age` ago. @returns how many.
  virtual result<std::size_t> forget(std::chrono::milliseconds age) = 0;
};

} // namespace hive::persistence
