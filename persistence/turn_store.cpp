#include "persistence/turn_store.hpp"

namespace hive::persistence {

std::uint64_t key_hash_of(std::string_view key, std::uint64_t caller) noexcept {
  // The caller is spread before it is mixed in: principals whose hashes differ in few bits must not meet.
  std::uint64_t x = hash_of(key) ^ (caller * 0x9E3779B97F4A7C15ULL);
  x = (x ^ (x >> 32U)) * 0xD6E8FEB86659FD93ULL;
  return x ^ (x >> 32U);
}

} // namespace hive::persistence
