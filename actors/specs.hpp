/// @file
/// What is written down about an entity: the value of its row in the tenant's directory. Stored as JSON, in the spelling
/// of the public API, so that what a person applied is what a person reads back.
#pragma once

#include "config/base/result.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hive::actors {

enum class restart_type : std::uint8_t { permanent, transient, temporary };
enum class restart_strategy : std::uint8_t { one_for_one, one_for_all, rest_for_one, simple_one_for_one };
/// When a supervisor ends because significant children ended by themselves and are not started again.
enum class auto_shutdown : std::uint8_t { never, any_significant, all_significant };

struct agent_spec {
  std::string behaviour;                      ///< Registered name.
  nlohmann::json config = nlohmann::json::object();
  std::vector<std::string> capabilities;
  std::uint32_t weight = 1;                   ///< 1..1,000
  std::string supervisor;                     ///< Name; empty: the tenant's root.
  restart_type restart = restart_type::permanent;
  std::chrono::milliseconds shutdown{5'000};  ///< A turn that waits may take this long to end when the agent is stopped.
  bool significant = false;                   ///< Its end may end its supervisor; not for permanent ones.
};

struct supervisor_spec {
  restart_strategy strategy = restart_strategy::one_for_one;
  std::uint32_t intensity = 3;                ///< More restarts than this within `period` stop the supervisor.
  std::chrono::milliseconds period{5'000};
  std::string supervisor;                     ///< Name of its own supervisor; empty: the tenant's root.
  restart_type restart = restart_type::permanent;   ///< Of itself, by its own supervisor.
  std::optional<std::chrono::milliseconds> shutdown; ///< For all its children to end; absent: as long as they take.
  bool significant = false;
  enum auto_shutdown ends_with = auto_shutdown::never;
  std::chrono::milliseconds backoff{0};       ///< Before the first restart of a row; doubles with each. 0: none.
  std::chrono::milliseconds backoff_max{30'000};
  std::chrono::milliseconds backoff_reset{60'000};  ///< A child that ran this long begins at `backoff` again.
  std::string behaviour;                      ///< Of all its children: required by `simple_one_for_one`, and only there.
};

/// What a collection measures with and who turns its texts into vectors. Fixed when it is created, for every stored vector
/// depends on it.
struct collection_spec {
  std::uint32_t dimension = 384;              ///< 8..4,096
  std::string metric = "cosine";              ///< "cosine", "inner_product", "l2"
  std::string embedder = "hashing-1";         ///< Built in; "none": callers bring vectors; "endpoint": `embedding.url` makes them.
  std::string model;                          ///< Of the endpoint; pinned with the dimension.
  friend bool operator==(const collection_spec&, const collection_spec&) = default;
};

nlohmann::json to_json(const collection_spec& spec);
result<collection_spec> collection_spec_from(const nlohmann::json& value);

nlohmann::json to_json(const agent_spec& spec);
nlohmann::json to_json(const supervisor_spec& spec);
/// Unknown members, wrong types and values out of bounds are errors naming the member ("restart", "config").
result<agent_spec> agent_spec_from(const nlohmann::json& value);
result<supervisor_spec> supervisor_spec_from(const nlohmann::json& value);

/// Names of tenants, agents, supervisors, queues, collections: 1 to 128 of [a-z A-Z 0-9 . _ -], starting with a letter or digit.
/// @returns `invalid_argument` for `field` otherwise.
result<void> check_name(std::string_view name, std::string_view field);

} // namespace hive::actors
