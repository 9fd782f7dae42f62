#include "cluster/name_resolver.hpp"

#include "config/base/payload.hpp"

#include <mutex>

namespace hive::cluster {

name_resolver::name_resolver(std::size_t names_max) : stripe_max_(std::max<std::size_t>(1, names_max / stripe_count)) {}

std::size_t name_resolver::hash::operator()(const key_view& k) const noexcept {
  return hash_of(k.name) ^ (std::size_t{k.tenant.value()} * 0x9E3779B97F4A7C15ULL) ^ (static_cast<std::size_t>(k.kind) << 7U);
}

std::optional<entity_id> name_resolver::known(tenant_context who, entity_kind kind, std::string_view name) const {
  const key_view k{who.tenant(), kind, name};
  const auto& s = at(k);
  std::shared_lock lock(s.guard);
  const auto found = s.names.find(k);
  if (found == s.names.end()) return std::nullopt;
  return found->second;
}

result<entity_id> name_resolver::lookup(persistence::store_reader& reader, tenant_context who, entity_kind kind, std::string_view name) {
  const key_view k{who.tenant(), kind, name};
  auto& s = at(k);
  std::uint64_t before = 0;
  {
    std::shared_lock lock(s.guard);
    if (const auto found = s.names.find(k); found != s.names.end()) return found->second;
    before = s.forgotten;
  }
  auto row = reader.find(who, kind, name);
  if (!row) return row.error();
  std::unique_lock lock(s.guard);
  if (s.forgotten == before) {
    if (s.names.size() >= stripe_max_) s.names.clear();
    s.names.insert_or_assign(key{who.tenant(), kind, std::string(name)}, row->id);
  }
  return row->id;
}

void name_resolver::forget(tenant_id tenant, entity_kind kind, std::string_view name) {
  const key_view k{tenant, kind, name};
  auto& s = at(k);
  std::unique_lock lock(s.guard);
  s.forgotten += 1;
  if (const auto found = s.names.find(k); found != s.names.end()) s.names.erase(found);
}

void name_resolver::clear() {
  for (auto& s : stripes_) {
    std::unique_lock lock(s.guard);
    s.forgotten += 1;
    s.names.clear();
  }
}

} // namespace hive::cluster
