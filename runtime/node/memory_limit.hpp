/// @file
/// How much memory the process may have: an agent that eats it gets `std::bad_alloc` in its own turn, which its supervisor
/// knows how to treat, before the kernel picks a process to end.
#pragma once

#include <cstdint>

namespace hive::node {

/// Of this process's cgroup, or else of the machine. Bytes.
std::uint64_t memory_there_is();

/// Bounds what the process allocates from now on to `percent` of that. @returns the bound, in bytes; 0: none could be set.
std::uint64_t limit_memory(std::uint32_t percent);

} // namespace hive::node
