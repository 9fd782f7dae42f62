/// @file
/// What waits to go to one peer by one lane: bounded by peer and tenant, taken in batches, fair between tenants (deficit
/// round robin over bytes), held back by the credits that the peer gave. Order holds within a tenant.
#pragma once

#include "cluster/links/credit.hpp"

#include <algorithm>
#include <deque>

namespace hive::cluster::links {

struct queue_limits {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t tenant_messages = 0;
  std::uint64_t tenant_bytes = 0;
  std::uint64_t frame_bytes = 0; ///< Of one frame's body. Within every window, or such a frame could never go.
};

struct queued_frame {
  tenant_id tenant;
  std::uint64_t correlation = 0; ///< 0: a tell.
  steady_time deadline{};        ///< Of a request.
  std::string body;
};

/// Pure, not thread-safe.
class send_queue {
public:
  explicit send_queue(queue_limits limits) : limits_(limits) {}

  /// Nothing is taken before the peer said what its window is, and the largest frame that it takes.
  void open(const window& w, std::uint64_t frame_bytes) {
    window_ = w;
    limits_.frame_bytes = std::min(limits_.frame_bytes, frame_bytes);
  }

  /// @returns `invalid_argument` (frame_too_large), `resource_exhausted` (link_full, tenant_full). `f` is moved from only when ok.
  result<void> push(std::string_view peer, queued_frame& f);

  /// Gives `each` the frames of the next batch. What `wanted` refuses is dropped and costs nothing.
  /// The first frame goes even if it is above `bytes_max` on its own.
  template <class Wanted, class Each> std::size_t take(std::size_t frames_max, std::uint64_t bytes_max, Wanted&& wanted, Each&& each);

  /// The peer released so much. @returns false when that is more than it was sent: it is broken.
  bool returned(const credit& c);

  bool empty() const noexcept { return messages_ == 0; }
  std::uint64_t messages() const noexcept { return messages_; }
  std::uint64_t bytes() const noexcept { return bytes_; }

private:
  struct lane_of_tenant {
    std::deque<queued_frame> frames;
    std::uint64_t bytes = 0;
    std::uint64_t out_messages = 0, out_bytes = 0; // sent and not returned
    std::int64_t deficit = 0;
    bool listed = false;
  };
  bool has_credit(const lane_of_tenant& t, std::uint64_t cost) const noexcept {
    return out_messages_ + 1 <= window_.messages && out_bytes_ + cost <= window_.bytes && t.out_messages + 1 <= window_.tenant_messages &&
           t.out_bytes + cost <= window_.tenant_bytes;
  }
  queued_frame pop(lane_of_tenant& t) {
    auto f = std::move(t.frames.front());
    t.frames.pop_front();
    const auto cost = cost_of(f.body.size());
    t.bytes -= cost;
    bytes_ -= cost;
    messages_ -= 1;
    return f;
  }

  static constexpr std::int64_t quantum = 16 * 1024;

  queue_limits limits_;
  window window_{};
  absl::flat_hash_map<std::uint32_t, lane_of_tenant> tenants_;
  std::deque<std::uint32_t> turn_; // tenants with frames, whose turn it is first
  std::uint64_t messages_ = 0, bytes_ = 0;
  std::uint64_t out_messages_ = 0, out_bytes_ = 0;
};

template <class Wanted, class Each>
std::size_t send_queue::take(std::size_t frames_max, std::uint64_t bytes_max, Wanted&& wanted, Each&& each) {
  std::size_t taken = 0;
  std::uint64_t bytes = 0;
  // A tenant without credit is passed over; a whole round of these is the end. So is a full batch: its tenant is first next time.
  for (std::size_t held_back = 0; held_back < turn_.size();) {
    const auto number = turn_.front();
    auto& t = tenants_[number];
    bool stopped = false;
    bool full = false;
    if (t.deficit <= 0) t.deficit += quantum;
    while (!t.frames.empty() && t.deficit > 0) {
      if (!wanted(t.frames.front())) {
        pop(t);
        continue;
      }
      const auto cost = cost_of(t.frames.front().body.size());
      full = taken == frames_max || (taken != 0 && bytes + cost > bytes_max);
      stopped = !full && !has_credit(t, cost);
      if (full || stopped) break;
      t.out_messages += 1;
      t.out_bytes += cost;
      out_messages_ += 1;
      out_bytes_ += cost;
      t.deficit -= static_cast<std::int64_t>(cost);
      taken += 1;
      bytes += cost;
      held_back = 0;
      each(pop(t));
    }
    if (full) break;
    turn_.pop_front();
    if (t.frames.empty()) {
      t.listed = false;
      t.deficit = 0;
      if (t.out_messages == 0) tenants_.erase(number);
    } else {
      turn_.push_back(number);
      held_back = stopped ? held_back + 1 : 0; // one that only works off its debt will send in a later round
    }
  }
  return taken;
}

} // namespace hive::cluster::links
