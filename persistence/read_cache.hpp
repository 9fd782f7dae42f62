/// @file
/// Reads that are made often and never change, kept in tiers: in process, then Redis, then (by the caller) the store.
///
/// Nothing stale is ever answered. A value carries the position up to which it is complete, a reader names the position
/// that it needs at least, and what is older is a miss. Tiers may lose anything at any time; a reader that finds nothing
/// reads the store and puts what it read.
#pragma once

#include "config/base/ids.hpp"

#include <atomic>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hive::persistence {

/// Of a value that will never be another one.
inline constexpr std::uint64_t final_position = std::numeric_limits<std::uint64_t>::max();

struct cached_value {
  std::uint64_t position = 0;
  std::shared_ptr<const std::string> bytes;
};

/// Any thread.
struct cache_counters {
  std::atomic<std::uint64_t> hits{0};
  std::atomic<std::uint64_t> misses{0};     ///< Not there, expired, older than asked for, or the tier was away.
  std::atomic<std::uint64_t> stored{0};
  std::atomic<std::uint64_t> refused{0};    ///< Puts of what is not newer than what is there, or too large.
  std::atomic<std::uint64_t> evictions{0};  ///< For want of room.
  std::atomic<std::uint64_t> errors{0};     ///< Calls that failed, and values that were not what had been put.
  std::atomic<std::uint64_t> entries{0};    ///< Now; of a tier in process.
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<bool> up{true};               ///< Whether it can be reached.
};

/// One place where values are kept. Any thread. Never waits longer than its own time for one command.
class cache_tier {
public:
  virtual ~cache_tier() = default;
  virtual std::string_view name() const noexcept = 0; ///< For metrics.
  virtual std::optional<cached_value> get(const std::string& key, std::uint64_t at_least) = 0;
  /// @returns false when it was not kept: what is there has this position or a later one, it is too large, or the tier
  /// is away.
  virtual bool put(const std::string& key, const cached_value& value) = 0;
  const cache_counters& counters() const noexcept { return counters_; }

protected:
  cache_counters counters_;
};

/// Any thread.
class read_cache {
public:
  /// @param scope begins every key: the hive, and the lineage of its store (`turn_store::lineage`): what another store said
  /// under the same numbers is never seen. @param tiers nearest first; none: every read is a miss.
  read_cache(std::string scope, std::vector<std::unique_ptr<cache_tier>> tiers);

  /// What a nearer tier lacks and a farther one has is put into the nearer one.
  std::optional<cached_value> get(tenant_id tenant, std::string_view kind, std::string_view name, std::uint64_t at_least = final_position);
  void put(tenant_id tenant, std::string_view kind, std::string_view name, std::string bytes, std::uint64_t position = final_position);

  const std::vector<std::unique_ptr<cache_tier>>& tiers() const noexcept { return tiers_; }
  /// Of all tiers together: reads that some tier answered, and those that none did.
  std::uint64_t hits() const noexcept { return hits_.load(std::memory_order_relaxed); }
  std::uint64_t misses() const noexcept { return misses_.load(std::memory_order_relaxed); }

private:
  std::string key_of(tenant_id tenant, std::string_view kind, std::string_view name) const;

  std::string scope_;
  std::vector<std::unique_ptr<cache_tier>> tiers_;
  std::atomic<std::uint64_t> hits_{0};
  std::atomic<std::uint64_t> misses_{0};
};

} // namespace hive::persistence
