/// @file
/// One shard: activates its entities, keeps their mailboxes, runs their turns, and follows what they commit. Pure: it owns
/// no thread, no clock, no disk and no CAF; `shard_services` is all it knows of the world. `caf/shard_actors.hpp` is its
/// shell in a node, `testkit/` its shell in tests.
///
/// Confined to one thread at a time. Sources: shard_core.cpp (inbox, dispatch, loading, passivation), shard_keys.cpp
/// (idempotency keys), shard_turns.cpp (running and ending turns), shard_steps.cpp (waiting), shard_commits.cpp (what became
/// of records), shard_outbox.cpp (messages between entities), shard_supervision.cpp (supervisors and what they order),
/// shard_system.cpp (desired states, deletion, poison), shard_hand_off.cpp (its move to another node), shard_explain.cpp
/// (what it tells).
#pragma once

#include "actors/activation.hpp"
#include "actors/context/context_views.hpp"
#include "actors/context/text_embedder.hpp"
#include "actors/directory.hpp"
#include "actors/fair_queue.hpp"
#include "actors/generated_key.hpp"
#include "actors/scheduling/timer_window.hpp"
#include "actors/supervisor.hpp"
#include "actors/tenant_metrics.hpp"
#include "actors/turn_recorder.hpp"
#include "config/settings.hpp"

#include <absl/container/flat_hash_map.h>

#include <mutex>
#include <queue>
#include <unordered_set>

