/// @file
/// What a server must be before anything is acknowledged on its word.
#pragma once

#include "persistence/postgres/connection.hpp"
#include "persistence/postgres/postgres_store.hpp"

namespace hive::persistence::postgres {

/// The server's timeline: another one after each promotion. An expression of SQL, only on a primary.
#define HIVE_TIMELINE "('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint"
/// The server's wall clock, in milliseconds. An expression of SQL.
#define HIVE_NOW "floor(extract(epoch from clock_timestamp()) * 1000)::bigint"

std::uint64_t timeline_of(connection& on);

/// Sets what commits on this connection wait for: the standbys, or only the server's own disk.
void wait_for(connection& on, durability wanted);
/// The same, and refuses a server that cannot keep it: fsync or full_page_writes off; standbys, but
/// none synchronous, unless `local`.
result<void> demand_durable(connection& on, durability wanted);

} // namespace hive::persistence::postgres
