/// @file
/// What the store says about entities that are not in memory: as long as nobody needs them, nobody loads them, also not to
/// be looked at.
#pragma once

#include "actors/activation.hpp"
#include "actors/messaging.hpp"

namespace hive::actors {

/// What was found out about supervisors by name, for one batch of reads.
using known_downs = std::unordered_map<std::string, std::optional<down_cause>>;

/// The supervisor `name`, when it is not running, or else the nearest one above it that is not. Empty: all of them run.
result<std::optional<down_cause>> down_above(persistence::store_reader& reader, tenant_context who, const std::string& name, known_downs& known);

/// Completes `all`, which has what the shards say: a status for each of `subjects` that has none. At most `most` of them are
/// read; the others are taken as running when their supervisors do.
void add_stored_statuses(persistence::store_reader& reader, tenant_context who, const std::vector<status_subject>& subjects, std::size_t most,
                         std::unordered_map<entity_id, nlohmann::json>& all);

/// The same for `explain`, whole: desired state, incarnation, version, size of the state.
void add_stored_facts(persistence::store_reader& reader, tenant_context who, entity_id id, nlohmann::json& explained);

} // namespace hive::actors
