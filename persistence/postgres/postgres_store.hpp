/// @file
/// The store that several nodes share: PostgreSQL. One commit connection (libpq's pipeline mode, binary arrays: one
/// round trip and one transaction a batch), a pool of connections that read, and the owner's connection for migrations
/// at the start.
///
/// Away: `write` says `unavailable` at once and tries to reconnect with backoff. A connection that breaks after a batch
/// was sent: `unknown`; `find_out` then takes a new session, which waits for the orphan or shuts it out, and reads what
/// is there. A store that does not hold what it acknowledged refuses everything ("store_lost_commits") until this node
/// takes a new generation (`claim_all`, `adopt`).
#pragma once

#include "persistence/ownership_store.hpp"
#include "persistence/payload_codec.hpp"
#include "persistence/turn_store.hpp"

namespace hive::persistence {

/// When a batch counts as written.
enum class durability : std::uint8_t {
  replicated, ///< On the server's disk and, when the server has standbys, on a synchronous one. Without one the start
              ///< is refused.
  local,      ///< On the server's disk. Losing the server loses what its standbys do not have yet.
};

struct postgres_options {
  std::string url; ///< Of the application's role, which owns nothing: postgres://ROLE:PASSWORD@HOST,HOST/DATABASE
  std::string readers_url; ///< The same database for reads, e.g. through PgBouncer. Empty: as `url`.
  std::string admin; ///< Of the tables' owner: migrates and grants, then closes. Empty: the schema must be up to date.
  std::uint16_t shard_count = 256;      ///< Written at creation; a mismatch stops the start.
  const payload_codec* codec = nullptr; ///< Outlives the store. Null: plain.
  durability durable = durability::replicated;
  std::uint32_t readers = 8;                     ///< Connections for reading, at most.
  std::chrono::milliseconds read_wait{5'000};    ///< For a free one, and for its answer.
  std::chrono::milliseconds connect_wait{3'000}; ///< Each host.
  std::chrono::milliseconds backoff{100};        ///< Between attempts to reconnect; doubled up to `backoff_max`.
  std::chrono::milliseconds backoff_max{2'000};
};

/// Connects, migrates if `admin` is given, and refuses what would not keep its promises: a role that row-level security
/// does not hold back ("unsafe_role"), a server without fsync ("fsync_off"), standbys of which none is synchronous
/// ("no_synchronous_standby"). Errors name the setting.
result<std::unique_ptr<turn_store>> open_postgres(const postgres_options& options);

/// What the cluster asks of the same database, on a connection of its own. @pre `open_postgres` succeeded with it once.
/// @param wait bounds each call, the time to connect included.
result<std::unique_ptr<ownership_store>> open_postgres_ownership(const postgres_options& options,
                                                                 std::chrono::milliseconds wait);

} // namespace hive::persistence
