#include "runtime/api/gateway.hpp"

#include "config/base/log.hpp"
#include "runtime/api/http/server.hpp"
#include "runtime/api/services/at_owner.hpp"
#include "runtime/api/services/services.hpp"

#include <future>
#include <thread>

namespace hive::api {
namespace {

std::vector<std::string> route_names(const method_table& table) {
  std::vector<std::string> names;
  for (const auto& m : table.methods()) names.push_back(m->rpc->service()->name() + "." + m->rpc->name());
  names.emplace_back("none");
  return names;
}

} // namespace

struct gateway::parts {
  parts(const config::api_limits& l, actors::messaging& hive, security::authenticator& auth, ops::metrics& metrics,
        const config::context_limits& context, cluster::control* nodes, persistence::read_cache* cache)
    : limits(l), home(std::make_shared<http::io_loop>()), services({limits, hive, auth, metrics, home, context, nodes, cache}),
      counters(std::make_shared<ops::http_counters>(route_names(services.table()))),
      server(limits, home, services.table(), hive, auth, counters, cache) {
    metrics.add(counters);
  }

  config::api_limits limits;
  std::shared_ptr<http::io_loop> home;
  service_registry services;
  std::shared_ptr<ops::http_counters> counters;
  http::server server;
  std::thread thread;
};

gateway::gateway(const config::api_limits& limits, actors::messaging& hive, security::authenticator& auth, ops::metrics& metrics,
                 const config::context_limits& context, cluster::control* nodes, persistence::read_cache* cache)
  : parts_(std::make_unique<parts>(limits, hive, auth, metrics, context, nodes, cache)) {}

gateway::~gateway() { stop(); }

result<std::uint16_t> gateway::start() {
  auto port = parts_->server.listen();
  if (!port) return port;
  parts_->thread = std::thread([home = parts_->home] { home->run(); });
  log::info("the API listens", {{"address", parts_->limits.http}, {"port", *port}});
  return port;
}

void gateway::answer_carried(tenant_context who, const std::string& body, std::function<void(result<std::string>)> done) {
  api::answer_carried(parts_->services.table(), who, body, std::move(done));
}

void gateway::stop(std::chrono::milliseconds grace) {
  if (!parts_->thread.joinable()) return;
  auto& home = *parts_->home;
  auto& server = parts_->server;
  const auto until = std::chrono::steady_clock::now() + grace;
  home.post([&server] { server.wind_down(); });
  while (std::chrono::steady_clock::now() < until) {
    auto busy = std::make_shared<std::promise<bool>>();
    auto answer = busy->get_future();
    home.post([&server, busy] { busy->set_value(server.busy()); });
    if (!answer.get()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  home.end();
  parts_->thread.join();
  server.close_all();
  home.clear();
}

} // namespace hive::api
