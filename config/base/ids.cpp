#include "config/base/ids.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstring>

namespace hive {

const char* to_string(entity_kind kind) noexcept {
  switch (kind) {
  case entity_kind::tenant: return "tenant";
  case entity_kind::agent: return "agent";
  case entity_kind::supervisor: return "supervisor";
  case entity_kind::queue: return "queue";
  case entity_kind::context: return "context";
  }
  return "unknown";
}

std::string to_string(entity_id id) { return std::to_string(id.tenant().value()) + "." + std::to_string(id.serial()); }

shard_id shard_of(entity_id id, std::uint16_t shard_count) noexcept {
  // Length, tenant, length, serial; little-endian on every machine this runs on.
  std::array<unsigned char, 20> buffer{};
  const std::uint32_t tenant_length = 4;
  const std::uint32_t serial_length = 8;
  const std::uint32_t tenant = id.tenant().value();
  const std::uint64_t serial = id.serial();
  std::memcpy(buffer.data(), &tenant_length, 4);
  std::memcpy(buffer.data() + 4, &tenant, 4);
  std::memcpy(buffer.data() + 8, &serial_length, 4);
  std::memcpy(buffer.data() + 12, &serial, 8);
  return shard_id{static_cast<std::uint16_t>(XXH3_64bits(buffer.data(), buffer.size()) % shard_count)};
}

} // namespace hive
