/// @file
/// Reads of the API that are kept (persistence/read_cache.hpp), each with the reason why what is kept is never stale:
///   - events after a cursor: numbers are given in the order of commits and never change; a page that does not reach as far
///     as the reader has heard of is read anew (services/event_feed.hpp).
///   - a task that has ended: it will not be anything else. (Groups are read: their children's undoing comes later.)
///   - the name of a tenant, for metrics: an id is one tenant's for ever.
/// Everything else that this API reads is answered from the store: what was changed is to be seen by the next read, at
/// whichever node.
#pragma once

#include "hive/v1/tasks.pb.h"
#include "persistence/read_cache.hpp"
#include "persistence/turn_store.hpp"

namespace hive::api {

/// As `store_reader::events`. @param cache may be null. @param known number of an event that must be in the page, or before
/// it; 0: everything that is committed by now must.
result<persistence::event_page> events_after(persistence::read_cache* cache, persistence::store_reader& store, tenant_context who, const std::string& cursor, std::size_t limit,
                                             std::uint64_t known);

/// The task when it had ended at some earlier look.
std::optional<v1::Task> ended_task(persistence::read_cache* cache, tenant_context who, const std::string& id);
/// @pre the task has ended, and is no group
void keep_ended_task(persistence::read_cache* cache, tenant_context who, const v1::Task& task);

/// Empty: there is none.
std::string name_of_tenant(persistence::read_cache* cache, persistence::store_reader& store, tenant_id id);

} // namespace hive::api