namespace hive::actors {

struct loaded_entity {
  persistence::entity_row row;
  std::shared_ptr<const loaded_spec> spec;   ///< Null: no such entity (deleted, or never made).
  std::string name;
  std::optional<down_cause> above;           ///< A supervisor above it is stopped or quarantined.
};

struct loaded_op final : shard_op {
  entity_id entity;
  epoch fence;                               ///< Of who asked: an answer to a former owner's question is not taken.
  result<loaded_entity> what_is;
  loaded_op(entity_id of, epoch f, result<loaded_entity> r) : shard_op(kind::loaded), entity(of), fence(f), what_is(std::move(r)) {}
};

/// A record came back from the pipeline.
struct settled_op final : shard_op {
  persistence::settlement::kind how;
  std::unique_ptr<actor_record> record;
  error why;
  settled_op(persistence::settlement::kind h, std::unique_ptr<actor_record> r, error e)
    : shard_op(kind::settled), how(h), record(std::move(r)), why(std::move(e)) {}
};

/// "I have committed the turn that handled your message": from receiver to sender.
struct handled_op final : shard_op {
  entity_id sender;
  entity_id receiver;
  std::uint64_t sequence;
  handled_op(entity_id s, entity_id r, std::uint64_t n) : shard_op(kind::handled), sender(s), receiver(r), sequence(n) {}
};

struct step_done_op final : shard_op {
  entity_id entity;
  std::uint64_t turn;
  std::uint32_t step;
  result<payload> answer;
  step_done_op(entity_id e, std::uint64_t t, std::uint32_t s, result<payload> a)
    : shard_op(kind::step_done), entity(e), turn(t), step(s), answer(std::move(a)) {}
};

struct call_op final : shard_op {
  std::function<void(shard_core&)> run;
  explicit call_op(std::function<void(shard_core&)> f) : shard_op(kind::call), run(std::move(f)) {}
};

/// A child's life ended. To its supervisor's shard; in memory only: when the node dies, so do all its children.
struct exited_op final : shard_op {
  entity_id supervisor;
  supervised_child child;
  incarnation life;
  bool normal;                               ///< By itself, without an error.
  exited_op(entity_id s, supervised_child c, incarnation l, bool n) : shard_op(kind::exited), supervisor(s), child(c), life(l), normal(n) {}
};

/// What the supervisor decided. Names the incarnation it is about, when it knows it: a stale one is ignored.
struct order_op final : shard_op {
  enum class order : std::uint8_t { start, stop, kill, leave, remove, quarantine,
                                    down };  ///< The supervisor is stopped or quarantined itself, and so is the child.
  order what;
  entity_id child;
  entity_id supervisor;
  std::optional<incarnation> life;
  std::uint64_t ticket;                      ///< 0: wants no answer.
  down_cause cause{};                        ///< Of `down`.
  order_op(order o, entity_id c, entity_id s, std::optional<incarnation> l, std::uint64_t t)
    : shard_op(kind::order), what(o), child(c), supervisor(s), life(l), ticket(t) {}
};

/// A child's answer to an order.
struct answer_op final : shard_op {
  enum class news : std::uint8_t { stopped, started, start_failed,
                                   began };  ///< By a person's hand, not by the supervisor's order.
  news what;
  entity_id supervisor;
  supervised_child child;
  incarnation life;
  std::uint64_t ticket;
  answer_op(news n, entity_id s, supervised_child c, incarnation l, std::uint64_t t)
    : shard_op(kind::answer), what(n), supervisor(s), child(c), life(l), ticket(t) {}
};

/// The process died while it ran this message. At a start, before anything runs.
struct suspect_op final : shard_op {
  entity_id entity;
  std::uint64_t message;
  std::string how;
  bool blamed;                               ///< Its own thread raised the signal, or it did not end: no neighbour's fault.
  suspect_op(entity_id e, std::uint64_t m, std::string h, bool b) : shard_op(kind::suspect), entity(e), message(m), how(std::move(h)), blamed(b) {}
};

/// An event about another entity, which cannot write it down itself just now. To the tenant's root supervisor.
struct note_op final : shard_op {
  entity_id to;
  persistence::event_row event;
  note_op(entity_id t, persistence::event_row e) : shard_op(kind::note), to(t), event(std::move(e)) {}
};

/// An entity's timer for the next of its rows to go, once it is deleted.
inline constexpr const char* purge_message = "hive.purge";

/// What tells a message from all others, also when it comes again after a restart; 0: it does not come again by itself.
std::uint64_t message_of(const envelope& e) noexcept;

/// Entities whose life a supervisor ended while their shard was busy with it: what such a turn did is dropped at its end.
/// Any thread.
class revoked_lives {
public:
  bool contains(entity_id id) const {
    if (count_.load(std::memory_order_acquire) == 0) return false; // nearly always
    std::lock_guard lock(guard_);
    return ids_.contains(id);
  }
  void add(entity_id id) {
    std::lock_guard lock(guard_);
    ids_.insert(id);
    count_.store(ids_.size(), std::memory_order_release);
  }
  void remove(entity_id id) {
    if (count_.load(std::memory_order_acquire) == 0) return;
    std::lock_guard lock(guard_);
    ids_.erase(id);
    count_.store(ids_.size(), std::memory_order_release);
  }

private:
  mutable std::mutex guard_;
  std::unordered_set<entity_id> ids_;
  std::atomic<std::size_t> count_{0};
};

/// Everything a shard needs from outside.
class shard_services {
public:
  virtual ~shard_services() = default;
  virtual const clock_source& clock() const noexcept = 0;
  virtual const config::settings& settings() const noexcept = 0;
  virtual executor_registry& executors() noexcept = 0;

