#include "runtime/security/permissions.hpp"

#include <algorithm>
#include <array>

namespace hive::security {
namespace {

constexpr std::array<permission_row, 29> table{{
    // permission          admin  tenant viewer
    {"agents.read",        true,  true,  true},
    {"agents.write",       true,  true,  false},
    {"collections.read",   true,  true,  true},
    {"collections.write",  true,  true,  false},
    {"dead_letters.read",  true,  true,  true},
    {"dead_letters.write", true,  true,  false},
    {"events.read",        true,  true,  true},
    {"explain.read",       true,  true,  true},
    {"health.read",        true,  true,  true},
    {"items.read",         true,  true,  true},
    {"items.write",        true,  true,  false},
    {"keys.read",          true,  true,  false},
    {"keys.write",         true,  true,  false},
    {"messages.ask",       true,  true,  false},
    {"messages.tell",      true,  true,  false},
    {"metrics.read",       true,  true,  true},
    {"nodes.read",         true,  false, false},
    {"nodes.write",        true,  false, false},
    {"queues.read",        true,  true,  true},
    {"queues.write",       true,  true,  false},
    {"schedules.read",     true,  true,  true},
    {"schedules.write",    true,  true,  false},
    {"supervisors.read",   true,  true,  true},
    {"supervisors.write",  true,  true,  false},
    {"swarm.apply",        true,  true,  false},
    {"tasks.read",         true,  true,  true},
    {"tasks.write",        true,  true,  false},
    {"tenants.read",       true,  true,  true},
    {"tenants.write",      true,  false, false},
}};
static_assert(std::is_sorted(table.begin(), table.end(), [](auto a, auto b) { return a.permission < b.permission; }));

} // namespace

std::string_view to_string(role r) noexcept {
  switch (r) {
  case role::admin: return "admin";
  case role::tenant: return "tenant";
  case role::viewer: return "viewer";
  }
  return "viewer";
}

std::optional<role> role_from(std::string_view word) noexcept {
  for (const role r : {role::admin, role::tenant, role::viewer})
    if (to_string(r) == word) return r;
  return std::nullopt;
}

std::span<const permission_row> permission_table() noexcept { return table; }

bool allowed(role r, std::string_view permission) noexcept {
  const auto at = std::lower_bound(table.begin(), table.end(), permission, [](auto row, auto wanted) { return row.permission < wanted; });
  if (at == table.end() || at->permission != permission) return false;
  return r == role::admin ? at->admin : r == role::tenant ? at->tenant : at->viewer;
}

} // namespace hive::security
