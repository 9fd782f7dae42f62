/// @file
/// Whose turn is next: deficit round robin over tenants by what their turns cost, first in first out within a tenant. One
/// tenant's flood does not delay another's work by more than one quantum.
#pragma once

#include "config/base/ids.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <unordered_map>

namespace hive::actors {

/// Confined to one thread.
template <class T> class fair_queue {
public:
  /// @param quantum cost that a tenant of weight 1 may use before the next one's turn.
  explicit fair_queue(std::uint64_t quantum) : quantum_(static_cast<std::int64_t>(quantum)) {}

  /// @param urgent goes before what the same tenant has queued without it; other tenants notice nothing.
  void push(tenant_id tenant, T item, std::uint32_t weight = 1, bool urgent = false) {
    line& l = line_of(tenant);
    l.weight = weight;
    if (urgent) l.items.insert(l.items.begin() + static_cast<std::ptrdiff_t>(l.urgent++), std::move(item));
    else l.items.push_back(std::move(item));
    ++size_;
    if (!l.listed) {
      l.listed = true;
      ring_.push_back(&l);
    }
  }
  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }

  /// @pre `!empty()`
  T pop() {
    for (;;) {
      line& l = *ring_.front();
      if (l.items.empty()) {
        ring_.pop_front();
        leave(l);
        continue;
      }
      if (l.deficit <= 0) {
        const auto credit = quantum_ * static_cast<std::int64_t>(l.weight);
        if (ring_.size() == 1) { // nobody waits for it to pay back
          l.deficit = credit;
        } else {
          l.deficit += credit;
          ring_.pop_front();
          ring_.push_back(&l);
          continue;
        }
      }
      T item = std::move(l.items.front());
      l.items.pop_front();
      if (l.urgent != 0) --l.urgent;
      --size_;
      return item;
    }
  }
  /// Charges what an item of the tenant cost, known only once it ran.
  void charge(tenant_id tenant, std::uint64_t cost) { line_of(tenant).deficit -= static_cast<std::int64_t>(cost); }

private:
  struct line {
    tenant_id tenant;
    std::deque<T> items;
    std::size_t urgent = 0;                      // of them, at the front
    std::int64_t deficit = 0;
    std::uint32_t weight = 1;
    bool listed = false;
  };

  line& line_of(tenant_id tenant) {
    if (recent_ == nullptr || recent_->tenant != tenant) {
      recent_ = &lines_[tenant];
      recent_->tenant = tenant;
    }
    return *recent_;
  }
  /// An empty line keeps its debt, not its credit; lines of tenants that rarely come are forgotten.
  void leave(line& l) {
    l.listed = false;
    l.deficit = std::min<std::int64_t>(l.deficit, 0);
    if (lines_.size() <= lines_kept) return;
    if (recent_ == &l) recent_ = nullptr;
    lines_.erase(tenant_id{l.tenant});
  }

  static constexpr std::size_t lines_kept = 64;
  std::int64_t quantum_;
  std::unordered_map<tenant_id, line> lines_;   // its nodes stay where they are
  std::deque<line*> ring_;
  line* recent_ = nullptr;
  std::size_t size_ = 0;
};

} // namespace hive::actors
