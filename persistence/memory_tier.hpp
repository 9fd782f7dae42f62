/// @file
/// The tier in process: least recently used goes first, nothing older than its time, never more bytes than its bound.
#pragma once

#include "config/base/clock.hpp"
#include "persistence/read_cache.hpp"

#include <list>
#include <mutex>
#include <unordered_map>

namespace hive::persistence {

class memory_tier final : public cache_tier {
public:
  struct limits {
    std::uint64_t bytes = 64 * 1024 * 1024; ///< Of keys, values and what it takes to find them.
    std::uint64_t value_bytes = 1024 * 1024; ///< One that is larger is not kept.
    std::chrono::milliseconds ttl{60'000};
  };
  memory_tier(limits bounds, const clock_source& clock) : limits_(bounds), clock_(clock) {}

  std::string_view name() const noexcept override { return "memory"; }
  std::optional<cached_value> get(const std::string& key, std::uint64_t at_least) override;
  bool put(const std::string& key, const cached_value& value) override;

private:
  struct entry {
    std::string key;
    cached_value value;
    steady_time until;
  };
  using entries = std::list<entry>;
  static std::uint64_t size_of(const std::string& key, const cached_value& value) noexcept;
  void drop(entries::iterator which);

  limits limits_;
  const clock_source& clock_;
  std::mutex guard_;
  entries order_; // used last first
  std::unordered_map<std::string_view, entries::iterator> by_key_;
  std::uint64_t bytes_ = 0;
};

} // namespace hive::persistence
