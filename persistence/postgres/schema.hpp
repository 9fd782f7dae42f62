/// @file
/// The tables of the hive in PostgreSQL: made and brought up to date by their owner, never by the application's role.
#pragma once

#include "config/base/result.hpp"

#include <cstdint>
#include <string>

namespace hive::persistence::postgres {

class connection;

/// The number of the newest migration this program knows.
int newest_schema() noexcept;

/// Runs the migrations that are missing, each in a transaction of its own under a lock that other starts wait for, and
/// grants `application_role` what it needs and no more. @param admin connection string of the owner of the tables.
result<void> migrate(const std::string& admin, const std::string& application_role, std::uint16_t shard_count);

/// Whether the schema is there, whole and of a version this program can work with, and has `shard_count` shards.
result<void> check_schema(connection& on, std::uint16_t shard_count);

/// Refuses a role for which row-level security would not hold: superuser, BYPASSRLS, owner of the tables (or a member
/// of the owner), right to make tables in the schema; and tables without forced row-level security, or with policies
/// that are not those of the migrations.
result<void> check_role(connection& on);

} // namespace hive::persistence::postgres