  virtual void submit(std::unique_ptr<actor_record> record) = 0;
  virtual journal_position allot(shard_id shard) noexcept = 0;
  /// To the shard that owns `to`; from any thread.
  virtual void post(entity_id to, std::unique_ptr<shard_op> op) = 0;
  virtual void post_to(shard_id shard, std::unique_ptr<shard_op> op) = 0;
  /// Answers with a `loaded_op` for `fence`.
  virtual void load(entity_id id, tenant_context who, epoch fence) = 0;
  /// Runs `read` on a reader thread. Tenants take turns.
  virtual void read(tenant_id for_whom, std::function<void(persistence::store_reader&)> read) = 0;
  /// The id that a name has, when it is at hand.
  virtual std::optional<entity_id> known(tenant_context who, entity_kind kind, std::string_view name) = 0;
  /// The same, looked up; `done` on any thread.
  virtual void resolve(tenant_context who, entity_kind kind, std::string name,
                       std::function<void(result<entity_id>)> done) = 0;
  /// Runs the step on the executor threads; answers with a `step_done_op`.
  /// Not at all when `deadline` has passed before a thread is free: the turn has heard `unknown` by then.
  virtual void execute(executor& e, executor::call call, steady_time deadline, entity_id entity, std::uint64_t turn, std::uint32_t step) = 0;
  virtual tenant_context context_of(tenant_id tenant, std::string_view principal) = 0;
  virtual tenant_metrics& metrics(tenant_id tenant) = 0;
  virtual node_gauges& gauges() noexcept = 0;
  virtual std::uint64_t new_seed() noexcept = 0;
  /// Null: what runs is not recorded.
  virtual turn_recorder* recorder() noexcept { return nullptr; }
  /// What searches of this node read.
  virtual context_views& views() noexcept = 0;
  /// Whether there are other nodes: what is sent may be lost with a link or an owner, and is sent again.
  virtual bool among_others() const noexcept { return false; }
  /// Whether this node runs the entity: a life is revoked where it runs.
  virtual bool here(entity_id) const noexcept { return true; }
  /// Makes vectors for the turns of collections.
  virtual text_embedder& embedder() noexcept = 0;
  revoked_lives& revoked() noexcept { return revoked_; }

private:
  revoked_lives revoked_;
};

class shard_core {
public:
  shard_core(shard_id id, epoch fence, shard_services& services);
  ~shard_core();

  void handle(std::unique_ptr<shard_op> op);
  /// Runs up to `turns_per_slice` turns. @returns true when there is more to do at once.
  bool run_slice();
  /// Fires what is due and unloads what is idle.
  void tick(steady_time now);
  /// When `tick` should run next, if at all.
  std::optional<steady_time> next_due() const;

  /// A waiting turn found in the store at start: runs again from the state it began with.
  void recover(persistence::waiting_entity&& waiting);
  /// An undelivered message found in the store at start.
  void recover(persistence::outbox_row&& row);

  /// Unloads an idle entity now: its memory is wanted elsewhere.
  void unload(entity_id id);

  // -- when ownership moves (shard_hand_off.cpp)

  /// No turn begins or goes on from here; messages wait. `quiet` is called once, when nothing runs and all is settled.
  void close(std::function<void()> quiet);
  /// The hand-off did not happen: `close` is undone.
  void open();
  /// What waits in mailboxes and would be lost otherwise: asks and tells. (Durable senders send again.) The shard is over
  /// after this: destroy it.
  std::vector<std::unique_ptr<shard_op>> give_up();
  /// Receivers that `moved` names have a new owner, or were out of reach: what they have not handled is sent again.
  /// Supervisors with a new owner, who knows nothing, hear again of lives that ended.
  void send_again(const std::function<bool(entity_id)>& moved, bool new_owner);
  /// To receivers that have handled nothing for a while, less and less often. Each second, among other nodes.
  void send_stuck_again();

  /// There are so many timers in the store.
  void load_timers(std::uint64_t count);

  std::size_t activations() const noexcept { return entities_.size(); }
  /// Nothing queued, nothing under way: for tests that wait for quiet.
  bool quiet() const noexcept;

  shard_id id() const noexcept { return id_; }
  epoch fence() const noexcept { return fence_; }

  // -- for `turn`: what a running turn asks for (shard_turns.cpp, shard_steps.cpp)
  shard_services& services() noexcept { return services_; }
  const config::entity_limits& limits() const noexcept { return limits_; }
  std::unique_ptr<actor_record> make_record(const activation& a, tenant_context who);

