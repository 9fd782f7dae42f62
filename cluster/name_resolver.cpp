#include "cluster/name_resolver.hpp"

#include "config/base/payload.hpp"

#include <mutex>

namespace hive::cluster {

name_resolver::name_resolver(std::size_t names_max, const clock_source* clock, std::chrono::milliseconds remember)
  : stripe_max_(std::max<std::size_t>(1, names_max / stripe_count)), clock_(clock), remember_(remember) {}

std::size_t name_resolver::hash::operator()(const key_view& k) const noexcept {
  return hash_of(k.name) ^ (std::size_t{k.tenant.value()} * 0x9E3779B97F4A7C15ULL) ^ (static_cast<std::size_t>(k.kind) << 7U);
}

std::optional<entity_id> name_resolver::known(tenant_context who, entity_kind kind, std::string_view name) const {
  const key_view k{who.tenant(), kind, name};
  const auto& s = at(k);
  std::shared_lock lock(s.guard);
  const auto found = s.names.find(k);
  if (found == s.names.end() || (clock_ && !found->second.good.usable(clock_->steady_now()))) return std::nullopt;
  return found->second.id;
}

result<entity_id> name_resolver::lookup(persistence::store_reader& reader, tenant_context who, entity_kind kind, std::string_view name) {
  const key_view k{who.tenant(), kind, name};
  auto& s = at(k);
  std::uint64_t before = 0;
  bool known_before = false;
  {
    std::shared_lock lock(s.guard);
    const auto found = s.names.find(k);
    known_before = found != s.names.end();
    if (known_before && (!clock_ || found->second.good.fresh(clock_->steady_now()))) return found->second.id;
    before = s.forgotten;
  }
  const auto asked = clock_ ? clock_->steady_now() : steady_time{};
  auto row = reader.find(who, kind, name);
  if (!row) {
    if (known_before && row.error().code == errc::not_found) forget(who.tenant(), kind, name); // whoever still goes by it must not
    return row.error();
  }
  std::unique_lock lock(s.guard);
  if (s.forgotten == before) {
    if (s.names.size() >= stripe_max_) s.names.clear();
    s.names.insert_or_assign(key{who.tenant(), kind, std::string(name)}, place{row->id, clock_ ? freshness(asked, remember_) : freshness()});
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
