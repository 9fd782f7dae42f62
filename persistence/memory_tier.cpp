#include "persistence/memory_tier.hpp"

namespace hive::persistence {
namespace {
constexpr std::uint64_t overhead = 200; // of one entry: list node, map node, shared string
constexpr auto relaxed = std::memory_order_relaxed;
} // namespace

std::uint64_t memory_tier::size_of(const std::string& key, const cached_value& value) noexcept { return overhead + key.size() + value.bytes->size(); }

std::optional<cached_value> memory_tier::get(const std::string& key, std::uint64_t at_least) {
  std::lock_guard lock(guard_);
  const auto found = by_key_.find(key);
  if (found != by_key_.end() && found->second->until <= clock_.steady_now()) drop(found->second);
  else if (found != by_key_.end() && found->second->value.position >= at_least) {
    order_.splice(order_.begin(), order_, found->second);
    counters_.hits.fetch_add(1, relaxed);
    return found->second->value;
  }
  counters_.misses.fetch_add(1, relaxed);
  return std::nullopt;
}

bool memory_tier::put(const std::string& key, const cached_value& value) {
  const auto size = size_of(key, value);
  const auto now = clock_.steady_now();
  std::lock_guard lock(guard_);
  const auto found = by_key_.find(key);
  const bool older = found != by_key_.end() && found->second->until > now && found->second->value.position >= value.position;
  if (older || value.bytes->size() > limits_.value_bytes || size > limits_.bytes) {
    counters_.refused.fetch_add(1, relaxed);
    return false;
  }
  if (found != by_key_.end()) drop(found->second);
  while (bytes_ + size > limits_.bytes) {
    drop(std::prev(order_.end()));
    counters_.evictions.fetch_add(1, relaxed);
  }
  order_.push_front({key, value, now + limits_.ttl});
  by_key_.emplace(order_.front().key, order_.begin());
  bytes_ += size;
  counters_.stored.fetch_add(1, relaxed);
  counters_.entries.store(order_.size(), relaxed);
  counters_.bytes.store(bytes_, relaxed);
  return true;
}

void memory_tier::drop(entries::iterator which) {
  bytes_ -= size_of(which->key, which->value);
  by_key_.erase(which->key);
  order_.erase(which);
  counters_.entries.store(order_.size(), relaxed);
  counters_.bytes.store(bytes_, relaxed);
}

} // namespace hive::persistence
