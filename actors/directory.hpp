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
/// | `tenant.put`    | `{"name","spec":{...}}`; with `"manifest"`, a body of `directory.apply` that a new tenant would have to take, nothing is stored unless it would | `{"id":n,"name","created":bool,"spec"}` |
/// | `tenant.delete` | `{"name"}`                    | `{"deleted":true}`; the tenant's entities are gone with it |
/// | `key.create`, `key.delete` | as above, for hive administrators | |
///
/// **Tasks** are kept by the tenant's queue (`destination{entity_kind::queue, "default"}`, always there), in one partition or
/// several (scheduling/partitions.hpp). A `task.submit` to "default" finds its partition; others go to the one they name
/// ("default/3"), `schedule.*` to the first:
///
/// | type            | body                                                             | answer |
/// |-----------------|------------------------------------------------------------------|--------|
/// | `task.submit`   | `{"agent" or "capability","type","payload", ...}`, or `{"tasks":[...],"policy"}`; or binary (scheduling/task_rows.hpp) | `{"id","state","ids"?}` |
/// | `task.cancel`   | `{"id"}`                                                         | `{"id","state":"cancelled" or "cancelling"}` |
/// | `queue.control` | `{"agent"?,"paused"?,"concurrency"?}`: of its own agents, or as a whole | what is set, and `"partitions"` |
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

#include "actors/scheduling/partitions.hpp"

#include <optional>
#include <string>

namespace hive::actors {

/// Serials that every tenant has from its creation; the directory hands out serials from `first_free_serial` on.
inline constexpr std::uint64_t tenant_serial = 0;
inline constexpr std::uint64_t root_supervisor_serial = 1;
inline constexpr std::uint64_t first_queue_serial = 2;
inline constexpr std::uint64_t first_free_serial = 16;
static_assert(first_queue_serial + scheduling::queue_partitions_max == first_free_serial);

/// The entity that is a partition of the tenant's queue.
inline entity_id queue_of(tenant_id tenant, std::uint32_t partition) noexcept { return {tenant, first_queue_serial + partition}; }
/// The one that has the task.
inline entity_id queue_of(tenant_id tenant, scheduling::task_id task) noexcept { return queue_of(tenant, scheduling::partition_of(task)); }
inline bool is_queue(entity_id id) noexcept { return id.serial() >= first_queue_serial && id.serial() < first_free_serial; }
/// @pre is_queue(id)
inline std::uint32_t partition_of(entity_id id) noexcept { return static_cast<std::uint32_t>(id.serial() - first_queue_serial); }
/// "default" is the whole queue, and where one entity is meant its first partition; "default/3" is another one.
inline std::string queue_name(std::uint32_t partition) { return partition == 0 ? "default" : "default/" + std::to_string(partition); }
inline std::optional<std::uint32_t> queue_partition_from(std::string_view name) {
  for (std::uint32_t p = 0; p < scheduling::queue_partitions_max; ++p)
    if (name == queue_name(p)) return p;
  return std::nullopt;
}

} // namespace hive::actors
