/// @file
/// A whole hive in one process: nodes that run the real membership state machine and the real commit pipeline over the
/// model of the store, a small entity model on top (ledgers with keyed asks, messages between entities, timers, calls that
/// a turn waits for), clients, a network, and trouble. What clients were told is compared with what the store holds.
#pragma once

#include "cluster/membership.hpp"
#include "tests/sim/cluster/store.hpp"

#include <optional>

namespace hive::sim {

/// What may go wrong, and how often it is chosen among all that may.
struct trouble {
  unsigned kill = 0;
  unsigned pause = 0;
  unsigned cut_pair = 0;       // between two nodes, one way or both
  unsigned cut_peers = 0;      // a node from all others, not from the store
  unsigned cut_store = 0;      // a node from the store, not from the others
  unsigned reset = 0;          // all connections to a node are closed and refused, while it lives
  unsigned stall = 0;          // the store, for a while
  unsigned away = 0;           // the store ends and comes back
  unsigned break_all = 0;      // all commit connections
  unsigned drain = 0;          // a node, and back
  unsigned restart = 0;        // a node leaves in order and comes again
  unsigned clock = 0;          // a node's wall clock is set wrong, and right again
  milliseconds every{700};
  milliseconds pause_high{6'000};
  milliseconds away_low{100};
  milliseconds away_high{3'000};
};

/// What clients ask for, by weight.
struct load {
  unsigned append = 10;
  unsigned read = 4;
  unsigned send = 4;
  unsigned timer = 1;
  unsigned call = 1;
  unsigned poison = 0;
  unsigned recreate = 0;
  milliseconds every{15};      // one, on average
  std::uint64_t entities = 18;
  milliseconds timer_high{4'000};
};

struct scenario {
  std::string name = "everything";
  unsigned nodes = 3;
  unsigned late_nodes = 0;     // that join while the load runs
  std::uint16_t shards = 24;
  seconds begin{2};            // of load
  seconds trouble_from{3};
  seconds trouble_to{10};
  seconds load_to{12};
  seconds end{20};
  sim::load asks{};
  sim::trouble faults{};
  store_times times{};
  unsigned drop_one_in = 0;    // of messages between nodes, until `trouble_to`
  unsigned twice_one_in = 0;
  microseconds delay_high{1'500};
  std::optional<milliseconds> forgets_at{}; // the store, once
  bool owners_stay = false;    // no shard may change its owner while load runs
  bool calls_once = false;     // no call may be made twice: nothing dies
  config::cluster_settings cluster{};
};

class sim_hive {
public:
  sim_hive(std::uint64_t seed, const scenario& s, mutation defect);
  ~sim_hive();

  /// @returns what went wrong, if anything did.
  std::optional<std::string> run();

  world& time() noexcept { return world_; }
  const store& rows() const noexcept { return store_; }
  struct counts {
    std::uint64_t asked = 0, ok = 0, refused = 0, failed = 0, crashes = 0, kept_waiting = 0, reports_lost = 0;
    microseconds longest{};       // until an ask was answered
    microseconds served_again{};  // after the trouble had ended: until every shard was served
  };
  const counts& counted() const noexcept { return counts_; }

private:
  enum class ask_kind : std::uint8_t { append, read, send, timer, call, poison, recreate };
  enum class outcome : std::uint8_t { pending, ok, refused, failed };
  struct operation {
    std::uint64_t id = 0;
    ask_kind kind = ask_kind::append;
    std::uint64_t slot = 0;
    entity_id entity;
    entity_id target;
    microseconds asked{};
    microseconds due{};
    unsigned attempts = 0;
    bool twice = false;            // the network may have made two of it
    outcome end = outcome::pending;
    std::size_t acknowledged = 0;  // of the entity, when a read was asked
    std::uint64_t era = 0;
  };
  enum class message_kind : std::uint8_t { ask, deliver, delivered, fired, call_ended, call_taken };
  struct message {
    message_kind kind = message_kind::ask;
    std::uint64_t op = 0;          // of derived work: 8 * id + what
    entity_id to;
    entity_id from;
    std::uint64_t sequence = 0;
    std::size_t gateway = 0;
    std::uint64_t life = 0;        // of the gateway's process; of the executor's
    microseconds started{};
    unsigned attempt = 0;
  };
  struct node;
  struct process;
  struct activation;
  struct running_turn;

  // nodes
  void start(node& n);
  void kill(node& n);
  void pause(node& n, microseconds how_long);
  void post(node& n, microseconds delay, std::function<void(process&)> what);
  void tick(process& p);
  void obey(process& p, cluster::commands&& orders);
  void obey(process& p, const cluster::call_store& c);
  void serve(process& p, const cluster::start_serving& c);
  void recover(process& p, shard_id shard, epoch fence);
  void drop_shard(process& p, shard_id shard);
  void drop_all(process& p);

  // network
  void send(process& from, node_generation to, std::function<void(process&)> what);
  void look_at_links(node& n);
  void look_at_link(process& from, node_generation to);
  bool cut(const node& a, const node& b) const;

  // messages and turns
  void route(process& p, message m);
  void accept(process& p, message m);
  void bounce(process& p, const message& m);
  activation& activate(process& p, entity_id id);
  void load(process& p, activation& a);
  void work(process& p, activation& a);
  bool handle(process& p, activation& a, message m);
  void submit(process& p, activation& a, message m, std::shared_ptr<effects> e, bool writes, bool poison);
  void pump(process& p);
  void batch_ended(process& p, persistence::batch_result r);
  void batch_unknown(process& p);
  void settle(process& p, const persistence::settlement& s);
  void turn_committed(process& p, activation& a, const running_turn& t);
  void start_over(process& p, activation& a);
  void say_quiet(process& p, shard_id shard);
  void deliver(process& p, activation& a);
  void arm_timer(process& p, activation& a, const set_timer& t);
  void make_call(process& p, entity_id id, std::uint64_t op);
  void tell_call_ended(process& p, entity_id id, std::uint64_t op);
  void look_after_calls(process& p, activation& a);

  // clients
  void ask_something();
  void ask(std::uint64_t op);
  void answer(process& p, const message& m, outcome end, std::shared_ptr<const std::vector<std::uint64_t>> seen);
  void answered(std::uint64_t op, unsigned attempt, outcome end, const std::shared_ptr<const std::vector<std::uint64_t>>& seen);
  void check_read(const operation& op, const std::vector<std::uint64_t>& seen);

  // trouble and checks
  void make_trouble();
  void set_clock(node& n, microseconds ahead);
  void end_trouble();
  void forget();
  void watch_recovery();
  std::optional<std::string> not_served() const;
  void check_end();
  std::string describe(entity_id id) const;
  void fail(std::string what);

  world world_;
  scenario scenario_;
  mutation defect_;
  store store_;
  std::vector<std::unique_ptr<node>> nodes_;
  std::map<node_generation, std::size_t> generations_;
  std::vector<operation> operations_;
  std::map<entity_id, std::vector<std::uint64_t>> acknowledged_;
  std::map<entity_id, std::set<std::uint64_t>> seen_;
  std::vector<std::uint64_t> denied_;         // turns that were reported as not committed
  std::set<std::uint64_t> lost_;              // acknowledged, and forgotten by the store
  std::set<std::uint64_t> forgotten_;         // by the store, acknowledged or not
  std::map<std::uint64_t, unsigned> calls_;   // made, by operation
  std::map<std::uint64_t, entity_id> meant_for_; // derived work -> the entity it was meant for
  std::uint64_t next_serial_ = 1;
  std::uint64_t next_life_ = 1;
  std::uint64_t next_activation_ = 1;
  std::uint64_t next_entity_ = 1;
  entity_id directory_;
  bool troubled_ = false;
  bool lossy_ = true;
  std::optional<std::string> wrong_;
  counts counts_;
};

} // namespace hive::sim
