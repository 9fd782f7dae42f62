/// @file
/// A manifest as `directory.apply` takes it, read and checked as far as it can be without and with what is there.
#pragma once

#include "actors/behaviour.hpp"
#include "actors/specs.hpp"
#include "config/settings.hpp"
#include "persistence/turn_store.hpp"

#include <map>
#include <optional>

namespace hive::actors {

/// One entry of a manifest.
struct wanted {
  entity_kind kind;
  std::string name;
  std::string path;        ///< "agents[3]"
  std::string behaviour;
  std::string supervisor;
  std::string spec;        ///< Its whole text, as it is stored.
  bool significant = false;
};

struct manifest {
  std::vector<wanted> all;
  std::map<std::pair<entity_kind, std::string>, std::size_t> given;  ///< Where each is in `all`.
  /// What has to be looked up: all of `all` in order, then the supervisors that are named and not in it.
  std::vector<std::pair<entity_kind, std::string>> asked;
  std::map<std::string, std::size_t> others;                         ///< Where those supervisors are in `asked`.
};

/// Names, specs, behaviours and their configs. @throws bad_message with the path of the field at fault.
manifest read_manifest(const json& body, const behaviour_registry& agents, const config::settings& settings);

/// No supervisor stands above itself. @param above_of the supervisor of one that is not in the manifest; nothing: there is
/// no such one.
result<void> check_cycles(const manifest& m, const std::function<std::optional<std::string>(const std::string&)>& above_of);

/// The supervisors that are named are there, and take such children. @param found the rows of `asked`, in order.
/// @throws bad_message
void check_supervisors(const manifest& m, const std::vector<std::optional<persistence::directory_row>>& found);

} // namespace hive::actors
