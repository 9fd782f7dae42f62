/// @file
/// "Tenant T has events up to position p": said to the other nodes after a commit, so that their watchers read at once and
/// do not wait for the next look. May be lost, doubled or late: a wake-up says that there is something to read, never what.
#pragma once

#include "config/base/clock.hpp"
#include "config/base/ids.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace hive::persistence {

struct wake_up {
  tenant_id tenant;
  std::uint64_t position = 0; ///< Number of an event that is committed; 0: not known.
  friend bool operator==(const wake_up&, const wake_up&) = default;
};

std::string encode(std::span<const wake_up> batch);
/// Empty when it cannot be read.
std::vector<wake_up> decode_wake_ups(std::string_view bytes);

/// Pure. The first wake-up of a tenant goes at once; those that follow within its interval become one, with the highest
/// position, at the interval's end.
class wake_batcher {
public:
  /// @param tenants_max under way; wake-ups of more are dropped.
  wake_batcher(std::uint32_t per_second, std::size_t tenants_max) : interval_(std::chrono::microseconds{1'000'000 / per_second}), tenants_max_(tenants_max) {}

  /// @returns false: dropped.
  bool add(wake_up w, steady_time now);
  /// Those whose time has come.
  std::vector<wake_up> due(steady_time now);
  /// When `due` has something to do; empty: not before something is added.
  std::optional<steady_time> next() const;

private:
  struct tenant_state {
    std::uint64_t position = 0;
    bool waiting = false; // false: it was woken within the interval
  };
  std::chrono::microseconds interval_;
  std::size_t tenants_max_;
  std::unordered_map<tenant_id, tenant_state> tenants_;
  std::multimap<steady_time, tenant_id> times_; // one entry a tenant
};

struct wake_counters {
  std::atomic<std::uint64_t> asked{0};    ///< Tenants with events, commit by commit.
  std::atomic<std::uint64_t> by_redis{0}; ///< Left, after they were put together: every other node has it from Redis,
  std::atomic<std::uint64_t> by_links{0}; ///< or it was told by the nodes' links.
  std::atomic<std::uint64_t> dropped{0};  ///< Too many tenants at once.
};

/// A batcher with a thread: whoever commits hands over and goes on.
class wake_sender {
public:
  /// @param send called on the sender's thread with what is due; may wait a moment.
  wake_sender(std::uint32_t per_second, const clock_source& clock, std::function<void(const std::vector<wake_up>&)> send);
  ~wake_sender();
  wake_sender(const wake_sender&) = delete;
  wake_sender& operator=(const wake_sender&) = delete;

  /// Any thread; takes a lock for the time of a look-up.
  void add(std::span<const wake_up> batch);
  wake_counters& counters() noexcept { return counters_; }
  const wake_counters& counters() const noexcept { return counters_; }

private:
  void run();

  const clock_source& clock_;
  std::function<void(const std::vector<wake_up>&)> send_;
  wake_counters counters_;
  std::mutex guard_;
  std::condition_variable changed_;
  wake_batcher batcher_;
  bool stopping_ = false;
  std::thread thread_; // last: it runs on all of the above
};

} // namespace hive::persistence