  void explain(entity_id id, std::function<void(result<json>)> done);
  /// What an entity of the hive's own has in memory; null: nothing.
  const entity_memory* memory_of(entity_id id) {
    const activation* a = find(id);
    return a && a->more ? a->more->memory.get() : nullptr;
  }
  /// Null: it knows nothing of it. Without "status": it is not in memory.
  json status_of(entity_id id);

private:
  struct timer {
    steady_time due;
    entity_id entity;
    std::uint64_t turn;                         // 0: a load or a message to be tried again
    std::uint32_t step;
    bool operator>(const timer& other) const noexcept { return due > other.due; }
  };

  // shard_core.cpp
  activation* find(entity_id id) noexcept;
  activation& find_or_make(entity_id id, tenant_context who);
  void deliver(std::unique_ptr<envelope> e);
  void make_ready(activation& a);
  static void let_others_in(activation& a) noexcept;
  bool runnable(const activation& a) const noexcept;
  void dispatch(activation& a);
  void read_clock() noexcept;
  void start_loading(activation& a);
  void loaded(loaded_op& op);
  void count_bytes(activation& a) noexcept;
  void touch(activation& a) noexcept;
  void make_newest(activation& a) noexcept;
  void unlink(activation& a) noexcept;
  bool may_passivate(const activation& a) const noexcept;
  void keep_facts(const activation& a);
  void take_facts(activation& a);
  void passivate_idle();
  void passivate(activation& a);
  void refuse(std::unique_ptr<envelope> e, error why);

  // shard_keys.cpp
  bool settle_by_key(activation& a, std::unique_ptr<envelope>& e);
  void load_keys(activation& a);
  void return_awaiting(activation& a);
  void answer_from_row(activation& a, std::unique_ptr<envelope> e, journal_position row);
  void find_generated(activation& a, std::unique_ptr<envelope> e);
  static void walk_generated(shard_services& services, entity_id id, tenant_context who, journal_position from, std::shared_ptr<envelope> held);
  static void found_generated(shard_services& services, entity_id id, std::shared_ptr<envelope> held, result<std::optional<journal_position>> row);
  void end_lookup(activation& a);
  bool answered_since(activation& a, std::unique_ptr<envelope>& e);

  // shard_turns.cpp
  void begin(activation& a, std::unique_ptr<envelope> e);
  void run_turn(activation& a, std::unique_ptr<turn_host> host);
  void proceed(activation& a, std::unique_ptr<turn_host> host);
  void end_turn(activation& a, std::unique_ptr<turn_host> host);
  static bool note_replies(activation& a, const turn_host& own, const envelope& in);
  void finish(activation& a, std::unique_ptr<turn_host> host);
  void refuse_turn(activation& a, std::unique_ptr<turn_host> host, error why);
  void crash(activation& a, std::unique_ptr<turn_host> host, std::string what);
  void mark(activation& a, actor_record& r, const envelope& e);
  void take_mark(activation& a, actor_record& r, std::unique_ptr<envelope> reply);
  void retry_later(activation& a, std::unique_ptr<envelope> e);
  void end_waiting(activation& a, tenant_context who, std::uint64_t number, std::unique_ptr<envelope> reply);
  void fire_again(activation& a, std::unique_ptr<envelope> e, std::uint64_t number, std::unique_ptr<envelope> reply);
  void refuse_sent(activation& a, std::unique_ptr<envelope> e, const error& why);
  void dead_letter(activation& a, std::unique_ptr<envelope> e, std::string reason, std::string what, json detail = json::object());
  void add_reply(activation& a, actor_record& r, const envelope& to, payload answer, const error* failure);
  void submit(activation& a, std::unique_ptr<actor_record> r);
  bool resolve_sends(activation& a, std::unique_ptr<turn_host>& host);
  void stage_sends(activation& a, turn_host& host);

