/// @file
/// Numbers that never come back - generations, epochs, blocks of positions - and a change of owner, in SQL.
#pragma once

#include "persistence/postgres/connection.hpp"
#include "persistence/turn_store.hpp"

namespace hive::persistence::postgres {

/// Positions are fetched in blocks; a block that is fetched after a claim lies above all of the shard's positions so
/// far.
constexpr std::uint64_t positions_a_block = std::uint64_t{1} << 36U;

/// The name of a generation's commit connection in pg_stat_activity: known to those who wait for its locks.
std::string commit_application(node_generation generation);

/// Takes one shard, or all, for a new generation, whoever has them: for single nodes and for tests.
std::vector<shard_row> claim_shards(connection& on, std::string_view name, std::optional<shard_id> only);

} // namespace hive::persistence::postgres
