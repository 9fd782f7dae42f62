/// @file
/// What a data directory remembers of the node's last generation. Who can prove that it is over need not wait until its
/// lease ends.
#pragma once

#include "config/base/ids.hpp"
#include "config/base/result.hpp"

#include <filesystem>

namespace hive::cluster {

struct former_life {
  node_generation generation; ///< 0: none is known.
  bool over = false;          ///< It was of this very directory, since this machine started: whoever lived it held the lock.
};

/// @pre the caller holds the directory's lock. A copy of a directory, or one that came from another machine, knows a
/// generation that may well be alive: it has a lock of its own.
former_life read_former_life(const std::filesystem::path& directory);
/// Durable when it returns.
result<void> write_life(const std::filesystem::path& directory, node_generation generation);

} // namespace hive::cluster
