/// @file
/// Tenant contexts for tests that have no authenticator. `security::authenticator` is the only friend of
/// `tenant_context`, so a test below that floor links this stand-in instead of the real one.
#pragma once

#include "config/base/tenant_context.hpp"

#include <deque>
#include <mutex>

namespace hive::security {

#ifndef HIVE_REAL_AUTHENTICATOR
class authenticator {
public:
  static tenant_context make(tenant_id tenant, std::string principal) {
    static std::deque<tenant_context::facts> interned;
    static std::mutex guard;
    std::lock_guard lock(guard);
    for (const auto& f : interned)
      if (f.tenant == tenant && f.principal == principal) return tenant_context(&f);
    const auto hash = std::hash<std::string>{}(principal);
    interned.push_back({tenant, std::move(principal), hash});
    return tenant_context(&interned.back());
  }
};
#endif

} // namespace hive::security

namespace hive::test {

inline tenant_context context_of(std::uint32_t tenant, std::string principal = "key:test") {
  return security::authenticator::make(tenant_id{tenant}, std::move(principal));
}

} // namespace hive::test
