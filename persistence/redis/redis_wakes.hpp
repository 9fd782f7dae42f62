/// @file
/// Wake-ups over Redis: one channel for the nodes that share a store. What Redis does not deliver, nobody misses for long:
/// `publish` says how many heard it, and watchers look by themselves from time to time.
#pragma once

#include "persistence/redis/redis_tier.hpp"
#include "persistence/wake_ups.hpp"

namespace hive::persistence::redis {

class redis_wakes {
public:
  /// @param heard on a thread of its own, with what other nodes, and this one, published.
  /// @param subscribed the same, when what was published before may have been missed.
  redis_wakes(redis_options redis, std::string channel, std::function<void(const std::vector<wake_up>&)> heard, std::function<void()> subscribed, std::uint64_t seed);
  ~redis_wakes();
  redis_wakes(const redis_wakes&) = delete;
  redis_wakes& operator=(const redis_wakes&) = delete;

  /// One thread. Waits for Redis's answer, `command_timeout` at most; at once when it is away.
  /// @returns how many subscribers it reached, this one included; 0 when Redis is away.
  std::size_t publish(std::span<const wake_up> batch);
  bool up() const noexcept { return up_.load(std::memory_order_relaxed); }

private:
  void run();
  void listen(redis_connection& on);
  bool stopping() const noexcept { return stopping_.load(std::memory_order_relaxed); }
  void nap(steady_time until);

  redis_options redis_;
  std::string channel_;
  std::function<void(const std::vector<wake_up>&)> heard_;
  std::function<void()> subscribed_;
  std::uint64_t seed_;
  std::atomic<bool> up_{false};
  std::atomic<bool> stopping_{false};
  int wake_; // an eventfd: readable when the thread must look up
  std::mutex guard_;
  std::unique_ptr<redis_connection> publisher_; // made by the thread, used by `publish`
  std::thread thread_; // last: it runs on all of the above
};

} // namespace hive::persistence::redis
