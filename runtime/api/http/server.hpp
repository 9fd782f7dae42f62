/// @file
/// Listens, keeps the connections, and holds what they share. Include it in http/ and gateway.cpp only.
#pragma once

#include "config/base/random.hpp"
#include "config/settings.hpp"
#include "runtime/api/dispatcher.hpp"
#include "runtime/api/http/loop.hpp"
#include "runtime/api/http/router.hpp"
#include "runtime/ops/metrics.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <unordered_map>

namespace hive::api::http {

using tcp = net::ip::tcp;
class session;

/// Used on the loop's thread only, except for construction.
class server {
public:
  server(const config::api_limits& limits, std::shared_ptr<io_loop> home, const method_table& table, actors::messaging& hive,
         security::authenticator& auth, std::shared_ptr<ops::http_counters> counters);
  ~server();

  /// Before the loop runs.
  result<std::uint16_t> listen();
  /// Accepts no more and closes what is idle. The others end with their requests.
  void wind_down();
  /// Some request is not answered yet.
  bool busy() const noexcept { return !sessions_.empty(); }
  /// Closes everything. Also after the loop has ended.
  void close_all();
  /// Drops the session; it may live on for a reply that is under way.
  void remove(session& s);

  // -- what sessions share
  const config::api_limits& limits;
  const std::shared_ptr<io_loop> home;
  const router routes;
  const std::size_t no_route;              ///< Row of the metrics for requests that no route took.
  actors::messaging& hive;
  security::authenticator& auth;
  dispatcher gate;
  const std::shared_ptr<ops::http_counters> counters;
  random_source random;                    ///< For trace ids.
  std::uint32_t in_flight = 0;
  std::uint32_t streams = 0;
  bool winding_down = false;

private:
  void accept();
  void sweep();

  tcp::acceptor acceptor_;
  net::steady_timer sweeper_;
  net::steady_timer accept_again_;
  std::unordered_map<session*, std::shared_ptr<session>> sessions_;
};

} // namespace hive::api::http
