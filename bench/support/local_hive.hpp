/// @file
/// A node's actors and store in this process, with one tenant: for benches that measure without the API. The store is the embedded
/// one, unless `adjust` names a PostgreSQL (store.url, store.admin).
#pragma once

#include "actors/behaviours/builtin.hpp"
#include "actors/node_host.hpp"
#include "bench/support/bench.hpp"
#include "persistence/postgres/postgres_store.hpp"
#include "persistence/sqlite/sqlite_store.hpp"
#include "runtime/security/authenticator.hpp"

#include <future>

namespace hive::bench {

class local_hive {
public:
  explicit local_hive(const std::string& directory, std::function<void(config::settings&)> adjust = {},
                      std::function<void(actors::behaviour_registry&)> add = {}) {
    settings_ = *config::load("", {});
    if (adjust) adjust(settings_);
    auto store = open_store(directory);
    if (!store) fail(store.error());
    store_ = std::move(*store);
    actors::add_builtin_behaviours(behaviours_);
    if (add) add(behaviours_);
    host_ = std::make_unique<actors::node_host>(
      actors::node_host_parts{settings_, clock_, *store_, authenticator_, behaviours_, executors_, options::seed(), {}, {}});
    if (auto started = host_->start(); !started) fail(started.error());
  }

  actors::node_host& host() { return *host_; }

  /// Makes the tenant if it is not there.
  tenant_context tenant(const std::string& name, nlohmann::json spec = nlohmann::json::object()) {
    const auto made = ask_now(authenticator_.system(), {entity_kind::tenant, ""}, "tenant.put", nlohmann::json{{"name", name}, {"spec", std::move(spec)}}.dump());
    return authenticator_.restore(tenant_id{nlohmann::json::parse(made)["id"].get<std::uint32_t>()}, "key:bench");
  }

  /// Agents PREFIX0 .. PREFIX(n-1).
  void add_agents(tenant_context who, const std::string& prefix, std::size_t n, const std::string& behaviour) {
    constexpr std::size_t page = 10'000;
    for (std::size_t i = 0; i < n; i += page) {
      nlohmann::json agents = nlohmann::json::array();
      for (std::size_t j = i; j < std::min(n, i + page); ++j)
        agents.push_back({{"name", prefix + std::to_string(j)}, {"spec", {{"behaviour", behaviour}}}});
      ask_now(who, {entity_kind::tenant, ""}, "directory.apply", nlohmann::json{{"agents", std::move(agents)}}.dump());
    }
  }

  std::string ask_now(tenant_context who, actors::destination to, const std::string& type, std::string body) {
    std::promise<result<actors::ask_answer>> done;
    host_->ask(who, {std::move(to), type, {std::move(body), content_type::json}, {}, std::chrono::minutes{5}, false, {}},
               actors::on_reply([&](result<actors::ask_answer> r) { done.set_value(std::move(r)); }));
    auto r = done.get_future().get();
    if (!r) fail(r.error());
    return r->body.bytes;
  }

  [[noreturn]] static void fail(const error& e) {
    std::fprintf(stderr, "%s\n", to_string(e).c_str());
    std::exit(1);
  }

private:
  result<std::unique_ptr<persistence::turn_store>> open_store(const std::string& directory) const {
    if (settings_.store.url.empty()) {
      persistence::sqlite_options where;
      where.directory = directory;
      where.shard_count = settings_.node.shards;
      return persistence::open_sqlite(where);
    }
    persistence::postgres_options where;
    where.url = settings_.store.url;
    where.admin = settings_.store.admin;
    where.shard_count = settings_.node.shards;
    where.durable = persistence::durability::local;
    return persistence::open_postgres(where);
  }

  config::settings settings_;
  system_clock_source clock_;
  security::authenticator authenticator_;
  actors::behaviour_registry behaviours_;
  actors::executor_registry executors_;
  std::unique_ptr<persistence::turn_store> store_;
  std::unique_ptr<actors::node_host> host_;
};

} // namespace hive::bench
