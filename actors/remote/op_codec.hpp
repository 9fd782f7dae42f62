/// @file
/// What shards tell each other, as bytes between nodes. Versions of the program that meet in one hive must read each
/// other's: add at the end, and raise `format` only when that is not enough.
#pragma once

#include "actors/shard_core.hpp"

namespace hive::actors::remote {

/// @returns empty for what never leaves a node: calls, answers of the store.
std::string encode_op(const shard_op& op, const clock_source& clock);
/// @returns null when it cannot be read.
std::unique_ptr<shard_op> decode_op(std::string_view bytes, context_restorer& contexts, const clock_source& clock);

/// The entity that it is for.
entity_id receiver_of(const shard_op& op);

std::string encode_answer(const ask_answer& a);
std::optional<ask_answer> decode_answer(std::string_view bytes);

} // namespace hive::actors::remote
