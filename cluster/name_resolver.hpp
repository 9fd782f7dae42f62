/// @file
/// Address -> id, cached. Names are resolved where a message is accepted; from there on it carries the id, so that what
/// was meant for a deleted entity never reaches its successor.
///
/// The cache holds only names that a reader found (ten million registered agents cost it nothing until they are spoken
/// to); the commit of a deletion corrects it before the deletion is answered, so on one node it is never stale. Among many
/// nodes a name is remembered for a limited time, should another node's word have been lost.
#pragma once

#include "config/base/freshness.hpp"
#include "config/base/ids.hpp"
#include "config/base/result.hpp"
#include "config/base/tenant_context.hpp"
#include "persistence/turn_store.hpp"

#include <absl/container/flat_hash_map.h>

#include <array>
#include <optional>
#include <shared_mutex>
#include <string>

namespace hive::cluster {

/// Any thread.
class name_resolver {
public:
  /// @param names_max entries kept; a full stripe is emptied and fills again from the store.
  /// @param remember a name that was read is read again after this time of `clock`; no clock: never.
  explicit name_resolver(std::size_t names_max, const clock_source* clock = nullptr, std::chrono::milliseconds remember = {});

  std::optional<entity_id> known(tenant_context who, entity_kind kind, std::string_view name) const;
  /// Reads through: on a reader thread.
  result<entity_id> lookup(persistence::store_reader& reader, tenant_context who, entity_kind kind, std::string_view name);

  void forget(tenant_id tenant, entity_kind kind, std::string_view name);
  /// Everything: what other nodes forgot may not have been heard.
  void clear();

private:
  struct key {
    tenant_id tenant;
    entity_kind kind;
    std::string name;
  };
  struct key_view {
    tenant_id tenant;
    entity_kind kind;
    std::string_view name;
  };
  struct hash {
    using is_transparent = void;
    std::size_t operator()(const key_view& k) const noexcept;
    std::size_t operator()(const key& k) const noexcept { return (*this)(key_view{k.tenant, k.kind, k.name}); }
  };
  struct equal {
    using is_transparent = void;
    template <class A, class B> bool operator()(const A& a, const B& b) const noexcept {
      return a.tenant == b.tenant && a.kind == b.kind && std::string_view(a.name) == std::string_view(b.name);
    }
  };
  struct place {
    entity_id id;
    freshness good;
  };
  struct alignas(64) stripe {
    mutable std::shared_mutex guard;
    absl::flat_hash_map<key, place, hash, equal> names;
    std::uint64_t forgotten = 0; ///< Rises with `forget`: a lookup that began before must not put the name back.
  };
  static constexpr std::size_t stripe_count = 64;
  stripe& at(const key_view& k) noexcept { return stripes_[hash{}(k) % stripe_count]; }
  const stripe& at(const key_view& k) const noexcept { return stripes_[hash{}(k) % stripe_count]; }

  std::size_t stripe_max_;
  const clock_source* clock_;
  std::chrono::milliseconds remember_;
  std::array<stripe, stripe_count> stripes_;
};

} // namespace hive::cluster