  // shard_steps.cpp
  void wait(activation& a, std::unique_ptr<turn_host> host);
  void fail_step(activation& a, std::uint32_t step, error why);
  void begin_step(activation& a, turn_host& host);
  void start_step(activation& a, turn_host& host, std::uint32_t step);
  void step_done(step_done_op& op);
  void step_finished(activation& a, std::uint32_t step, result<payload> answer);
  void take_reply(activation& a, std::unique_ptr<envelope> e);
  void start_read(activation& a);
  void read_done(entity_id id, std::uint32_t generation, std::uint64_t turn);
  void resume(activation& a);

  // shard_commits.cpp
  void settled(settled_op& op);
  void committed(activation* a, std::unique_ptr<actor_record> r);
  void failed(activation& a, settled_op& op);
  void settle_waiters(activation& a, std::uint64_t key, const actor_record& r);
  void reload(activation& a);

  // shard_timers.cpp
  void read_timers();
  void fire_timers();
  bool still_wanted(const envelope& e) const;
  void give_back_timer(const envelope& e);
  void stage_timers(activation& a, actor_record& r);
  void purge_later(actor_record& r, std::chrono::milliseconds wait);
  void purge_rows(activation& a, std::unique_ptr<envelope> e);
  void purged(activation& a, const actor_record& r);
  void timers_committed(const actor_record& r);
  void timers_failed(const actor_record& r);

  // shard_recall.cpp
  void recall(activation& a, std::unique_ptr<envelope> e);
  bool recall_later(activation& a, const envelope& e, actor_record& r);
  void refuse_recalled(activation& a, std::unique_ptr<envelope> request);
  void forward_recall(activation& a, turn_host& host);
  void recall_task(activation& a, turn_host& host);
  void end_recalled(activation& a);

  // shard_outbox.cpp
  void add_outbox(activation& a, actor_record& r, entity_id to, lane on, std::string type, payload body, const envelope& extra);
  void count_deadline(envelope& e) const;
  void enqueue_outbound(activation& a, std::unique_ptr<envelope> e);
  void pump(activation& a, outbound_link& link);
  void handled(handled_op& op);
  bool handled_before(activation& a, const envelope& e);
  void acknowledge(entity_id sender, entity_id receiver, std::uint64_t sequence);
  void flush_later(entity_id sender);
  void flush_delivered(activation& a);

  // shard_hand_off.cpp
  void tell_if_quiet();
  void send_rows_again(std::unordered_map<entity_id, std::vector<std::uint64_t>> wanted);
  bool is_here(activation& a, const envelope& again);
  bool came_too_early(activation& a, const envelope& e);

  // shard_system.cpp
  void system_message(activation& a, std::unique_ptr<envelope> e);
  void start_by_hand(activation& a, actor_record& r);
  void stop_by_hand(activation& a, bool restart);
  void abandon_turn(activation& a, actor_record& r, const error& why, const char* reason);
  void record_event(activation& a, const char* what, json data);
  void suspect(activation& a, const suspect_op& op);
  void note(activation& a, note_op& op);

  // shard_explain.cpp
  json waits_of(const activation& a) const;
  void remember_turn(const activation& a, const envelope& in, wall_time began, const char* how, std::string_view why = {});
  json past_of(entity_id id) const;

  suspect_message& suspect_of(activation& a, std::uint64_t message);
  void forget_suspect(activation& a, actor_record& r, const envelope& e);
  const suspect_message* known_suspect(const activation& a, const envelope& e) const noexcept;
  bool poisonous(const activation& a, const envelope& e) const noexcept;

