/// @file
/// The tables, as a list of migrations. A released migration is never edited: a change is a new one at the end.
#pragma once

#include "config/base/result.hpp"
#include "persistence/sqlite/database.hpp"

namespace hive::persistence::sqlite {

/// The schema this program writes.
int newest_schema() noexcept;

/// Brings the database to `newest_schema`, each migration in a transaction of its own, and checks the shard count
/// (written at creation). @returns `failed_precondition` when the database was written by a newer program, or with
/// another shard count. Throws `sqlite_error`.
result<void> bring_up_to_date(connection& on, const std::string& file, std::uint16_t shard_count);

} // namespace hive::persistence::sqlite
