#include "runtime/node/node.hpp"

#include "actors/behaviours/builtin.hpp"
#include "actors/executors/builtin.hpp"
#include "cluster/links/grpc/credentials.hpp"
#include "config/base/log.hpp"
#include "persistence/memory_tier.hpp"
#include "persistence/postgres/postgres_store.hpp"
#include "persistence/sqlite/sqlite_store.hpp"
#include "runtime/security/admin_key.hpp"

#include <fstream>
#include <random>
#include <thread>

namespace hive::node {

namespace {
/// A node that is not a member by then starts all the same, and says in its health that it is not ready.
constexpr auto joined_within = std::chrono::seconds{60};
} // namespace

node::node(config::settings settings, const std::function<void(actors::behaviour_registry&)>& more, std::function<void(life_end)> over, bool first_life)
  : settings_(std::move(settings)),
    authenticator_({}, settings_.cluster.node.empty() ? nullptr : &clock_, settings_.cluster.remember), over_(std::move(over)), first_life_(first_life) {
  actors::add_builtin_behaviours(behaviours_);
  if (more) more(behaviours_);
  actors::add_builtin_executors(executors_, settings_.files, settings_.entity.payload_bytes);
}

node::~node() { stop(); }

result<void> node::check(const config::settings& settings) {
  if (settings.cluster.node.empty()) return {};
  const system_clock_source clock;
  const auto good = cluster::links::check_certificates(settings.link, {settings.cluster.hive, {}, settings.cluster.node, {}, {}}, clock.wall_now());
  if (!good) return good.error();
  return {};
}

result<void> node::open(const std::function<bool()>& told_to_end) {
  if (auto good = check(settings_); !good) return good;
  const auto redis = redis_options();
  if (!redis) return redis.error();
  if (auto opened = open_store(); !opened) return opened;

  std::random_device entropy;
  const auto seed = [&] { return (std::uint64_t{entropy()} << 32U) | entropy(); };
  if (!settings_.cluster.node.empty())
    member_ = std::make_unique<cluster_member>(cluster_member_parts{
      settings_, clock_, authenticator_, store_->shard_count(), store_->identity(),
      [this] { return persistence::open_postgres_ownership(shared_, settings_.cluster.store_timeout); },
      [this](life_end end) {
        {
          std::lock_guard lock(end_guard_);
          ended_ = end;
        }
        if (over_) over_(std::move(end));
      }, seed(), first_life_});
  std::function<void(std::span<const persistence::wake_up>)> on_events;
  if (member_) {
    wakes_ = std::make_unique<event_wakes>(settings_.cluster, clock_);
    on_events = [this](std::span<const persistence::wake_up> batch) { wakes_->committed(batch); };
  }
  make_cache(*redis, seed());
  host_ = std::make_unique<actors::node_host>(actors::node_host_parts{
    settings_, clock_, *store_, authenticator_, behaviours_, executors_,
    seed(), settings_.data_dir + "/running", [this](const auto& r) { forget_changed(r); },
    [this](const std::string& lost) { if (member_) member_->store_forgot(lost); },
    std::move(on_events), member_ ? &member_->map() : nullptr, member_ ? &member_->lease() : nullptr});
  if (auto started = host_->start(); !started) return started;
  if (member_) {
    member_->start(*host_);
    wakes_->begin(*host_, *redis, "hive/" + settings_.cluster.hive + "/" + store_->lineage() + "/events", seed());
    if (auto joined = join(told_to_end); !joined) return joined;
  }

  auto key = security::ensure_admin_key(settings_.data_dir, *host_, authenticator_);
  if (!key) return key.error();
  const std::string key_file = settings_.data_dir + "/admin.key";
  switch (*key) {
  case security::admin_key::known: break;
  case security::admin_key::made: log::info("made the administrator's key", {{"file", key_file}}); break;
  case security::admin_key::foreign:
    log::warn("this file holds no key of this hive's store: whoever uses it is refused. To have a new key made, delete the file and start again", {{"file", key_file}});
    break;
  case security::admin_key::unchecked: log::warn("whether the administrator's key is good could not be looked up", {{"file", key_file}}); break;
  }
  return {};
}

/// Waits until it is a member, or cannot be one.
result<void> node::join(const std::function<bool()>& told_to_end) {
  const auto until = clock_.steady_now() + joined_within;
  const auto may_be_soon = [&] {
    const auto why = host_->not_ready();
    return why && why->reason != "clock_differs"; // that, somebody has to mend, who asks this node what it lacks
  };
  while (may_be_soon() && clock_.steady_now() < until) {
    {
      std::lock_guard lock(end_guard_);
      if (ended_) return error{ended_->failed ? errc::failed_precondition : errc::unavailable, "cannot_join", ended_->why};
    }
    if (told_to_end && told_to_end()) return error{errc::unavailable, "told_to_end", "told to end before it was a member of the hive"};
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  return {};
}

result<void> node::serve() {
  metrics_ = std::make_unique<ops::metrics>(*host_, &host_->commits(), settings_.api.tenant_series);
  metrics_->add(*cache_, wakes_ ? &wakes_->counters() : nullptr);
  if (member_) metrics_->add([this] { return member_->read_gauges(); });
  gateway_ = std::make_unique<api::gateway>(settings_.api, *host_, authenticator_, *metrics_, settings_.context, member_ ? &member_->control() : nullptr, cache_.get());
  if (member_)
    member_->answer_carried([this](tenant_context who, const std::string& body, std::function<void(result<std::string>)> done) {
      gateway_->answer_carried(who, body, std::move(done));
    });
  auto port = gateway_->start();
  if (!port) return port.error();
  http_port_ = *port;
  // For scripts that let the system choose the port.
  std::ofstream(settings_.data_dir + "/http.port") << http_port_ << "\n";
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(clock_.steady_now() - began_);
  log::info("ready", {{"http", settings_.api.http}, {"port", http_port_}, {"data", settings_.data_dir}, {"start_ms", took.count()}});
  return {};
}

result<void> node::open_store() {
  if (settings_.store.kind == "sqlite") {
    persistence::sqlite_options where;
    where.directory = settings_.data_dir;
    where.shard_count = settings_.node.shards;
    auto store = persistence::open_sqlite(where);
    if (!store) return store.error();
    store_ = std::move(*store);
    return {};
  }
  auto lock = persistence::sqlite::directory_lock::take(settings_.data_dir); // the embedded store takes it by itself
  if (!lock) return lock.error();
  data_lock_.emplace(std::move(*lock));
  const auto& s = settings_.store;
  auto& where = shared_;
  where.url = s.url;
  where.readers_url = s.readers_url;
  where.admin = s.admin;
  where.shard_count = settings_.node.shards;
  where.durable = s.durability == "local" ? persistence::durability::local : persistence::durability::replicated;
  where.readers = s.readers;
  where.read_wait = s.read_wait;
  where.connect_wait = s.connect_wait;
  where.backoff = s.backoff;
  where.backoff_max = s.backoff_max;
  auto store = persistence::open_postgres(where);
  if (!store) return store.error();
  store_ = std::move(*store);
  return {};
}

/// Where Redis is; nothing: there is none. Whether it answers does not matter.
result<std::optional<persistence::redis::redis_options>> node::redis_options() const {
  using chosen = std::optional<persistence::redis::redis_options>;
  const auto& s = settings_.redis;
  if (s.address.empty()) return chosen();
  const auto place = config::place_of(s.address);
  if (!place) return place.error();
  persistence::redis::redis_options redis;
  redis.where = {place->socket, place->host, place->port, s.user, {}, s.connect_timeout, s.command_timeout};
  redis.backoff = s.backoff;
  redis.backoff_max = s.backoff_max;
  if (!s.password_file.empty()) {
    std::ifstream file(s.password_file);
    if (!std::getline(file, redis.where.password) || redis.where.password.empty())
      return invalid("cache.redis.password_file", s.password_file + " cannot be read, or its first line is empty: it must hold Redis's password");
  }
  return chosen(std::move(redis));
}

/// The nodes of a hive may share what they read, as long as they read the same history of the same store.
void node::make_cache(const std::optional<persistence::redis::redis_options>& redis, std::uint64_t seed) {
  std::vector<std::unique_ptr<persistence::cache_tier>> tiers;
  const auto& s = settings_.cache;
  if (s.memory_bytes != 0) tiers.push_back(std::make_unique<persistence::memory_tier>(persistence::memory_tier::limits{s.memory_bytes, s.value_bytes, s.memory_ttl}, clock_));
  if (redis) tiers.push_back(persistence::redis::make_redis_tier(*redis, {settings_.redis.connections, s.value_bytes, settings_.redis.ttl}, seed));
  cache_ = std::make_unique<persistence::read_cache>("hive/" + settings_.cluster.hive + "/" + store_->lineage(), std::move(tiers));
}

bool node::leave() {
  if (!member_) return false;
  member_->leave();
  return true;
}

void node::stop(stopping how) {
  if (!host_ && !store_) return;
  log::info("stopping");
  if (member_) member_->answer_carried({});
  if (gateway_ && how == stopping::at_once) gateway_->stop(std::chrono::milliseconds{0});
  gateway_.reset();
  metrics_.reset();
  if (wakes_) wakes_->stop();
  if (member_) member_->stop();
  host_.reset();
  cache_.reset();
  wakes_.reset();
  member_.reset();
  store_.reset();
  data_lock_.reset();
  log::info("stopped");
  log::flush();
}

void node::forget_changed(const persistence::turn_record& r) {
  for (const auto& t : r.tenants) authenticator_.forget_tenant(t.name, t.id);
  for (const auto& k : r.api_keys) authenticator_.forget_key(k.id);
  if (member_) member_->tell_peers_to_forget(r);
}

} // namespace hive::node
