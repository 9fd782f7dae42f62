/// @file
/// The scheduler of one queue: which task runs where and when, what follows from its end. Pure: time and chance are
/// arguments, and what is to be done outside comes back as `queue_effects`. `system/queue_behaviour` keeps its rows and
/// sends its messages.
///
/// ```
///            dependencies done, or backoff over
///  waiting ────────────────────────────────────> queued ──> running ──> succeeded
///     ^                                             │          │ ├────> failed, dead (attempts used up)
///     └──────────── failed, to be tried again ──────│──────────┘ │
///                                                   └────────────┴────> cancelled (the agent has acknowledged)
/// ```
/// An attempt ends by its agent's word only: an answer, a failure, or the acknowledgement of its recall. What an agent that
/// a capability chose does not take at all (it is stopped) goes back to the line, and is no attempt.
///
/// What was submitted on behalf of a task is under it, also when that has ended: it is kept until all under it has ended, so
/// that cancelling what is above reaches everything.
///
/// One of `parts` partitions of a tenant's queue. It gives work to its own agents only. An attempt by an agent of another
/// partition is lent to that one, which does it as a task of its own, with one attempt, and answers as an agent would.
/// Tasks that wait for a capability while agents of other partitions are free are offered to those now and then.
#pragma once

#include "actors/scheduling/agent_choice.hpp"

#include <memory>

