/// @file
/// The messages that change what exists. They are durable asks to the entity that is the tenant, which owns the tenant's
/// directory; tenants themselves are kept by the system tenant's entity. Bodies and answers are JSON. The API's handlers
/// check permissions before they send one; the entities check everything else.
///
/// To the tenant's entity (`destination{entity_kind::tenant, ""}` under that tenant's context):
///
/// | type               | body                                                        | answer |
/// |--------------------|-------------------------------------------------------------|--------|
/// | `directory.apply`  | `{"agents":[{"name","spec"}],"supervisors":[{"name","spec"}],"collections":[{"name","spec"}]}` | `{"created":n,"updated":n,"unchanged":n,"entities":[{"kind","name","revision","change"}]}` |
/// | `directory.delete` | `{"kind":"agent","name":"x"}`                               | `{"deleted":true}`; `not_found` |
/// | `entity.stop`, `entity.start`, `entity.restart` | `{"kind","name","reset"?}`; `reset` with `restart` of an agent | `{"kind","name","revision","change":"stopping"}` ...; `not_found` |
/// | `key.create`       | `{"id","secret_hash","role","label"}`                       | `{"id"}` |
/// | `key.delete`       | `{"id"}`                                                    | `{"deleted":true}` |
/// | `dead_letter.redrive` | `{"number"}`: sent again to its receiver, as the caller's  | `{"number"}`; `not_found` |
/// | `dead_letter.drop` | `{"number"}`                                                | `{"number"}`; `not_found` |
///
/// An apply is one turn: all of it is there, or none. Errors name the member at fault as "agents[3].spec.behaviour". With
/// `"check":true` in its body nothing changes, and the answer is `{"good":true}`. Of more than 1,000 entities the answer
/// names none, and of more than 100 no events are told.
///
/// To the system tenant's entity (the same, under the system tenant's context):
///
/// | type            | body                          | answer |
/// |-----------------|-------------------------------|--------|
/// | `tenant.put`    | `{"name","spec":{...}}`; with `"manifest"`, a body of `directory.apply` that a new tenant would have to take, nothing is stored unless it would | `{"id":n,"name","created":bool}` |
/// | `tenant.delete` | `{"name"}`                    | `{"deleted":true}`; the tenant's entities are gone with it |
/// | `key.create`, `key.delete` | as above, for hive administrators | |
///
/// **Tasks** are kept by the tenant's queue entity (`destination{entity_kind::queue, "default"}`, always there):
///
/// | type            | body                                                             | answer |
/// |-----------------|------------------------------------------------------------------|--------|
/// | `task.submit`   | `{"agent" or "capability","type","payload", ...}`, or `{"tasks":[...],"policy"}`; or binary (scheduling/task_rows.hpp) | `{"id","state","ids"?}` |
/// | `task.cancel`   | `{"id"}`                                                         | `{"id","state":"cancelled" or "cancelling"}` |
/// | `queue.control` | `{"agent"?,"paused"?,"concurrency"?}`                            | what is set |
/// | `schedule.put`  | `{"name","spec"}` (scheduling/schedule.hpp)                      | the schedule's row |
/// | `schedule.delete` | `{"name"}`                                                     | `{"deleted":true}` |
///
/// A **collection** is the context entity that the directory names (`destination{entity_kind::context, "notes"}`):
///
/// | type            | body                                                             | answer |
/// |-----------------|------------------------------------------------------------------|--------|
/// | `items.put`     | binary (context/items.hpp): all items, or none                   | `{"results":[{"id","status","version"}],"position"}` |
/// | `items.delete`  | `{"ids":[...]}`                                                  | `{"deleted":n,"position"}` |
/// | `context.open`  | `null`: loads it, so that searches find its view                 | `{"items":n}` |
///
/// How a task is kept: scheduling/task_rows.hpp (read it with `read_task`, list with `list_tasks`). A schedule is the JSON row
/// "schedule/NAME". Each change of a task is an event `task.<state>` or `task.progress` with `{"id","agent","state",...}`.
#pragma once

#include "config/base/ids.hpp"

namespace hive::actors {

/// Serials that every tenant has from its creation; the directory hands out serials from `first_free_serial` on.
inline constexpr std::uint64_t tenant_serial = 0;
inline constexpr std::uint64_t root_supervisor_serial = 1;
inline constexpr std::uint64_t default_queue_serial = 2;
inline constexpr std::uint64_t first_free_serial = 16;

} // namespace hive::actors
