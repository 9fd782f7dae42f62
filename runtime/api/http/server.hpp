/// @file
/// Listens, keeps the connections, and holds what they share. Include it in http/ and gateway.cpp only.
#pragma once

#include "config/base/random.hpp"
#include "config/settings.hpp"
#include "runtime/api/dispatcher.hpp"
#include "runtime/api/http/loop.hpp"
#include "runtime/api/http/router.hpp"
#include "runtime/ops/metrics.hpp"
#include "runtime/security/wrong_keys.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <list>
#include <unordered_map>

namespace hive::api::http {

using tcp = net::ip::tcp;
class session;

/// Used on the loop's thread only, except for construction.
class server {
public:
  server(const config::api_limits& limits, std::shared_ptr<io_loop> home, const method_table& table, actors::messaging& hive,
         security::authenticator& auth, std::shared_ptr<ops::http_counters> counters, persistence::read_cache* cache);
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
  /// The session showed a key of this tenant. @returns false: the tenant has as many connections as it may, and this one
  /// stays whose it was.
  bool belongs_to(session& s, tenant_id tenant);
  /// One more request of a tenant is handled, until `request_over`. @returns false: it has as many as it may, or the rest
  /// is kept for administrators, whom nothing of this bounds.
  bool begin_request(tenant_id tenant);
  void request_over(tenant_id tenant);
  /// An answer of so many bytes waits to be written, until `answer_over`. @returns false: the tenant's have as many as they may.
  /// One that nothing waits before may be of any size: otherwise it could never be given.
  bool begin_answer(tenant_id tenant, std::uint64_t bytes);
  void answer_over(tenant_id tenant, std::uint64_t bytes);
  /// Whether another answer of the tenant could wait: a request that nobody could be answered is not begun.
  bool takes_answers(tenant_id tenant) const;
  /// The same as for requests for its event streams.
  bool begin_stream(tenant_id tenant);
  void stream_over(tenant_id tenant);

  // -- what sessions share
  const config::api_limits& limits;
  const std::shared_ptr<io_loop> home;
  const router routes;
  const std::size_t no_route;              ///< Row of the metrics for requests that no route took.
  actors::messaging& hive;
  security::authenticator& auth;
  dispatcher gate;
  const std::shared_ptr<ops::http_counters> counters;
  persistence::read_cache* const cache;    ///< May be null.
  random_source random;                    ///< For trace ids.
  security::wrong_keys wrong_keys;
  std::uint32_t in_flight = 0;
  std::uint32_t streams = 0;
  bool winding_down = false;

private:
  /// What is kept about a session.
  struct kept {
    std::shared_ptr<session> self;
    std::optional<tenant_id> tenant;           ///< Whose it is; until it has shown a key it is a stranger's.
    std::list<session*>::iterator stranger;
  };
  /// What a tenant has of what all share.
  struct share {
    std::uint32_t connections = 0;
    std::uint32_t requests = 0;
    std::uint32_t streams = 0;
    std::uint64_t unsent = 0;                ///< Bytes of answers.
    bool nothing() const noexcept { return connections == 0 && requests == 0 && streams == 0 && unsent == 0; }
  };
  void give_back(tenant_id tenant, std::uint32_t share::* what);
  void accept();
  bool make_room(const session& newest);
  void leave_tenant(const kept& k);
  void sweep();

  tcp::acceptor acceptor_;
  net::steady_timer sweeper_;
  net::steady_timer accept_again_;
  std::unordered_map<session*, kept> sessions_;
  std::list<session*> strangers_;              ///< Without a tenant, oldest first.
  std::unordered_map<tenant_id, share> of_tenant_;
};

} // namespace hive::api::http
