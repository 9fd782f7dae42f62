/// @file
/// A model of the PostgreSQL store: tables of nodes, shards and entities; row locks that are taken one by one and held
/// until a commit that takes time; connections that break while their statement goes on. It can stall, go away, and forget.
#pragma once

#include "cluster/membership_io.hpp"
#include "persistence/commit_pipeline.hpp"
#include "tests/sim/cluster/world.hpp"

#include <deque>
#include <map>
#include <memory>
#include <set>

namespace hive::sim {

/// A durable message to another entity.
struct sent_message {
  std::uint64_t sequence = 0;
  entity_id to;
  std::uint64_t op = 0;
};
struct set_timer {
  std::uint64_t op = 0;
  microseconds due{};
  std::uint64_t slot = 0; // the name its entity had, for the mutation that goes by names
};
struct waiting_call {
  std::uint64_t op = 0;
  node_generation executor; // who makes the call
};

/// What an entity's rows say. The activation keeps a copy that runs ahead.
struct entity_data {
  std::uint64_t version = 0;
  bool deleted = false;
  std::vector<std::uint64_t> ledger; // what was applied, in order
  std::set<std::uint64_t> keys;      // of asks that were answered
  std::map<entity_id, std::uint64_t> marks;
  std::uint64_t sent = 0;
  std::map<std::uint64_t, sent_message> outbox; // by sequence
  std::map<std::uint64_t, set_timer> timers;    // by op
  std::map<std::uint64_t, waiting_call> waiting; // by op
};

/// What a turn changes; the store and the activation apply the same one.
struct effects {
  std::vector<std::uint64_t> append;
  std::vector<std::uint64_t> keys;
  std::vector<sent_message> send;
  std::vector<std::uint64_t> delivered;
  std::vector<std::pair<entity_id, std::uint64_t>> marks;
  std::vector<set_timer> timers;
  std::vector<std::uint64_t> timers_gone;
  std::vector<waiting_call> accepted;
  std::vector<std::uint64_t> ended;
  std::vector<std::pair<std::uint64_t, entity_id>> names; // slot -> id
  bool deleted = false;
};
void apply(const effects& e, entity_data& to);

/// One turn on its way.
struct sim_turn final : persistence::turn_record {
  using turn_record::turn_record;
  std::uint64_t serial = 0;      // of the turn, in the whole simulation
  std::uint64_t activation = 0;  // which one made it
  bool poison = false;           // the store refuses its rows
  std::shared_ptr<const effects> what;
};

/// What a batch sends: turns outlive neither their node nor its connection, statements do.
struct statement_turn {
  std::uint64_t serial = 0;
  entity_id entity;
  shard_id shard;
  epoch fence;
  std::uint64_t base = 0;
  bool writes = false;
  bool poison = false;
  std::shared_ptr<const effects> what;
};

struct store_times {
  microseconds commit_low{400};
  microseconds commit_high{2'500};
  microseconds lock_step_high{0};      // between two row locks of one statement
  unsigned break_one_in = 0;           // of commit statements: the connection breaks while they run
  microseconds orphan_high{3'000};     // a statement whose connection broke may be this late
};

class store {
public:
  store(world& w, std::uint16_t shards, milliseconds lease_ttl, store_times times, mutation defect);

  using ownership_done = std::function<void(cluster::store_answer)>;
  /// As `persistence::ownership_store`. Silent while the store is away.
  void call(const cluster::store_call& what, ownership_done done);

  /// Sends one batch. `done` comes unless the connection breaks; then `broken` does.
  void write(node_generation by, std::uint64_t session, std::uint64_t number, std::vector<statement_turn> batch,
             std::function<void(persistence::batch_result)> done, std::function<void()> broken);
  /// Takes a new session for `by`, which waits for statements of the old one that hold locks and shuts out those that come
  /// later; then reads which of the turns are there.
  struct found_out {
    std::uint64_t session = 0;
    std::vector<bool> there;           // of the turns asked about
    std::uint32_t timeline = 1;
    std::uint64_t boot = 0;
    bool lost = false;                 // a batch that had been answered is not there
  };
  void find_out(node_generation by, std::uint64_t last_answered, std::vector<statement_turn> batch, std::function<void(found_out)> done);

  /// Committed rows; null while the store is away.
  const entity_data* load(entity_id id);
  entity_id named(std::uint64_t slot) const { return names_.at(slot); }
  void name(std::uint64_t slot, entity_id id) { names_[slot] = id; }
  /// Entities of the shard that have something to do: messages to send, timers, calls.
  std::vector<entity_id> with_work(shard_id shard) const;

  // -- faults
  void stall(microseconds until) { stalled_until_ = std::max(stalled_until_, until); }
  void go_away() {
    away_ = true;
    crash();
  }
  void come_back() { away_ = false; }
  bool away() const noexcept { return away_; }
  /// Back to how it was `behind` ago, as a replica that took over would be. Needs `remember`.
  void forget(microseconds behind);
  void remember() { remembering_ = true; }
  /// Breaks connections: statements under way end by themselves, nobody hears how.
  void break_connections();

  // -- for the checks
  const cluster::tables& rows() const noexcept { return tables_; }
  std::uint32_t timeline() const noexcept { return timeline_; }
  std::uint64_t boot() const noexcept { return boot_; }    // rises when the server ends: connections do not live on
  bool has(std::uint64_t serial) const { return serials_.contains(serial); }
  const std::map<entity_id, entity_data>& entities() const noexcept { return entities_; }
  const std::vector<std::string>& wrong() const noexcept { return wrong_; }
  std::uint64_t batches() const noexcept { return batches_; }
  std::uint64_t owner_changes() const noexcept { return owner_changes_; }
  std::uint64_t era() const noexcept { return era_; }       // rises when it forgets
  const std::map<shard_id, std::vector<std::pair<microseconds, node_generation>>>& owners() const noexcept { return owners_; }

private:
  struct transaction {
    std::vector<std::pair<shard_id, bool>> wanted; // exclusive?
    std::size_t got = 0;
    std::function<void()> locked;
    std::function<void()> aborted;
  };
  struct row_lock {
    std::map<std::uint64_t, bool> holders;         // transaction -> exclusive
    std::deque<std::uint64_t> waiters;
  };
  struct remembered {
    microseconds at;
    cluster::tables tables;
    std::map<node_generation, microseconds> leases;
    std::map<entity_id, entity_data> entities;
    std::map<std::uint64_t, entity_id> names;
    std::set<std::uint64_t> serials;
    std::map<node_generation, std::uint64_t> last_batch;
  };

  void begin(std::vector<std::pair<shard_id, bool>> wanted, std::function<void()> locked, std::function<void()> aborted, std::uint64_t& id);
  void lock_next(std::uint64_t id);
  bool compatible(const row_lock& row, std::uint64_t id, bool exclusive) const;
  bool would_wait_for_itself(std::uint64_t id) const;
  void end(std::uint64_t id);
  void wake(shard_id shard);

  cluster::store_answer answer(const cluster::join_call& c);
  cluster::store_answer answer(const cluster::renew_call& c);
  cluster::store_answer answer(const cluster::read_call& c);
  cluster::store_answer answer(const cluster::declare_dead_call& c);
  cluster::store_answer answer(const cluster::change_state_call& c);
  cluster::store_answer answer(const cluster::forget_call&) { return cluster::row_changed{true}; }
  void change_owners(const cluster::change_owners_call& c, ownership_done done);
  void execute(node_generation by, std::uint64_t session, std::uint64_t number, std::vector<statement_turn> batch,
               std::function<void(persistence::batch_result)> done);
  void lose(std::uint64_t statement);
  void crash();
  void write_rows(node_generation by, const std::vector<statement_turn>& batch, const std::vector<bool>& fenced,
                  std::vector<persistence::turn_outcome>& outcomes);
  bool fence_holds(node_generation by, const statement_turn& t) const;
  cluster::node_row* find(node_generation g);
  bool leased(const cluster::node_row& n) const { return leases_.at(n.generation) > world_.now(); }
  microseconds commit_time() { return world_.between(times_.commit_low, times_.commit_high); }
  microseconds when_it_runs() const { return std::max(world_.now(), stalled_until_) - world_.now(); }
  /// As the membership hears it.
  std::uint64_t told_timeline() const noexcept {
    return defect_ == mutation::keep_after_forgetting ? 0 : timeline_;
  }
  void note_owner(shard_id shard, node_generation owner);
  void remember_now();
  void fail(std::string what) { world_.trace(word::violation); wrong_.push_back(std::move(what)); }

  world& world_;
  milliseconds ttl_;
  store_times times_;
  mutation defect_;

  cluster::tables tables_;
  std::map<node_generation, microseconds> leases_; // end
  microseconds grace_until_{};
  std::uint32_t timeline_ = 1;
  std::uint64_t next_generation_ = 1;
  std::map<entity_id, entity_data> entities_;
  std::map<std::uint64_t, entity_id> names_;
  std::set<std::uint64_t> serials_;                // of turns that are there
  std::map<node_generation, std::uint64_t> last_batch_;
  std::map<node_generation, std::uint64_t> sessions_; // of its writer row; statements of other ones are shut out

  std::map<std::uint64_t, transaction> transactions_;
  std::map<shard_id, row_lock> locks_;
  std::uint64_t next_transaction_ = 1;

  bool away_ = false;
  microseconds stalled_until_{};
  std::uint64_t boot_ = 1;                         // rises when the server ends: what ran is rolled back
  std::map<std::uint64_t, std::function<void()>> open_; // statements that somebody waits for
  std::uint64_t next_statement_ = 1;
  bool remembering_ = false;
  std::deque<remembered> memory_;
  std::uint64_t era_ = 0;

  std::uint64_t batches_ = 0;
  std::uint64_t owner_changes_ = 0;
  std::vector<std::string> wrong_;
  std::map<shard_id, std::vector<std::pair<microseconds, node_generation>>> owners_;
};

} // namespace hive::sim
