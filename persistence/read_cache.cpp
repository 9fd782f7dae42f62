#include "persistence/read_cache.hpp"

namespace hive::persistence {

read_cache::read_cache(std::string scope, std::vector<std::unique_ptr<cache_tier>> tiers) : scope_(std::move(scope)), tiers_(std::move(tiers)) {}

/// No part but the last can hold a slash, so no two names give one key.
std::string read_cache::key_of(tenant_id tenant, std::string_view kind, std::string_view name) const {
  std::string key = scope_ + "/" + std::to_string(tenant.value()) + "/";
  return key.append(kind).append("/").append(name);
}

std::optional<cached_value> read_cache::get(tenant_id tenant, std::string_view kind, std::string_view name, std::uint64_t at_least) {
  const auto key = key_of(tenant, kind, name);
  for (std::size_t i = 0; i < tiers_.size(); ++i) {
    auto found = tiers_[i]->get(key, at_least);
    if (!found) continue;
    for (std::size_t nearer = 0; nearer < i; ++nearer) tiers_[nearer]->put(key, *found);
    hits_.fetch_add(1, std::memory_order_relaxed);
    return found;
  }
  misses_.fetch_add(1, std::memory_order_relaxed);
  return std::nullopt;
}

void read_cache::put(tenant_id tenant, std::string_view kind, std::string_view name, std::string bytes, std::uint64_t position) {
  if (tiers_.empty()) return;
  const auto key = key_of(tenant, kind, name);
  const cached_value value{position, std::make_shared<const std::string>(std::move(bytes))};
  for (const auto& tier : tiers_) tier->put(key, value);
}

} // namespace hive::persistence
