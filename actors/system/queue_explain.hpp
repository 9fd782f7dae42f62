/// @file
/// What a queue tells about itself and its tasks: who has work, who could take some, and what holds it up.
#pragma once

#include "actors/system/queue_memory.hpp"

namespace hive::actors {

/// {"paused","tasks","agents":[{"agent","tasks","concurrency","queued","paused"?,"breaker"?}]}; of the agents the busiest.
nlohmann::json explain_queue(const queue_memory& queue, wall_time now);

/// What the queue knows of a task that has not ended: {"waits":{"for",...},"agent"?,"position"?}. Null: it knows nothing of it.
/// @param agent whom it is at, or whom it names; zero: nobody yet.
nlohmann::json explain_task(const queue_memory& queue, scheduling::task_id id, wall_time now, entity_id& agent);

} // namespace hive::actors