namespace hive::actors::scheduling {

/// The numbers are stored and are those of hive.v1.TaskState; never renumber.
enum class task_state : std::uint8_t { queued = 1, running = 2, succeeded = 3, failed = 4, cancelled = 5, waiting = 6, dead = 7 };
const char* to_string(task_state s) noexcept;
inline bool ended(task_state s) noexcept { return s != task_state::queued && s != task_state::running && s != task_state::waiting; }

/// What makes a group of tasks succeed. Stored; never renumber. `none`: not a group, a piece of work.
enum class fan_in : std::uint8_t { none = 0, all = 1, first = 2, quorum = 3, best_effort = 4 };

struct retry_policy {
  std::uint32_t attempts = 1;
  std::chrono::milliseconds backoff{1'000};      ///< Before the second attempt; doubled for each later one, half of it by chance.
  std::chrono::milliseconds backoff_max{60'000};
};

struct dependency {
  task_id on;
  bool any_end = false;                          ///< Its end is enough; otherwise it must succeed.
};

struct task_error {
  std::string reason;
  std::string message;
  std::string field;
};

/// An attempt that did not succeed.
struct past_attempt {
  std::uint32_t number = 0;
  std::string agent;                             ///< Name; empty when it is another partition's and not known.
  wall_time ended{};
  task_error error;
};
inline constexpr std::size_t past_attempts_max = 10;
inline constexpr std::size_t past_message_max = 200; ///< Bytes.

/// What is known of a task from its submission on.
struct task_spec {
  task_id id;
  task_id parent;                                ///< The group, or the task on whose behalf it was submitted.
  task_id undo_of;                               ///< It undoes that sibling.
  entity_id agent;                               ///< When it names one; otherwise `capability` and `complexity` choose.
  std::string capability;
  std::uint8_t complexity = 0;
  std::uint8_t priority = 3;                     ///< 1 (first) .. 5
  wall_time submitted{};
  wall_time deadline = wall_time::max();         ///< Of the whole task.
  retry_policy retry;
  std::vector<dependency> needs;                 ///< Only what has not been met at submission.
  entity_id undo_agent;                          ///< Who undoes it, when it can be undone.
  fan_in group = fan_in::none;
  std::uint32_t quorum = 0;
};

/// How far it is.
struct task_status {
  task_state state = task_state::queued;
  std::uint32_t attempt = 0;                     ///< Begun so far.
  entity_id agent;                               ///< That has, or had last, an attempt.
  wall_time not_before{};                        ///< Of the next attempt, while it waits for that.
  wall_time started{};
  wall_time ended{};
  /// When not `queued`: it is being ended as this; what of it is under way must end first.
  task_state ending = task_state::queued;
  std::uint8_t lent = 0;                         ///< The attempt is at the partition `lent - 1`; 0: here.
  bool held_up = false;                          ///< Lent, and there it still waits for its agent.
  std::uint32_t refused = 0;                     ///< Of its attempts: by agents that take nothing.
  std::vector<past_attempt> past;                ///< The last ones that another followed, oldest first.
  task_error error;
  /// As people see it.
  task_state shown() const noexcept { return held_up && state == task_state::running ? task_state::queued : state; }
};

struct task_entry : task_spec, task_status {
  std::vector<task_id> dependents;
  std::uint32_t unmet = 0;                       ///< Dependencies not met yet.
  std::vector<task_id> children;
  std::uint32_t open = 0;                        ///< Children that have not ended.
  std::uint32_t lingering = 0;                   ///< Children that have, and something under them has not.
  std::uint32_t good = 0;                        ///< Children that succeeded.
  std::uint32_t bad = 0;                         ///< Children that ended otherwise; undo steps not counted.
  bool undoing = false;
  bool lingers = false;                          ///< Counted by its parent as such.
  bool settled = false;                          ///< Ended, and what follows from that has been done.
  bool leaving = false;                          ///< Queued, to be lent.
  bool foreign = false;                          ///< A live task of another partition, which tasks here depend on.
  std::int64_t rank() const noexcept;
  bool over() const noexcept { return scheduling::ended(state) && open + lingering == 0; }
  /// Something under it must end before it may. One that succeeds leaves those alone that have its children's work to go on with.
  bool busy() const noexcept { return open != 0 || (ending != task_state::succeeded && lingering != 0); }
  entity_id agent_of() const noexcept { return task_status::agent; } ///< Who has, or had last, an attempt.
};

/// What an agent said about an attempt.
struct verdict {
  enum class kind : std::uint8_t { succeeded, failed, cancelled, refused }; ///< `refused`: the agent takes nothing now.
  kind what = kind::succeeded;
  bool final = false;                            ///< Failed, and another attempt would fail the same way.
  task_error error;
};

struct queue_limits {
  breaker_limits breaker;
  retry_limits retry;
  std::size_t tasks = 1'000'000;                 ///< Live ones.
  std::uint32_t concurrency = 1;                 ///< Tasks of this queue at an agent at a time.
  std::chrono::milliseconds pass_on{1'000};      ///< Between offers of waiting tasks to other partitions.
};

/// Tasks, or places for some, by complexity.
using by_complexity = std::array<std::uint32_t, complexity_max + 1>;

/// What has to happen outside, in order. `changed` names each task whose status is another one, once; the ended ones of
/// them are gone from the queue, so their last status is here.
struct queue_effects {
  struct assignment {
    task_id task;
    entity_id agent;
    std::uint32_t attempt;
    bool recall;                                 ///< Not to begin it but to cancel it.
    std::uint8_t lent = 0;                       ///< To the partition `lent - 1`, not to an agent here.
  };
  struct offer {
    std::uint32_t partition;
    std::string capability;
    by_complexity waiting;
  };
  std::vector<assignment> messages;
  std::vector<offer> offers;                     ///< Tasks that wait here, and that agents of that partition are able to do.
  std::vector<entity_id> freed;                  ///< Another partition's agents that ended an attempt of this one.
  std::vector<std::pair<task_id, task_status>> ended;
  std::vector<task_id> changed;
  std::vector<task_spec> created;                ///< Undo steps.
};

/// Confined to one thread.
class task_queue {
public:
  task_queue(queue_limits limits, wall_time now) : limits_(limits), lent_retries_(limits.retry, now) {}
  task_queue(const task_queue&) = delete;
  task_queue& operator=(const task_queue&) = delete;

  /// A new id, higher than all before it: in the order of time.
  task_id next_id(wall_time now) noexcept;
  /// That id has been given out before.
  void saw(task_id id) noexcept { last_id_ = std::max(last_id_, id.value()); }

  // -- partitions
  /// It is partition `self` of `parts`. Work of agents that are another's from now on is lent to those. @pre never fewer
  void divide(std::uint32_t self, std::uint32_t parts, wall_time now, random_source& chance);
  std::uint32_t self() const noexcept { return self_; }
  std::uint32_t parts() const noexcept { return parts_; }
  /// Nobody here is given work before the partitions that had its agents have said what they still do.
  void arriving(bool still, wall_time now, random_source& chance);
  bool is_arriving() const noexcept { return arriving_; }
  /// An agent of this partition does `n` tasks that another one gave it when it was that one's.
  void began_elsewhere(entity_id id, std::uint32_t n);
  void ended_elsewhere(entity_id id, std::uint32_t n, wall_time now, random_source& chance);
  /// How many of those waiting elsewhere its agents could begin now.
  by_complexity spare(const std::string& name, by_complexity waiting);
  /// Lends as many, the first in line first.
  void lend(const std::string& name, const by_complexity& places, std::uint32_t to, wall_time now);
  /// What the partition that an attempt is lent to says of it. @returns false: about an attempt that is over.
  bool placed(task_id id, std::uint32_t attempt, entity_id agent, bool held_up, wall_time now);
  /// A live task of another partition: `submit` and `restore` may be given tasks that need it.
  void foreign(task_id id);
  void foreign_ended(task_id id, bool succeeded, wall_time now, random_source& chance);

  // -- agents
  /// Makes it known, or changes it.
  agent_entry& agent(entity_id id, std::string_view name);
  agent_entry* find_agent(entity_id id);
  void describe_agent(entity_id id, std::string_view name, std::vector<capability> can, std::uint32_t weight, wall_time now, random_source& chance);

  // -- tasks
  /// Whether `more` tasks are too many. The lower their priority (5), the earlier: a queue that fills up refuses those first.
  bool full(std::size_t more, std::uint8_t priority) const noexcept {
    return tasks_.size() + more > limits_.tasks - limits_.tasks / 20 * static_cast<std::size_t>(priority - 1);
  }
  /// @pre the agent is known, `needs` are live tasks, `id` is from `next_id`.
  void submit(task_spec spec, wall_time now, random_source& chance);
  /// @returns false: about an attempt that is over; nothing changed.
  bool answer(task_id id, std::uint32_t attempt, const verdict& v, wall_time now, random_source& chance);
  /// Ends it and everything under it. @returns false: no such live task.
  bool cancel(task_id id, wall_time now, random_source& chance);
  void pause_agent(entity_id id, bool paused, wall_time now, random_source& chance);
  void pause(bool paused, wall_time now, random_source& chance);
  bool paused() const noexcept { return paused_; }
  /// Whatever is due: deadlines, backoffs, breakers to be probed.
  void wake(wall_time now, random_source& chance);
  /// When `wake` has something to do; `wall_time::max()`: never.
  wall_time next_wake() const noexcept;

  // -- after a start: everything is put back, then `restored`
  void restore(task_spec spec, task_status status);
  /// @param outcome of tasks that restored ones need and that are not live: what became of them.
  void restored(const std::unordered_map<task_id, task_state>& outcome, wall_time now, random_source& chance);

  const task_entry* find(task_id id) const;
  std::size_t size() const noexcept { return tasks_.size(); }
  /// How many go before it; empty when it is not queued.
  std::optional<std::size_t> position(task_id id) const;
  /// Effects since the last call.
  queue_effects take();
  /// The smallest live id, and whether it is: where a scan for live tasks may begin.
  std::vector<task_id> oldest(std::size_t n) const;
  const std::unordered_map<task_id, task_entry>& all() const noexcept { return tasks_; }
  const std::unordered_map<entity_id, agent_entry>& agents() const noexcept { return agents_; }

private:
  task_entry* entry(task_id id);
  task_entry* live(task_id id);
  void changed(const task_entry& t) { changed_.insert(t.id); }
  bool can_take(const agent_entry& a, wall_time now) const noexcept;
  void place(agent_entry& a);
  void count_able(const agent_entry& a, int by);
  bool able_at(std::uint32_t partition, const std::string& name, std::uint8_t complexity) const;
  bool able_elsewhere(const std::string& name, std::uint8_t complexity) const;
  std::uint32_t borrower(const task_entry& t) const;
  void leave(task_entry& t);
  void lend_one(task_entry& t, std::uint32_t to, wall_time now);
  void offer_waiting(wall_time now);
  void relist(agent_entry& a, wall_time now) { choice_.list(a, can_take(a, now)); }
  void pump(agent_entry& a, wall_time now, random_source& chance);
  void pump_all(wall_time now, random_source& chance);
  void assign(agent_entry& a, task_entry& t, wall_time now);
  void make_ready(task_entry& t, wall_time now, random_source& chance);
  ready_set& line_of(const task_entry& t);
  void leave_line(task_entry& t);
  void begin_ending(task_entry& t, task_state as, task_error why, wall_time now);
  void end(task_entry& t, task_state as, wall_time now);
  void settle(wall_time now, random_source& chance);
  void end_if_free(task_entry& t, wall_time now);
  void child_ended(task_entry& parent, task_entry& child, wall_time now);
  void finish_group(task_entry& group, wall_time now);
  void let_go(task_id id, wall_time now);

  queue_limits limits_;
  retry_budget lent_retries_;                      ///< Of attempts at other partitions.
  agent_choice choice_;
  std::unordered_map<entity_id, agent_entry> agents_;
  std::unordered_map<task_id, task_entry> tasks_;  ///< Live ones, ended children of live groups, ended ones above live ones.
  std::set<task_id> order_;                        ///< Of `tasks_`.
  std::set<std::pair<wall_time, task_id>> deadlines_;
  std::set<std::pair<wall_time, task_id>> delayed_;
  std::set<std::pair<wall_time, entity_id>> breakers_; ///< Open ones that have work.
  std::vector<task_id> ends_;                      ///< Ended, with what follows from it still to be done.
  std::set<task_id> changed_;
  queue_effects out_;
  std::uint64_t last_id_ = 0;
  bool paused_ = false;

  std::uint32_t self_ = 0;
  std::uint32_t parts_ = 1;
  bool arriving_ = false;
  ready_set leaving_;                              ///< To be lent.
  wall_time offer_at_ = wall_time::max();
  /// By capability and partition: agents by what they are able to. Empty while there is one partition.
  std::unordered_map<std::string, std::array<by_complexity, queue_partitions_max>> able_;
};

/// A graph of "needs", by index, in an order in which each comes after all that it needs. Those that are in a cycle, or need
/// one that is, are missing.
std::vector<std::size_t> in_order(const std::vector<std::vector<std::size_t>>& needs);

} // namespace hive::actors::scheduling
