/// @file
/// Whose turn is next: deficit round robin over tenants, first in first out within a tenant. One tenant's flood does not
/// delay another's work by more than one quantum.
#pragma once

#include "config/base/ids.hpp"

#include <cstdint>
#include <deque>
#include <unordered_map>

namespace hive::actors {

/// Confined to one thread. `T` is a pointer-like value.
template <class T> class fair_queue {
public:
  /// @param quantum cost that a tenant may use before the next one's turn.
  explicit fair_queue(std::uint64_t quantum) : quantum_(quantum) {}

  void push(tenant_id tenant, T item) {
    auto& l = lines_[tenant];
    l.items.push_back(item);
    ++size_;
    if (!l.listed) {
      l.listed = true;
      ring_.push_back(tenant);
    }
  }
  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }

  /// @pre `!empty()`
  T pop() {
    for (;;) {
      const tenant_id tenant = ring_.front();
      auto& l = lines_[tenant];
      if (l.items.empty()) { // spent its items: forget its deficit too
        lines_.erase(tenant);
        ring_.pop_front();
        continue;
      }
      if (l.deficit <= 0) {
        l.deficit += static_cast<std::int64_t>(quantum_);
        ring_.pop_front();
        ring_.push_back(tenant);
        continue;
      }
      T item = l.items.front();
      l.items.pop_front();
      --size_;
      return item;
    }
  }
  /// Charges what the last popped item of the tenant cost.
  void charge(tenant_id tenant, std::uint64_t cost) {
    if (auto found = lines_.find(tenant); found != lines_.end()) found->second.deficit -= static_cast<std::int64_t>(cost);
  }

private:
  struct line {
    std::deque<T> items;
    std::int64_t deficit = 0;
    bool listed = false;
  };
  std::uint64_t quantum_;
  std::unordered_map<tenant_id, line> lines_;
  std::deque<tenant_id> ring_;
  std::size_t size_ = 0;
};

} // namespace hive::actors
