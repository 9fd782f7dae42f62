/// @file
/// The whole of hived but its `main`: command line, signals, exit codes. Tests make a hived of their own with it.
#pragma once

#include "runtime/node/node.hpp"

namespace hive::node {

/// Runs until SIGINT or SIGTERM. @param more adds behaviours to the builtin ones.
/// @returns 0; 1: it could not start; 2: a setting is wrong. (86: ended by `actors::turn_watch`, which does not return.)
int run_daemon(int argc, char** argv, const std::function<void(actors::behaviour_registry&)>& more = {});

} // namespace hive::node
