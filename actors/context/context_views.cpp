#include "actors/context/context_views.hpp"

#include <algorithm>
#include <mutex>

namespace hive::actors {

std::optional<published_view> context_views::find(entity_id id) const {
  std::shared_lock lock(guard_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  auto& e = *found->second;
  e.used.store(true, std::memory_order_relaxed);
  e.last.store(clock_.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return e.now;
}

void context_views::resize(entry& e, std::uint64_t bytes) {
  bytes_.fetch_add(bytes - e.bytes.exchange(bytes), std::memory_order_relaxed); // modulo 2^64: also when it shrinks
}

/// The least used ones, until what is left has a tenth of room: so that this is done rarely.
std::vector<entity_id> context_views::surplus(entity_id but) const {
  std::vector<entity_id> gone;
  auto left = bytes_.load(std::memory_order_relaxed);
  if (left <= bytes_max_) return gone;
  std::vector<std::pair<std::uint64_t, entity_id>> by_use;
  for (const auto& [id, e] : entries_)
    if (id != but) by_use.emplace_back(e->last.load(std::memory_order_relaxed), id);
  std::sort(by_use.begin(), by_use.end());
  for (const auto& [last, id] : by_use) {
    if (left <= bytes_max_ - bytes_max_ / 10) break;
    left -= std::min(left, entries_.at(id)->bytes.load());
    gone.push_back(id);
  }
  return gone;
}

void context_views::open(entity_id id, published_view first) {
  std::vector<entity_id> gone;
  {
    std::unique_lock lock(guard_);
    auto& place = entries_[id];
    if (!place) {
      place = std::make_unique<entry>();
      count_.fetch_add(1, std::memory_order_relaxed);
    }
    place->used = true;
    place->last = clock_.fetch_add(1, std::memory_order_relaxed) + 1;
    resize(*place, first.view->bytes());
    place->now = std::move(first);
    gone = surplus(id);
  }
  for (const auto other : gone) unload_(other);
}

void context_views::advance(entity_id id, vector::view_ptr view, std::uint64_t position) {
  std::vector<entity_id> gone;
  vector::view_ptr old; // freed without the lock
  {
    std::unique_lock lock(guard_);
    const auto found = entries_.find(id);
    if (found == entries_.end() || found->second->now.position >= position) return;
    auto& e = *found->second;
    resize(e, view->bytes());
    old = std::exchange(e.now.view, std::move(view));
    e.now.position = position;
    gone = surplus(id);
  }
  for (const auto other : gone) unload_(other);
}

void context_views::close(entity_id id) {
  std::unique_ptr<entry> old;
  std::unique_lock lock(guard_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  resize(*found->second, 0);
  count_.fetch_sub(1, std::memory_order_relaxed);
  old = std::move(found->second);
  entries_.erase(found);
  lock.unlock();
}

void context_views::measure(entity_id id) {
  std::vector<entity_id> gone;
  {
    std::shared_lock lock(guard_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return;
    const auto bytes = found->second->now.view->bytes();
    if (bytes == found->second->bytes) return;
    resize(*found->second, bytes);
    gone = surplus(id);
  }
  for (const auto other : gone) unload_(other);
}

bool context_views::take_used(entity_id id) {
  std::shared_lock lock(guard_);
  const auto found = entries_.find(id);
  return found != entries_.end() && found->second->used.exchange(false, std::memory_order_relaxed);
}

} // namespace hive::actors
