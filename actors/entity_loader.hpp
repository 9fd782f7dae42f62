/// @file
/// Reads an entity from the store: its row, and what its tenant's directory says about it.
#pragma once

#include "actors/shard_core.hpp"
#include "cluster/name_resolver.hpp"

namespace hive::actors {

/// Any reader thread.
class entity_loader {
public:
  entity_loader(const behaviour_registry& behaviours, cluster::name_resolver& names) : behaviours_(behaviours), names_(names) {}

  /// `spec` is null in the result when there is no such entity (deleted, or its tenant is).
  result<loaded_entity> load(persistence::store_reader& reader, entity_id id, tenant_context who);

private:
  std::shared_ptr<const loaded_spec> shared(std::string text, loaded_spec&& spec);

  const behaviour_registry& behaviours_;
  cluster::name_resolver& names_;
  std::mutex guard_;
  std::unordered_map<std::string, std::weak_ptr<const loaded_spec>> specs_;
};

} // namespace hive::actors
