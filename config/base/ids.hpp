/// @file
/// The ids everything is known by. Ids are never reused, so what was meant for a deleted entity can never reach
/// another one that took its name.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace hive {

/// A number that does not mix with other numbers: `tenant_id` and `shard_id` are different types.
template <class Tag, class Rep = std::uint64_t> class strong_id {
public:
  using rep = Rep;
  constexpr strong_id() noexcept = default;
  constexpr explicit strong_id(Rep value) noexcept : value_(value) {}
  constexpr Rep value() const noexcept { return value_; }
  friend constexpr auto operator<=>(strong_id, strong_id) noexcept = default;

private:
  Rep value_{};
};

using tenant_id = strong_id<struct tenant_id_tag, std::uint32_t>;        ///< 24 bits used; 0 is the hive itself.
using shard_id = strong_id<struct shard_id_tag, std::uint16_t>;          ///< 0 .. shard count - 1.
using epoch = strong_id<struct epoch_tag>;                               ///< Rises with each change of a shard's owner.
using incarnation = strong_id<struct incarnation_tag, std::uint32_t>;    ///< One life of an entity.
using node_generation = strong_id<struct node_generation_tag>;           ///< One life of a node; never returns.
using journal_position = strong_id<struct journal_position_tag>;         ///< Allotted by the store; 0 means none.

/// The hive's own tenant: it owns the list of tenants. No client addresses it.
inline constexpr tenant_id system_tenant{0};

/// What an entity is. The numbers are stored; never renumber.
enum class entity_kind : std::uint8_t { tenant = 1, agent = 2, supervisor = 3, queue = 4, context = 5 };

/// "agent", "supervisor" ...: the word used in addresses and in the API.
const char* to_string(entity_kind kind) noexcept;

/// Names one entity for ever: its tenant (24 bits) and a serial (40 bits) that the tenant's entity hands out once.
class entity_id {
public:
  constexpr entity_id() noexcept = default;
  constexpr explicit entity_id(std::uint64_t bits) noexcept : bits_(bits) {}
  constexpr entity_id(tenant_id tenant, std::uint64_t serial) noexcept
    : bits_((std::uint64_t{tenant.value()} << 40U) | (serial & serial_max)) {}

  /// The entity that is the tenant: it keeps the tenant's directory of names.
  static constexpr entity_id of_tenant(tenant_id tenant) noexcept { return {tenant, 0}; }

  constexpr tenant_id tenant() const noexcept { return tenant_id{static_cast<std::uint32_t>(bits_ >> 40U)}; }
  constexpr std::uint64_t serial() const noexcept { return bits_ & serial_max; }
  constexpr std::uint64_t bits() const noexcept { return bits_; }
  constexpr explicit operator bool() const noexcept { return bits_ != 0; }
  friend constexpr auto operator<=>(entity_id, entity_id) noexcept = default;

  static constexpr std::uint64_t serial_max = (std::uint64_t{1} << 40U) - 1;

private:
  std::uint64_t bits_ = 0;
};

/// "3.45" (tenant 3, serial 45): for logs and `explain`, never parsed.
std::string to_string(entity_id id);

/// XXH3-64 over the length-prefixed parts of the id, mod `shard_count`. Stored data depends on it: never change it.
shard_id shard_of(entity_id id, std::uint16_t shard_count) noexcept;

} // namespace hive

template <class Tag, class Rep> struct std::hash<hive::strong_id<Tag, Rep>> {
  std::size_t operator()(hive::strong_id<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value()); }
};
template <> struct std::hash<hive::entity_id> {
  /// Serials are dense: spread them, so that open-addressed and bucketed tables both stay even.
  std::size_t operator()(hive::entity_id id) const noexcept {
    std::uint64_t x = id.bits() * 0x9E3779B97F4A7C15ULL;
    return static_cast<std::size_t>(x ^ (x >> 32U));
  }
};
