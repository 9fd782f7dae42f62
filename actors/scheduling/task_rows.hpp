/// @file
/// How a task is kept: rows of its queue, binary, because the bytes that are written are most of what a task costs.
///
/// | row             | written                              | holds |
/// |-----------------|--------------------------------------|-------|
/// | "t" + id + "p"  | once, when the task is submitted     | what it is, with payload, and how it began |
/// | "t" + id + "s"  | when its state changes after that    | state, attempt, progress, error, result |
///
/// The id is 8 bytes, most significant first, so that rows are in the order of time and a task's two rows side by side.
#pragma once

#include "actors/scheduling/task_queue.hpp"
#include "config/base/bytes.hpp"
#include "persistence/turn_store.hpp"

#include <nlohmann/json.hpp>

namespace hive::actors::scheduling {

/// "t" and 16 hexadecimal digits: sorted by time.
std::string to_text(task_id id);
std::optional<task_id> task_id_from(std::string_view text);

struct task_progress {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::string note;
};

/// What a task is: all that was submitted.
struct task_record {
  task_spec spec;
  task_status begun;                             ///< As it was at the end of the turn that submitted it.
  std::string agent;                             ///< Name; empty when a capability chooses.
  std::string type;
  payload body;
  std::string principal;
  std::string name;                              ///< Within its group.
  std::vector<std::pair<std::string, std::string>> labels;
  std::string undo_agent;                        ///< Name.
  std::string undo_type;                         ///< Empty: it cannot be undone.
  payload undo_body;
  std::string waiter;                            ///< Token of the step that waits for its end (`turn::task`); empty: none.
  std::vector<entity_id> chain;                  ///< Entities that wait for its end, outermost first.
  task_id lent_by;                               ///< An attempt of that task of another partition, and no task of its own to people.
  task_id shown_parent;                          ///< The task that people know of, when `spec.parent` is such an attempt.
  task_id parent() const noexcept { return shown_parent != task_id{} ? shown_parent : spec.parent; }
};

/// How far it is, as its second row says.
struct task_report {
  task_status status;
  std::optional<task_progress> progress;
  std::optional<payload> result;
  std::string agent;                             ///< Name of who has, or had last, an attempt.
};

std::string spec_key(task_id id);
std::string state_key(task_id id);
/// The id and 'p' or 's' of a row's key.
std::optional<std::pair<task_id, char>> parse_key(std::string_view key);

std::string encode(const task_record& r);
std::optional<task_record> decode_record(std::string_view bytes);
std::string encode(const task_report& r);
std::optional<task_report> decode_report(std::string_view bytes);

/// A task as readers see it. Its `report` is made from the first row while there is no second.
struct stored_task {
  task_record record;
  task_report report;
};
/// Committed rows. Empty: no such task.
result<std::optional<stored_task>> read_task(persistence::store_reader& store, tenant_context who, entity_id queue, task_id id);
/// By id, after `after`, at most `limit`.
result<std::vector<stored_task>> list_tasks(persistence::store_reader& store, tenant_context who, entity_id queue, task_id after, std::size_t limit);

/// For people and tests: {"id","agent","type","state","attempts","result","error",...}
nlohmann::json to_json(const stored_task& t);

/// One task as it is submitted. `needs` are ids, or names of others in the same request.
struct task_request {
  task_record what;
  std::vector<std::string> needs;
  std::string parent;
  std::uint64_t deadline_millis = 0;             ///< From now; 0: none.
};
struct submit_request {
  std::vector<task_request> tasks;
  fan_in group = fan_in::none;                   ///< Otherwise they are the children of a group.
  std::uint32_t quorum = 0;
  std::string principal_note;
};
/// What decides which partition of the queue takes it: "task/ID" (the one that has that task), "agent/NAME" (the one that
/// the agent belongs to), or nothing (any; its idempotency key decides).
std::string route_of(const submit_request& r);
std::string encode(const submit_request& r);
std::optional<submit_request> decode_submit(std::string_view bytes);
/// From JSON: one task (an object with "agent" or "capability"), or {"tasks":[...],"policy":"all|first|quorum|best_effort",
/// "quorum":n}. Errors name the member.
result<submit_request> submit_from_json(const nlohmann::json& body);
/// Checks what both spellings have in common: bounds, names, cycles. Errors name the member ("tasks[2].depends_on").
result<void> check(const submit_request& r);

} // namespace hive::actors::scheduling
