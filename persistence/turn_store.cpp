#include "persistence/turn_store.hpp"

namespace hive::persistence {

std::uint64_t key_hash_of(std::string_view key, std::uint64_t caller) noexcept {
  // The caller is spread before it is mixed in: principals whose hashes differ in few bits must not meet.
  std::uint64_t x = hash_of(key) ^ (caller * 0x9E3779B97F4A7C15ULL);
  x = (x ^ (x >> 32U)) * 0xD6E8FEB86659FD93ULL;
  return x ^ (x >> 32U);
}

result<stored_entity> store_reader::load(tenant_context who, entity_id id) {
  auto row = load_entity(who, id);
  if (!row) return row.error();
  stored_entity found{std::move(*row), std::nullopt};
  auto known = find(who, id);
  if (known) found.directory = std::move(*known);
  else if (known.error().code != errc::not_found) return known.error();
  return found;
}

} // namespace hive::persistence
