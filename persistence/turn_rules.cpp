#include "persistence/turn_rules.hpp"

namespace hive::persistence {
namespace {

bool may_meet(tenant_id a, tenant_id b) noexcept { return a == b || a == system_tenant || b == system_tenant; }

} // namespace

void refuse(std::string message) { throw refusal{{errc::internal, "constraint", std::move(message), {}, {}}}; }

void check_tenants(const turn_record& r) {
  const tenant_id own = r.entity.tenant();
  if (!may_meet(r.who.tenant(), own)) refuse("a principal of another tenant wrote " + to_string(r.entity));
  for (const auto& m : r.outbox) {
    if (m.sender != r.entity) refuse("an outbox row of " + to_string(m.sender) + " came from " + to_string(r.entity));
    if (!may_meet(m.receiver.tenant(), own))
      refuse(to_string(r.entity) + " sent to another tenant's " + to_string(m.receiver));
  }
  for (const auto& d : r.directory)
    if (d.row.id.tenant() != own) refuse(to_string(r.entity) + " named another tenant's " + to_string(d.row.id));
  for (const auto& k : r.api_keys)
    if (!may_meet(k.tenant, own)) refuse(to_string(r.entity) + " wrote another tenant's key " + k.id);
  if (!r.tenants.empty() && own != system_tenant) refuse(to_string(r.entity) + " wrote the list of tenants");
}

std::int64_t flags_of(const keyed_answer& k) noexcept {
  return (k.generated ? 1 : 0) | (k.failed ? 2 : 0) | (static_cast<std::int64_t>(k.answer.type) << 2);
}

std::string_view raw(const request_digest& d) noexcept {
  static_assert(sizeof(request_digest) == 16);
  return {reinterpret_cast<const char*>(&d), sizeof d}; // little-endian on every machine this runs on
}

} // namespace hive::persistence
