/// @file
/// The only maker of `tenant_context`: from a key that was checked, or from a principal that a committed turn recorded.
///
/// A key is "hive_<id>_<secret>": 16 hex digits name it, 64 hex digits (256 bits from the kernel) open it. The store
/// keeps the SHA-256 of the secret. Unknown, wrong and malformed keys fail alike.
#pragma once

#include "config/base/freshness.hpp"
#include "config/base/result.hpp"
#include "config/base/tenant_context.hpp"
#include "persistence/turn_store.hpp"
#include "runtime/security/permissions.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

namespace hive::security {

/// Whose key it was. Copy freely.
struct caller {
  tenant_context context;    ///< Of the key's own tenant; of the system tenant for administrators.
  role as = role::viewer;
  std::string tenant;        ///< Name of the key's tenant; empty for administrators.
  steady_time good_until = steady_time::max(); ///< Then whoever kept a copy asks the authenticator again.
};

/// A new key. `text` is shown once and kept nowhere.
struct new_key {
  std::string id;            ///< Public part.
  std::string secret_hash;   ///< SHA-256 of the secret, 64 lower-case hex digits: what `key.create` stores.
  std::string text;          ///< "hive_<id>_<secret>"
};

/// Any thread. `check` and `enter` read the store: call them on a reader thread; `cached` and `cached_entry` never block.
class authenticator final : public context_restorer {
public:
  struct limits {
    std::size_t keys = 10'000;      ///< Verified keys remembered; one more empties the cache.
    std::size_t tenants = 100'000;  ///< Names resolved for administrators and remembered.
  };
  authenticator();
  /// @param remember what was read is read again after this time of `clock`, as another node's word of a change may be lost;
  /// no clock: never.
  explicit authenticator(limits bounds, const clock_source* clock = nullptr, std::chrono::milliseconds remember = {});
  ~authenticator() override;

  // -- requests
  /// The caller, if this very key was checked before and nothing changed since. Whoever hears nothing calls `check`: of many
  /// who use one key, one is told to do so before its time is up, and the others are not.
  std::optional<caller> cached(std::string_view key) const;
  /// Whether this very key was seen to be right, and not too long ago.
  bool remembers(std::string_view key) const;
  /// Whether a copy of `who` may still be gone by.
  bool in_time(const caller& who) const noexcept { return !clock_ || clock_->steady_now() < who.good_until; }
  /// @returns `unauthenticated`, the same for every reason; `unavailable` when the store cannot be read.
  result<caller> check(std::string_view key, persistence::store_reader& store);

  /// The context in which `who` acts on the tenant named `tenant`, if that is known without reading.
  std::optional<tenant_context> cached_entry(const caller& who, std::string_view tenant) const;
  /// @returns `not_found` for an absent tenant and, to all but administrators, for another's: the two look the same.
  result<tenant_context> enter(const caller& who, std::string_view tenant, persistence::store_reader& store);
  /// The context of the hive itself. @returns `permission_denied` to all but administrators.
  result<tenant_context> enter_hive(const caller& who) const;

  // -- keys
  /// From the kernel's random source.
  static new_key make_key();
  /// "hive_<id>_<secret>" to its id; empty when it is no key.
  static std::string_view id_of(std::string_view key) noexcept;
  static std::string hash_of_secret(std::string_view secret);

  /// Forget what was known of a key or a tenant: call after a commit that removed it. In force when it returns, also for
  /// checks that are under way.
  void forget_key(std::string_view id);
  void forget_tenant(std::string_view name, tenant_id id);
  /// What other nodes removed may not have been heard.
  void forget_all();
  /// Rises with each `forget_`: whoever remembers a `caller` compares it.
  std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

  // -- the node's own parts
  tenant_context restore(tenant_id tenant, std::string_view principal) override;
  /// The hive itself, "system": for the wiring at start.
  tenant_context system();

private:
  struct interned;
  struct caches;
  /// Kept for good, as contexts point to it: about 150 bytes for each key that was ever used in each tenant it was used in.
  tenant_context intern(tenant_id tenant, std::string_view principal) const;

  void forget_if_known(std::string_view id);
  freshness read_now() const noexcept { return clock_ ? freshness(clock_->steady_now(), remember_) : freshness(); }
  bool usable(const freshness& f) const noexcept { return !clock_ || f.usable(clock_->steady_now()); }
  bool over(const freshness& f) const noexcept { return clock_ && f.over(clock_->steady_now()); }

  limits limits_;
  const clock_source* clock_;
  std::chrono::milliseconds remember_;
  std::unique_ptr<interned> interned_;
  std::unique_ptr<caches> caches_;
  std::atomic<std::uint64_t> generation_{0};
};

} // namespace hive::security
