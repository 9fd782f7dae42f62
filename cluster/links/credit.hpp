/// @file
/// Credits, the receiving side: what a peer has sent and nobody has released yet, by tenant. The sending side is in
/// send_queue.hpp; both count a frame as its body and `frame_overhead` bytes, so that tiny frames are not free.
#pragma once

#include "cluster/links/link_types.hpp"

#include <absl/container/flat_hash_map.h>

namespace hive::cluster::links {

inline constexpr std::uint64_t frame_overhead = 32;
constexpr std::uint64_t cost_of(std::uint64_t body_bytes) noexcept { return body_bytes + frame_overhead; }

/// What may be under way to a peer, or lie there unreleased.
struct window {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t tenant_messages = 0;
  std::uint64_t tenant_bytes = 0;
};

struct credit {
  tenant_id tenant;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
};

/// Pure, not thread-safe. A tenant of which nothing is out takes no room.
class credit_ledger {
public:
  explicit credit_ledger(window limits) : limits_(limits) {}

  /// @returns false when the peer had no credit for it: it is broken or hostile.
  bool received(const credit& c);

  /// @returns true when so much is owed that it should be returned now; else it waits for `take`.
  bool released(const credit& c);

  /// What the peer may send again: all that was released since the last time.
  std::vector<credit> take();
  bool owes() const noexcept { return owed_messages_ != 0; }

private:
  struct account {
    std::uint64_t out_messages = 0, out_bytes = 0;   // received, not yet returned to the peer
    std::uint64_t owed_messages = 0, owed_bytes = 0; // of these, released
  };
  window limits_;
  absl::flat_hash_map<std::uint32_t, account> accounts_;
  std::uint64_t out_messages_ = 0, out_bytes_ = 0;
  std::uint64_t owed_messages_ = 0, owed_bytes_ = 0;
};

} // namespace hive::cluster::links
