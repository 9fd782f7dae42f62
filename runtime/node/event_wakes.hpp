/// @file
/// How nodes wake each other's watchers after a commit: by Redis where there is one, by the nodes' links to whom it does not
/// reach.
#pragma once

#include "actors/node_host.hpp"
#include "persistence/redis/redis_wakes.hpp"

namespace hive::node {

/// Made before the host, which calls `committed`; outlives it.
class event_wakes {
public:
  event_wakes(const config::cluster_settings& settings, const clock_source& clock);

  /// @param redis nothing: by the links only. @param channel of the nodes that share a store.
  void begin(actors::node_host& host, const std::optional<persistence::redis::redis_options>& redis, const std::string& channel, std::uint64_t seed);
  /// Nothing leaves or comes in any more. Before the host goes.
  void stop();

  /// Any thread; never waits for anybody.
  void committed(std::span<const persistence::wake_up> batch) { sender_.add(batch); }
  const persistence::wake_counters& counters() const noexcept { return sender_.counters(); }

private:
  void send(const std::vector<persistence::wake_up>& batch);

  std::mutex guard_; // of both below, while something is being sent
  actors::node_host* host_ = nullptr;
  std::unique_ptr<persistence::redis::redis_wakes> redis_;
  persistence::wake_sender sender_; // last: its thread runs on all of the above
};

} // namespace hive::node
