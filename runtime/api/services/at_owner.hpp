/// @file
/// RPCs that are served from an entity's memory, and so only by the node that owns it. Any node may be asked: what it
/// hears of as "elsewhere" it asks of the owner, in the words of the request. They only read: while the entity is on its way from
/// one node to another they are made again, and whoever asked does not hear of it.
#pragma once

#include "actors/messaging.hpp"
#include "runtime/api/method.hpp"

namespace hive::api {

/// The name by which nodes carry requests to each other (`messaging::call_node`).
inline constexpr const char* carried_request = "api";

/// Makes `m` ask the owner when this node is not it. @pre bound
void serve_at_owner(method& m, actors::messaging& hive);

/// A request that another node carried here. It has authenticated the caller and entered the tenant: `who` is the result.
void answer_carried(const method_table& table, tenant_context who, const std::string& body, std::function<void(result<std::string>)> done);

} // namespace hive::api
