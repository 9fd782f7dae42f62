/// @file
/// One workload, one power loss, one look at what is left.
#pragma once

#include "tests/persistence/power_loss_vfs.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace hive::test {

struct power_loss_report {
  std::uint64_t operations = 0;         ///< Of the disk, during the workload.
  std::uint64_t batches_done = 0;       ///< Reported done while there was power.
  std::uint64_t batches_found = 0;
  std::optional<std::string> violation; ///< What the store promised and did not keep.
};

/// Runs the workload of `seed` on a new disk; the power goes after `cut` operations (never, when empty). Then opens the
/// store again and checks: every batch reported done is there in full, every other one wholly or not at all, in order;
/// and the store takes turns again.
power_loss_report power_loss_run(std::uint64_t seed, std::optional<std::uint64_t> cut);

} // namespace hive::test
