#include "runtime/node/event_wakes.hpp"

namespace hive::node {

using persistence::wake_up;

event_wakes::event_wakes(const config::cluster_settings& settings, const clock_source& clock)
  : sender_(settings.wakes_per_second, clock, [this](const std::vector<wake_up>& batch) { send(batch); }) {}

void event_wakes::begin(actors::node_host& host, const std::optional<persistence::redis::redis_options>& redis, const std::string& channel, std::uint64_t seed) {
  std::lock_guard lock(guard_);
  host_ = &host;
  if (!redis) return;
  redis_ = std::make_unique<persistence::redis::redis_wakes>(
    *redis, channel, [&host](const std::vector<wake_up>& batch) { host.heard(batch); }, [&host] { host.look_for_events(); }, seed);
}

void event_wakes::stop() {
  std::unique_ptr<persistence::redis::redis_wakes> ending;
  std::lock_guard lock(guard_);
  host_ = nullptr;
  ending = std::move(redis_);
}

void event_wakes::send(const std::vector<wake_up>& batch) {
  std::lock_guard lock(guard_);
  if (!host_) return;
  const auto peers = host_->remote()->peer_count();
  if (peers == 0) return;
  auto& counters = sender_.counters();
  // This node hears Redis as well. Who hears a wake-up twice reads once: the position says so.
  if (redis_ && redis_->publish(batch) > peers) {
    counters.by_redis.fetch_add(batch.size(), std::memory_order_relaxed);
    return;
  }
  host_->tell_peers(batch);
  counters.by_links.fetch_add(batch.size(), std::memory_order_relaxed);
}

} // namespace hive::node
