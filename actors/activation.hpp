/// @file
/// The live instance of an entity: its state in memory, its mailbox, and what it has under way. Small, because a node
/// holds a million of them: what few need hangs behind one pointer.
#pragma once

#include "actors/mailbox.hpp"
#include "actors/supervisor.hpp"
#include "actors/turn_host.hpp"

#include <deque>

namespace hive::actors {

/// The code and settings of an entity. Shared by all entities of a shard with the same text.
struct loaded_spec {
  entity_kind kind = entity_kind::agent;
  const behaviour* code = nullptr;
  std::string behaviour_name;
  json config = json::object();
  entity_id supervisor;
  restart_type restart = restart_type::permanent;
  bool significant = false;
  std::optional<std::chrono::milliseconds> shutdown{std::chrono::milliseconds{5'000}};
  std::optional<supervisor_spec> group;   ///< Of a supervisor.
};

enum class activity : std::uint8_t {
  absent,    ///< Not loaded yet; only its outbox may be here.
  loading,
  idle,
  waiting,   ///< A turn is parked in a step or a read.
  crashed,   ///< Until its supervisor says what happens. Also after an end without an error.
  held,      ///< Stopped by its supervisor, which starts it again; what comes meanwhile waits.
  paused,    ///< A durable message could not be handled just now; it is tried again in a moment.
  reloading, ///< A commit failed: the turns that ran ahead settle, then it loads again.
};

const char* to_string(activity a) noexcept;

struct log_head {
  std::string name;
  std::uint64_t size = 0;     ///< Entries ever written, as the store counts them.
  std::uint64_t floor = 0;    ///< Those before this one were reset: for the behaviour, its first entry is here.
};

/// Messages to one receiver that it has not handled yet, in order.
struct outbound_link {
  std::deque<std::unique_ptr<envelope>> unsent;
  struct sent {
    std::uint64_t sequence = 0;
    lane on = lane::user;
  };
  std::vector<sent> in_flight;               ///< At most `entity.outbox_window`, in order.
  std::uint64_t stuck_at = 0;                ///< The first of them when it was last looked at,
  std::uint32_t looks_left = 0;              ///< and how often it is looked at before it is sent again.
  std::uint32_t patience = 1;                ///< Doubled with each sending.
  std::uint64_t last_of(lane on) const noexcept {
    for (auto m = in_flight.rbegin(); m != in_flight.rend(); ++m)
      if (m->on == on) return m->sequence;
    return 0;
  }
};

/// A keyed ask that is accepted and not settled: repeats of it wait here.
struct running_key {
  std::uint64_t hash = 0;
  request_digest digest;
  std::vector<ticket_ref> waiters;
};

/// A supervisor that has something to do, or had of late.
struct supervision {
  supervisor_core core;
  std::optional<steady_time> armed;   ///< Its timer.
  std::uint64_t start_ticket = 0;     ///< Of its own start, answered when its children have started.
  std::uint64_t counted = 0;          ///< Of its restarts, in `activation::restarts`.
};

/// A stop under way: by the entity's supervisor, or by a person.
struct stop_under_way {
  entity_id supervisor;               ///< Hears when it is complete; zero: a person's.
  std::uint64_t ticket = 0;
  std::uint32_t number = 0;           ///< Of its timer.
  bool by_person = false;
  bool restart = false;               ///< A new life follows.
  std::unique_ptr<shard_op> next;     ///< A start that came before the end.
};

/// Why an entity is down that wants to run: a supervisor above it does not.
struct down_cause {
  std::string supervisor;             ///< The name of the nearest one.
  persistence::desired_state state = persistence::desired_state::stopped; ///< Stopped or quarantined.
};

/// A message that did harm: counted on disk before it runs again.
struct suspect_message {
  std::uint64_t message = 0;          ///< `message_of`; 0: deaths that the agent is to blame for, whatever the message.
  std::uint32_t deaths = 0;           ///< Of the process, while its turn ran.
  std::uint32_t crashes = 0;          ///< Of the agent.
};

/// An answer that was put off (`turn::defer_reply`) and not given yet.
struct open_reply {
  reply_address to;
  std::string on_cancel;              ///< Type of the message that its agent wants when it is taken back; empty: none.
};

/// What an entity of the hive's own keeps in memory between turns: made from its rows, and dropped with every turn that is
/// not committed.
struct entity_memory {
  virtual ~entity_memory() = default;
  /// Whether anybody used it since this was last asked, by another way than a turn.
  virtual bool used() { return false; }
};

/// The idempotency keys that an entity has answered, in order of time.
class answered_keys {
public:
  void add(std::uint64_t hash, journal_position row, wall_time at) {
    if (rows_.insert_or_assign(hash, row).second) by_age_.emplace_back(at, hash);
  }
  std::optional<journal_position> find(std::uint64_t hash) const {
    const auto found = rows_.find(hash);
    return found == rows_.end() ? std::nullopt : std::optional(found->second);
  }
  void erase(std::uint64_t hash) { rows_.erase(hash); }
  /// Forgets what was answered before `oldest`.
  void expire(wall_time oldest) {
    for (; !by_age_.empty() && by_age_.front().first < oldest; by_age_.pop_front()) rows_.erase(by_age_.front().second);
  }
  std::size_t size() const noexcept { return rows_.size(); }
  std::size_t bytes() const noexcept { return rows_.size() * 40 + by_age_.size() * sizeof(by_age_.front()); }
  void clear() {
    rows_.clear();
    by_age_.clear();
  }

private:
  std::unordered_map<std::uint64_t, journal_position> rows_;  // key hash -> row with the answer
  std::deque<std::pair<wall_time, std::uint64_t>> by_age_;
};

/// How far the messages of one sender in one lane have been handled: highest sequences.
struct sender_mark {
  std::uint64_t handled = 0;          ///< By a turn that may not be on disk yet.
  std::uint64_t on_disk = 0;          ///< Up to here its sender may be told so: what only ran can still be lost with the shard.
};
/// Under which it is kept in `activation_extra::marks`.
inline std::uint64_t mark_key(entity_id sender, std::uint8_t on) noexcept { return sender.bits() * 4 + on; }
inline std::uint64_t mark_key(const envelope& e) noexcept { return mark_key(e.sender, static_cast<std::uint8_t>(e.on)); }

/// What only some activations have.
struct activation_extra {
  std::unordered_map<std::uint64_t, sender_mark> marks;       ///< By `mark_key`.
  answered_keys keys;
  bool keys_loaded = false;
  bool keys_loading = false;
  std::vector<running_key> running;
  std::vector<std::unique_ptr<envelope>> awaiting_keys;       ///< Keyed asks until the index is there.
  std::uint32_t lookups = 0;                                  ///< Repeats of generated keys that are being looked up.
  std::unordered_map<std::uint64_t, journal_position> answered_meanwhile; ///< Generated keys, since the first lookup began.
  std::map<entity_id, outbound_link> links;
  std::uint32_t outbox_size = 0;
  std::vector<std::uint64_t> delivered;                       ///< Own outbox rows to delete with a later commit.
  std::unique_ptr<turn_host> turn;                            ///< The waiting turn.
  bool read_wanted = false;                                   ///< It waits for a read, which waits for the disk.
  std::vector<std::unique_ptr<envelope>> returned;            ///< Messages of failed commits, until they all settled.
  std::vector<std::unique_ptr<envelope>> undeliverable;       ///< Refused by the store too often: dead letters after the reload.
  std::vector<std::pair<std::uint64_t, std::unique_ptr<envelope>>> uncertain; ///< Of failed commits of waiting turns, by turn.
  std::vector<suspect_message> suspects;                      ///< Stored with the state; newest last.
  std::vector<open_reply> open_replies;                       ///< Stored with the state; in order of putting off.
  std::unique_ptr<supervision> supervises;
  std::unique_ptr<stop_under_way> stop;
  std::vector<std::unique_ptr<shard_op>> after_load;          ///< Orders, exits and answers that wait for the entity's load.
  bool above_down = false;                                    ///< A supervisor above is stopped or quarantined, and so is this one:
  persistence::desired_state own_desired{};                   ///< its own desired state,
  down_cause above;                                           ///< and which one.
  std::vector<std::uint64_t> unended;                         ///< Waiting turns whose rows are to go, and did not.
  bool pause_after_reload = false;                            ///< The store was away: do not try again at once.
  std::unique_ptr<entity_memory> memory;
  std::string last_error;
  wall_time last_error_at{};
};

struct activation {
  // What every turn touches, in two cache lines.
  entity_id id;
  tenant_context who;                ///< The tenant's own context: for loads and commits without a message.
  mailbox box;
  std::uint32_t last_used = 0;       ///< In units of 64 ms of the shard's clock.
  std::uint32_t run_ahead = 0;       ///< Turns not settled yet.
  std::uint64_t run_ahead_bytes = 0;
  std::uint64_t turns = 0;
  std::shared_ptr<const loaded_spec> spec;
  std::unique_ptr<activation_extra> more;
  activity doing = activity::absent;
  persistence::desired_state desired = persistence::desired_state::running;
  bool queued = false;               ///< In the shard's dispatch queue.
  bool used = false;                 ///< Since the last sweep.
  bool spec_stale = false;
  bool suspected = false;            ///< There are `more->suspects`.
  bool stopping = false;             ///< No new turn; `more->stop` says what follows.
  bool resetting = false;            ///< Its next life begins with nothing: before it, state, logs and rows go. Stored.
  std::uint32_t generation = 0;      ///< Rises when the activation starts over; older records are void.

  std::string state;                 ///< After the last turn that ended well, on disk or not.
  std::string name;
  std::vector<log_head> logs;
  std::uint64_t version = 0;         ///< After that turn.
  std::uint64_t sent = 0;
  journal_position last_keyed{};     ///< Newest row with a key of a client's.
  journal_position last_generated{}; ///< Newest row with a key that the gateway made: a chain of its own.
  journal_position keyed_on_disk{};     ///< As `last_keyed`, of what is committed: where a walk of the chain may begin.
  journal_position generated_on_disk{}; ///< As `last_generated`.
  journal_position log_tail{};
  activation* newer = nullptr;       ///< In order of last use as the last sweep saw it, per shard.
  activation* older = nullptr;
  std::uint32_t restarts = 0;        ///< Since the node started: new lives; of a supervisor, restarts that it carried out.
  incarnation life{};
  incarnation stored_life{};         ///< As the last record says.
  std::size_t counted = 0;           ///< Of `bytes`, in the shard's sum.

  explicit activation(entity_id of, tenant_context by) noexcept : id(of), who(by) {}
  activation_extra& extra() {
    if (!more) more = std::make_unique<activation_extra>();
    return *more;
  }
  /// What it takes in memory between turns, roughly: looked at after every turn, so it walks over nothing.
  std::size_t bytes() const noexcept;
};

/// The stored form of `state`: the sizes of the entity's logs, messages that did harm, whether a reset is under way, answers put
/// off, then the behaviour's own bytes.
std::string encode_state(const activation& a);
bool decode_state(std::string_view stored, activation& into);

} // namespace hive::actors
