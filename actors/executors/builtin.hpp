/// @file
/// The executors every node has: "process", "file.walk", "file.survey", "file.write".
#pragma once

#include "actors/behaviour.hpp"
#include "config/settings.hpp"

namespace hive::actors {

/// @param payload_bytes `entity.payload_bytes`: no answer is larger.
void add_builtin_executors(executor_registry& executors, const config::file_access& files,
                           std::uint64_t payload_bytes = 1024 * 1024);

} // namespace hive::actors
