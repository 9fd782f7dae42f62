#include "runtime/security/authenticator.hpp"

#include "config/base/hex.hpp"
#include "config/base/payload.hpp"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <shared_mutex>
#include <unordered_map>

namespace hive::security {
namespace {

constexpr std::string_view prefix = "hive_";
constexpr std::size_t id_digits = 16;
constexpr std::size_t secret_digits = 64;

std::string random_hex(std::size_t bytes) {
  unsigned char raw[64];
  std::size_t have = 0;
  while (have < bytes) {
    const ssize_t got = getrandom(raw + have, bytes - have, 0);
    if (got < 0 && errno != EINTR) std::abort(); // a kernel without randomness: no key may be made
    if (got > 0) have += static_cast<std::size_t>(got);
  }
  auto out = to_hex({reinterpret_cast<const char*>(raw), bytes});
  OPENSSL_cleanse(raw, sizeof raw);
  return out;
}

struct key_parts {
  std::string_view id, secret;
};

/// Any text splits into parts of the right length, so that a malformed key takes the same way as a wrong one.
std::optional<key_parts> split(std::string_view key) noexcept {
  if (key.size() != prefix.size() + id_digits + 1 + secret_digits) return std::nullopt;
  if (!key.starts_with(prefix) || key[prefix.size() + id_digits] != '_') return std::nullopt;
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  const key_parts parts{key.substr(prefix.size(), id_digits), key.substr(prefix.size() + id_digits + 1)};
  for (const char c : parts.id)
    if (!is_hex(c)) return std::nullopt;
  for (const char c : parts.secret)
    if (!is_hex(c)) return std::nullopt;
  return parts;
}

bool same(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

error not_valid() {
  return {errc::unauthenticated, "unauthenticated", "this key is not valid; send \"Authorization: Bearer KEY\" with one that is", {}, {}};
}

error no_such_tenant(std::string_view name) {
  return {errc::not_found, "tenant_not_found", "there is no tenant \"" + std::string(name) + "\" for this key", "tenant", {}};
}

struct text_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
};
template <class T> using text_map = std::unordered_map<std::string, T, text_hash, std::equal_to<>>;

} // namespace

struct authenticator::interned {
  mutable std::shared_mutex guard;
  std::deque<tenant_context::facts> facts; // addresses are stable
  std::unordered_map<std::uint32_t, text_map<const tenant_context::facts*>> by_name;
};

struct authenticator::caches {
  struct known_key {
    std::string secret_hash;
    caller who;
    freshness good;
  };
  struct known_tenant {
    tenant_id id;
    freshness good;
  };
  mutable std::shared_mutex guard;
  text_map<known_key> keys;
  text_map<known_tenant> tenants;

