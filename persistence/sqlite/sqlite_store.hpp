/// @file
/// The embedded store: one SQLite database in the data directory (WAL, synchronous=FULL), one writer with group commit.
#pragma once

#include "persistence/payload_codec.hpp"
#include "persistence/turn_store.hpp"

#include <filesystem>

namespace hive::persistence {

struct sqlite_options {
  std::filesystem::path directory;        ///< Made if absent (mode 0700). Holds hive.db and a lock file.
  std::uint16_t shard_count = 256;        ///< Written at creation; a mismatch stops the start.
  const payload_codec* codec = nullptr;   ///< Outlives the store. Null: plain.
  std::uint32_t checkpoint_pages = 2000;  ///< Of the log, before they are moved into the database.
  std::string vfs;                        ///< Empty: SQLite's own. Tests name one that loses power.
};

/// Locks the directory (a second process is refused with `failed_precondition`), brings the schema up to date, and
/// checks that the database is whole enough to open. Errors name the file and what to do.
result<std::unique_ptr<turn_store>> open_sqlite(const sqlite_options& options);

} // namespace hive::persistence