  // shard_supervision.cpp: the supervisor's side
  void to_loaded(entity_id id, std::unique_ptr<shard_op> op);
  void take_orders(activation& a);
  void take_loaded(activation& a, shard_op& op);
  void supervise(activation& a, shard_op& op);
  supervision& supervision_of(activation& a);
  void act(activation& a);
  using children_listed = std::function<void(shard_core&, std::vector<supervised_child>)>;
  /// Children to be read, and who wants them.
  struct listing {
    entity_id supervisor;
    tenant_context who;
    std::string name;
    children_listed then;
    std::chrono::milliseconds pause{50};        // before the next try; doubled each time
  };
  void list_children(activation& a, children_listed then);
  void read_children(listing wanted);
  void list_again(listing wanted);
  void take_down(activation& a, down_cause why);
  void life_over(activation& a, const supervisor_command& c);
  void supervision_due(activation& a);

  // shard_supervision.cpp: the child's side
  static entity_id supervisor_of(const activation& a) noexcept;
  void obey(activation& a, order_op& op);
  void end_group(activation& a);
  void begin_stop(activation& a, std::unique_ptr<stop_under_way> stop);
  void try_stop(activation& a);
  void stop_overdue(activation& a, std::uint32_t number);
  void drop_turn(activation& a);
  void begin_life(activation& a, std::uint64_t ticket);
  void reset_then_begin(activation& a);
  void begin_when_settled(activation& a);
  void set_desired(activation& a, actor_record& r, persistence::desired_state wanted);
  void settle_down(activation& a, persistence::desired_state as, const char* event, bool with_spec);
  void end_life(activation& a, bool normal);
  void answer(activation& a, entity_id supervisor, answer_op::news what, std::uint64_t ticket);

  friend class turn;
  friend struct turn_host;

  /// In place of a turn's number in `timers_`: what else may come due.
  static constexpr std::uint64_t supervision_timer = ~std::uint64_t{0};
  static constexpr std::uint64_t stop_timer = supervision_timer - 1;
  static constexpr std::uint64_t listing_timer = supervision_timer - 2;

  shard_id id_;
  epoch fence_;
  shard_services& services_;
  const config::settings& settings_;
  const config::entity_limits& limits_;
  absl::flat_hash_map<entity_id, std::unique_ptr<activation>, std::hash<entity_id>> entities_;
  /// Of those that had trouble and were unloaded since, so that it is not forgotten: as many as may be in memory.
  struct kept_facts {
    std::uint32_t restarts = 0;
    std::string last_error;
    wall_time last_error_at{};
  };
  absl::flat_hash_map<entity_id, kept_facts, std::hash<entity_id>> kept_;
  /// One of the shard's last turns, other than tells that wrote nothing.
  struct past_turn {
    static constexpr std::size_t text_bytes = 64;
    entity_id entity;
    wall_time began{}, ended{};
    const char* how = "";
    std::string type, why;
  };
  std::vector<past_turn> past_;                 // a ring
  std::size_t next_past_ = 0;
  fair_queue<activation*> ready_;
  activation* newest_ = nullptr;
  activation* oldest_ = nullptr;
  std::uint64_t bytes_ = 0;
  std::uint64_t bytes_told_ = 0;                // to the node's gauge
  std::int64_t queued_change_ = 0;              // since the node's gauge was last told: not at every message
  std::unique_ptr<turn_host> spare_;
  std::priority_queue<timer, std::vector<timer>, std::greater<>> timers_;
  scheduling::timer_window alarms_{256};        // timers of entities
  steady_time retry_timers_{};                  // when a page of them could not be read
  std::unordered_set<entity_id> to_flush_;      // activations with delivered outbox rows to delete
  steady_time flush_at_{};                      // when those go with records of their own
  std::uint32_t stops_ = 0;
  std::size_t records_out_ = 0;                 // submitted, not settled
  bool closed_ = false;
  std::function<void()> when_quiet_;
  steady_time now_{};                           // read every few turns: a clock read costs as much as a small turn
  wall_time wall_now_{};
  steady_time next_sweep_{};
  steady_time stalled_until_{};
  random_source chance_;
  std::unordered_map<std::uint32_t, listing> listings_; // that could not be read, by the number of their timer
  std::uint32_t listings_made_ = 0;
};

} // namespace hive::actors