  /// @pre `guard` is held
  const known_key* find(const key_parts& parts, std::string_view secret_hash) const {
    const auto found = keys.find(parts.id);
    return found == keys.end() || !same(found->second.secret_hash, secret_hash) ? nullptr : &found->second;
  }
};

authenticator::authenticator() : authenticator(limits{}) {}
authenticator::authenticator(limits bounds, const clock_source* clock, std::chrono::milliseconds remember)
  : limits_(bounds), clock_(clock), remember_(remember), interned_(std::make_unique<interned>()), caches_(std::make_unique<caches>()) {}
authenticator::~authenticator() = default;

tenant_context authenticator::intern(tenant_id tenant, std::string_view principal) const {
  {
    std::shared_lock lock(interned_->guard);
    if (const auto names = interned_->by_name.find(tenant.value()); names != interned_->by_name.end())
      if (const auto found = names->second.find(principal); found != names->second.end()) return tenant_context(found->second);
  }
  std::unique_lock lock(interned_->guard);
  auto& names = interned_->by_name[tenant.value()];
  if (const auto found = names.find(principal); found != names.end()) return tenant_context(found->second);
  interned_->facts.push_back({tenant, std::string(principal), hash_of(principal)});
  names.emplace(std::string(principal), &interned_->facts.back());
  return tenant_context(&interned_->facts.back());
}

tenant_context authenticator::restore(tenant_id tenant, std::string_view principal) { return intern(tenant, principal); }
tenant_context authenticator::system() { return intern(system_tenant, "system"); }

std::optional<caller> authenticator::cached(std::string_view key) const {
  const auto parts = split(key);
  if (!parts) return std::nullopt;
  const auto hash = hash_of_secret(parts->secret);
  std::shared_lock lock(caches_->guard);
  const auto* known = caches_->find(*parts, hash);
  if (!known || !usable(known->good)) return std::nullopt;
  return known->who;
}

bool authenticator::remembers(std::string_view key) const {
  const auto parts = split(key);
  if (!parts) return false;
  const auto hash = hash_of_secret(parts->secret);
  std::shared_lock lock(caches_->guard);
  const auto* known = caches_->find(*parts, hash);
  return known && !over(known->good);
}

result<caller> authenticator::check(std::string_view key, persistence::store_reader& store) {
  const auto parts = split(key);
  if (!parts) return not_valid();
  const auto before = generation();
  const auto good = read_now();
  const auto row = store.find_api_key(parts->id);
  if (!row && row.error().code != errc::not_found) return row.error();
  if (!row || row->removed) forget_if_known(parts->id); // whoever still goes by it must not
  // The comparison is made for absent keys too: how long it takes says nothing.
  const bool right = same(row ? row->secret_hash : std::string(secret_digits, '0'), hash_of_secret(parts->secret));
  if (!row || row->removed || !right) return not_valid();
  const auto as = role_from(row->role);
  if (!as || (*as == role::admin) != (row->tenant == system_tenant)) return not_valid();

  caller who{intern(row->tenant, "key:" + std::string(parts->id)), *as, {}};
  if (*as != role::admin) {
    const auto tenant = store.find_tenant(row->tenant);
    if (!tenant && tenant.error().code != errc::not_found) return tenant.error();
    if (!tenant || tenant->removed) {
      forget_if_known(parts->id);
      return not_valid();
    }
    who.tenant = tenant->name;
  }
  if (clock_) who.good_until = clock_->steady_now() + remember_ * 3 / 4; // sessions ask when the cache does
  std::unique_lock lock(caches_->guard);
  if (generation() == before) { // nothing was removed while we read
    if (caches_->keys.size() >= limits_.keys) caches_->keys.clear();
    caches_->keys.insert_or_assign(std::string(parts->id), caches::known_key{row->secret_hash, who, good});
  }
  return who;
}

std::optional<tenant_context> authenticator::cached_entry(const caller& who, std::string_view tenant) const {
  if (who.as != role::admin) return tenant == who.tenant ? std::optional(who.context) : std::nullopt;
  std::shared_lock lock(caches_->guard);
  const auto found = caches_->tenants.find(tenant);
  if (found == caches_->tenants.end() || !usable(found->second.good)) return std::nullopt;
  return intern(found->second.id, who.context.principal());
}

result<tenant_context> authenticator::enter(const caller& who, std::string_view tenant, persistence::store_reader& store) {
  if (who.as != role::admin) {
    if (tenant != who.tenant) return no_such_tenant(tenant);
    return who.context;
  }
  const auto before = generation();
  const auto good = read_now();
  const auto row = store.find_tenant(tenant);
  if (!row && row.error().code != errc::not_found) return row.error();
  if (!row || row->removed) {
    std::unique_lock lock(caches_->guard);
    if (const auto known = caches_->tenants.find(tenant); known != caches_->tenants.end()) caches_->tenants.erase(known);
    return no_such_tenant(tenant);
  }
  std::unique_lock lock(caches_->guard);
  if (generation() == before) {
    if (caches_->tenants.size() >= limits_.tenants) caches_->tenants.clear();
    caches_->tenants.insert_or_assign(std::string(tenant), caches::known_tenant{row->id, good});
  }
  return intern(row->id, who.context.principal());
}

result<tenant_context> authenticator::enter_hive(const caller& who) const {
  if (who.as == role::admin) return who.context;
  return error{errc::permission_denied, "permission_denied", "only a key of the hive's administrators may do this", {}, {}};
}

new_key authenticator::make_key() {
  new_key key;
  key.id = random_hex(id_digits / 2);
  const std::string secret = random_hex(secret_digits / 2);
  key.secret_hash = hash_of_secret(secret);
  key.text = std::string(prefix) + key.id + "_" + secret;
  return key;
}

std::string_view authenticator::id_of(std::string_view key) noexcept {
  const auto parts = split(key);
  return parts ? parts->id : std::string_view{};
}

std::string authenticator::hash_of_secret(std::string_view secret) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), digest);
  return to_hex({reinterpret_cast<const char*>(digest), sizeof digest});
}

void authenticator::forget_key(std::string_view id) {
  std::unique_lock lock(caches_->guard);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  if (const auto found = caches_->keys.find(id); found != caches_->keys.end()) caches_->keys.erase(found);
}

/// It turned out to be removed: the word of that was lost. Streams that were begun with it end, as with the word.
void authenticator::forget_if_known(std::string_view id) {
  {
    std::shared_lock lock(caches_->guard);
    if (!caches_->keys.contains(id)) return;
  }
  forget_key(id);
}

void authenticator::forget_tenant(std::string_view name, tenant_id id) {
  std::unique_lock lock(caches_->guard);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  if (const auto found = caches_->tenants.find(name); found != caches_->tenants.end()) caches_->tenants.erase(found);
  std::erase_if(caches_->keys, [&](const auto& k) { return k.second.who.context.tenant() == id; });
}

void authenticator::forget_all() {
  std::unique_lock lock(caches_->guard);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  caches_->tenants.clear();
  caches_->keys.clear();
}

} // namespace hive::security
