/// @file
/// The way in: HTTP/JSON for everything in runtime/api/hive/v1. Open this first, then services.hpp.
#pragma once

#include "actors/messaging.hpp"
#include "cluster/control.hpp"
#include "config/settings.hpp"
#include "persistence/read_cache.hpp"
#include "runtime/ops/metrics.hpp"
#include "runtime/security/authenticator.hpp"

#include <chrono>
#include <memory>

namespace hive::api {

/// Owns the listening socket, one io thread and every connection. Everything passed in outlives it, and must be able to
/// answer asks that are under way while `stop` runs.
class gateway {
public:
  gateway(const config::api_limits& limits, actors::messaging& hive, security::authenticator& auth, ops::metrics& metrics,
          const config::context_limits& context = {}, cluster::control* nodes = nullptr, persistence::read_cache* cache = nullptr);
  ~gateway();

  /// Listens and serves. @returns the port (useful when `api.http` names port 0), or `invalid_argument` for `api.http`
  /// when the address cannot be bound.
  result<std::uint16_t> start();
  /// What another node asks in the name of a caller that it has authenticated (services/at_owner.hpp). Any thread.
  void answer_carried(tenant_context who, const std::string& body, std::function<void(result<std::string>)> done);
  /// Accepts no more, lets requests under way end for `grace`, closes every connection, ends the thread. Idempotent.
  void stop(std::chrono::milliseconds grace = std::chrono::seconds{5});

private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

} // namespace hive::api
