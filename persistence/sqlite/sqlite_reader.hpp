/// @file
/// `store_reader` over a read-only connection of its own.
#pragma once

#include "persistence/payload_codec.hpp"
#include "persistence/turn_store.hpp"

#include <filesystem>

namespace hive::persistence::sqlite {

/// @param codec outlives the reader. Throws `sqlite_error` when the database cannot be opened.
std::unique_ptr<store_reader> make_reader(const std::filesystem::path& file, const std::string& vfs, const payload_codec& codec);

} // namespace hive::persistence::sqlite
