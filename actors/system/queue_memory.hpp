/// @file
/// What a queue entity keeps in memory between its turns, and how it is made from its rows.
#pragma once

#include "actors/activation.hpp"
#include "actors/scheduling/schedule.hpp"
#include "actors/scheduling/task_rows.hpp"
#include "config/settings.hpp"

#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

namespace hive::actors {

/// The queue entity's small state: where its live tasks are found, and the timer that is set.
struct queue_state {
  std::uint64_t floor = 0;                       ///< Tasks with lower ids have ended, but for those in `stragglers`.
  std::vector<std::uint64_t> stragglers;
  std::string alarm;                             ///< Token of the timer that wakes the queue; empty: none.
  std::int64_t alarm_at = 0;
  bool sweeping = false;                         ///< A timer or message that forgets old tasks is on its way.
  std::string encode() const;
  static queue_state decode(std::string_view bytes);
};

/// What people set about a queue: row "control".
struct queue_control {
  bool paused = false;
  struct agent {
    bool paused = false;
    std::uint32_t concurrency = 0;               ///< 0: as `tasks.concurrency` says.
    std::string name;
  };
  std::map<std::uint64_t, agent> agents;         ///< By id.
  std::string encode() const;
  static queue_control decode(const std::string& text);
};

/// What a partition still has to hear from others, and they from it: how agents change hands when partitions are added.
/// Row "owners"; the counts are rows "elsewhere/ID" of their own. Neither is there while nothing moved.
struct queue_owners {
  std::set<std::uint32_t> awaited;               ///< Partitions that have not said yet what they do for agents that are this one's.
  std::set<std::uint32_t> told;                  ///< Partitions that this one has told.
  bool pause_set = false;                        ///< Somebody paused it or let it go on since it began: what others say of that is older.
  std::string encode() const;
  static queue_owners decode(const std::string& text);
};

/// An agent that capabilities may choose.
struct able_agent {
  entity_id id;
  std::string name;
  std::vector<scheduling::capability> can;
  std::uint32_t weight = 1;
};

/// All that is read when a queue activates.
struct queue_rows {
  std::vector<scheduling::stored_task> tasks;
  std::unordered_map<scheduling::task_id, scheduling::task_state> outcome; ///< Of ended ones that live ones need.
  std::vector<able_agent> able;
  bool able_read = false;
  queue_control control;
  std::vector<std::pair<std::string, std::string>> schedules;
  scheduling::task_id newest;

  std::uint32_t partitions = 1;                  ///< As the tenant's spec says.
  std::optional<queue_owners> owners;
  struct elsewhere {
    entity_id agent;
    std::string name;
    std::uint32_t tasks = 0;
  };
  std::vector<elsewhere> begun_elsewhere;
  std::vector<scheduling::task_id> foreign;      ///< Live tasks of other partitions, which tasks here need.
  std::vector<std::pair<scheduling::task_id, std::uint32_t>> watched; ///< Tasks here, and partitions that want to hear their end.
};
result<queue_rows> read_queue(persistence::store_reader& store, tenant_context who, entity_id queue, const queue_state& state);
result<std::vector<able_agent>> read_able(persistence::store_reader& store, tenant_context who);

struct queue_memory final : entity_memory {
  queue_memory(const config::settings& settings, wall_time now);

  scheduling::task_queue core;
  queue_control control;
  bool able_known = false;                       ///< Whether the directory was asked who can do what.
  std::map<std::string, scheduling::schedule> schedules;

  /// What an attempt is sent with. Kept from submission to the first attempt, while there is room; else read again.
  struct work {
    std::string type;
    payload body;
    std::string principal;
    std::vector<entity_id> chain;
  };
  std::unordered_map<scheduling::task_id, work> held;
  std::uint64_t held_bytes = 0;
  std::unordered_map<scheduling::task_id, scheduling::task_progress> progress;
  /// Steps that wait for the end of a task or group, both ways.
  struct waiter {
    std::string token;                           ///< Of a lent attempt: the task and attempt of the partition that lent it.
    bool group = false;
  };
  std::unordered_map<scheduling::task_id, waiter> waiters;
  std::unordered_map<std::string, scheduling::task_id> waited;
  std::uint32_t ended_since = 0;                 ///< Since the floor was written.
  bool sweeping = false;                         ///< As in its state.

  // Among other partitions.
  queue_owners owners;
  bool claims = false;                           ///< It has not asked the others yet for what is its own.
  std::unordered_map<scheduling::task_id, scheduling::task_id> lent; ///< Attempts done for other partitions, and their tasks there.
  std::map<scheduling::task_id, std::set<std::uint32_t>> watched;
  std::vector<scheduling::task_id> watches;      ///< Foreign tasks whose partitions have not been asked for their end.

  // Of the turn that runs.
  std::unordered_map<scheduling::task_id, scheduling::task_record> born;
  std::vector<scheduling::task_id> told;         ///< Progress came.
  std::optional<std::pair<scheduling::task_id, payload>> result;
  std::optional<std::pair<scheduling::task_id, error>> failure;

  void hold(scheduling::task_id id, work w);
  std::optional<work> release(scheduling::task_id id);
  void wait_for(scheduling::task_id id, waiter w);
  /// The step that waits for it, once.
  std::optional<waiter> waiter_of(scheduling::task_id id);
};

} // namespace hive::actors
