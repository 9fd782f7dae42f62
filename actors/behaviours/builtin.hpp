/// @file
/// The behaviours every node has: `echo`, `ledger`, `relay`, `stepper`, and the survey swarm. What each one takes and
/// answers is in this folder's README.
#pragma once

#include "actors/behaviour.hpp"

namespace hive::actors {

void add_builtin_behaviours(behaviour_registry& behaviours);

} // namespace hive::actors
