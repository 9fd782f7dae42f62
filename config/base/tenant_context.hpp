/// @file
/// Who is acting, and for which tenant. Every store, router, cache and index call takes one; there is no default.
#pragma once

#include "config/base/ids.hpp"

#include <string>
#include <string_view>

namespace hive::security {
class authenticator;
}

namespace hive {

/// Unforgeable: only `security::authenticator` makes one, from a checked key or from a principal that a committed
/// turn recorded. A handle of 8 bytes to an interned principal that lives as long as the process: copy it freely,
/// from any thread.
class tenant_context {
public:
  tenant_id tenant() const noexcept { return facts_->tenant; }
  /// "key:KEYID", "agent:ID" or "system": stored with every turn it caused and with audit rows.
  std::string_view principal() const noexcept { return facts_->principal; }
  /// A number for the principal, stable across restarts: the caller part of an idempotency key.
  std::uint64_t principal_hash() const noexcept { return facts_->principal_hash; }

  friend bool operator==(tenant_context, tenant_context) noexcept = default;

private:
  friend class security::authenticator;
  struct facts {
    tenant_id tenant;
    std::string principal;
    std::uint64_t principal_hash = 0;
  };
  explicit tenant_context(const facts* f) noexcept : facts_(f) {}
  const facts* facts_;
};

/// Gives back the context of work that is already in the store: redelivered messages, timers, waiting turns.
/// Implemented by the authenticator and handed to the node's parts at wiring.
class context_restorer {
public:
  virtual ~context_restorer() = default;
  /// @param principal as `tenant_context::principal()` gave it when the turn was committed.
  virtual tenant_context restore(tenant_id tenant, std::string_view principal) = 0;
};

} // namespace hive
