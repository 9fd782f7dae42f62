/// @file
/// Who may do what: one table, role by permission, denied unless it says otherwise. Every permission that an RPC names
/// (`hive.v1.rule`) must be here; `Permissions.*` in tests/runtime/security_test.cpp reads the protos and checks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace hive::security {

enum class role : std::uint8_t {
  admin,  ///< Of the hive: all tenants, and their existence.
  tenant, ///< Everything within one tenant but its own existence.
  viewer, ///< Reads within one tenant.
};

std::string_view to_string(role r) noexcept;
std::optional<role> role_from(std::string_view word) noexcept;

struct permission_row {
  std::string_view permission; ///< "agents.write"
  bool admin, tenant, viewer;
};
/// The whole table, sorted by permission.
std::span<const permission_row> permission_table() noexcept;

/// False for a permission that the table does not know.
bool allowed(role r, std::string_view permission) noexcept;

} // namespace hive::security
