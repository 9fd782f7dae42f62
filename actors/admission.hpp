/// @file
/// How many asks of clients one node has under way, and whose is next. A tenant may use what others leave; what it asks
/// beyond that waits here, at its own cost, and enters by deficit round robin when there is room.
#pragma once

#include "actors/fair_queue.hpp"

#include <memory>
#include <unordered_map>

namespace hive::actors {

/// Pure; confined to one thread or guarded by its owner. `T` is what waits.
template <class T> class admission {
public:
  struct limits {
    std::size_t window = 256;    ///< Under way at once while more than one tenant asks: what keeps the disk busy, no more.
    std::size_t waiting = 10'000; ///< Of one tenant.
  };
  enum class verdict : std::uint8_t { enter, wait, refuse };

  explicit admission(limits bounds) : bounds_(bounds), line_(1) {}

  /// `enter`: it is counted as under way. `wait`: `item` was taken. `refuse`: the tenant has too many waiting.
  /// @param urgent waits before the tenant's others, and may use the last tenth of the places: when there are too many, those
  /// that are not urgent are refused first.
  verdict arrive(tenant_id tenant, std::uint32_t weight, T& item, bool urgent = false) {
    auto& t = of(tenant, weight);
    if (t.waiting == 0 && has_room(t)) {
      begin(t);
      return verdict::enter;
    }
    if (t.waiting >= (urgent ? bounds_.waiting : bounds_.waiting - bounds_.waiting / 10)) return verdict::refuse;
    ++t.waiting;
    line_.push(tenant, std::make_pair(tenant, std::move(item)), weight, urgent);
    return verdict::wait;
  }

  /// One that had entered ended. Calls `enter(T&&)` for each that may begin now.
  template <class Enter> void leave(tenant_id tenant, Enter&& enter) {
    if (const auto found = tenants_.find(tenant); found != tenants_.end()) {
      --found->second.under_way;
      --under_way_;
      forget_if_gone(found);
    }
    while (!line_.empty() && (under_way_ < bounds_.window || tenants_.size() == 1)) {
      auto [whose, item] = line_.pop();
      line_.charge(whose, 1);
      auto& t = tenants_.at(whose);
      --t.waiting;
      begin(t);
      enter(std::move(item));
    }
  }

  std::size_t under_way() const noexcept { return under_way_; }
  std::size_t waiting() const noexcept { return line_.size(); }

private:
  struct tenant_state {
    std::size_t under_way = 0;
    std::size_t waiting = 0;
    std::uint32_t weight = 1;
  };

  tenant_state& of(tenant_id tenant, std::uint32_t weight) {
    auto& t = tenants_[tenant];
    if (t.under_way + t.waiting != 0) weights_ -= t.weight;
    t.weight = weight;
    weights_ += weight;
    return t;
  }
  /// A tenant below its share enters at once, also when another one has filled the window.
  bool has_room(const tenant_state& t) const noexcept {
    return tenants_.size() == 1 || under_way_ < bounds_.window || t.under_way * weights_ < bounds_.window * t.weight;
  }
  void begin(tenant_state& t) {
    ++t.under_way;
    ++under_way_;
  }
  void forget_if_gone(typename std::unordered_map<tenant_id, tenant_state>::iterator t) {
    if (t->second.under_way + t->second.waiting != 0) return;
    weights_ -= t->second.weight;
    tenants_.erase(t);
  }

  limits bounds_;
  fair_queue<std::pair<tenant_id, T>> line_;
  std::unordered_map<tenant_id, tenant_state> tenants_; // those with something under way or waiting
  std::uint64_t weights_ = 0;                           // of them
  std::size_t under_way_ = 0;
};

} // namespace hive::actors
