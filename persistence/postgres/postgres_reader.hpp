/// @file
/// Reads of committed rows, each within the scope that row-level security demands.
#pragma once

#include "persistence/payload_codec.hpp"
#include "persistence/postgres/reader_pool.hpp"
#include "persistence/turn_store.hpp"

namespace hive::persistence::postgres {

/// @param pool, codec outlive the reader.
std::unique_ptr<store_reader> make_reader(reader_pool& pool, const payload_codec& codec, std::uint16_t shard_count);

} // namespace hive::persistence::postgres
