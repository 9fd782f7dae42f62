/// @file
/// The entities that are tenants. actors/directory.hpp says what they take.
#pragma once

#include "actors/system/manifest.hpp"
#include "actors/system/system_turn.hpp"

namespace hive::actors {

/// Keeps one tenant's directory and keys.
class tenant_behaviour final : public behaviour {
public:
  tenant_behaviour(const behaviour_registry& agents, const config::settings& settings) : agents_(agents), settings_(settings) {}
  task<> handle(turn& self, message m) const override;

private:
  task<> apply(turn& self, json body) const;
  task<> remove(turn& self, json body) const;
  task<> close(turn& self) const;
  task<> command(turn& self, std::string verb, json body) const;
  task<> child_ended(turn& self, json body) const;

  const behaviour_registry& agents_;
  const config::settings& settings_;
};

/// Keeps the list of tenants, and the keys of the hive's administrators.
class hive_behaviour final : public behaviour {
public:
  hive_behaviour(const behaviour_registry& agents, const config::settings& settings) : agents_(agents), settings_(settings) {}
  task<> handle(turn& self, message m) const override;

private:
  task<> put(turn& self, json body) const;
  task<> remove(turn& self, json body) const;

  const behaviour_registry& agents_;
  const config::settings& settings_;
};

} // namespace hive::actors
