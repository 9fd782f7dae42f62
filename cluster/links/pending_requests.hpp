/// @file
/// Requests to one peer that have no answer yet. Pure: who calls the handlers, and when, is the shell's business, outside
/// of its locks.
#pragma once

#include "cluster/links/link_types.hpp"

#include <absl/container/flat_hash_map.h>

#include <optional>
#include <set>

namespace hive::cluster::links {

struct pending_request {
  answer_handler done;
  steady_time deadline{};
  tenant_id tenant;
  bool sent = false; ///< Handed to the connection: from then on it may have happened.
};

/// Not thread-safe.
class pending_requests {
public:
  /// @param tenant_most of one tenant: so that those of one, to agents that take their time, leave room for the others'.
  pending_requests(std::size_t most, std::size_t tenant_most) : most_(most), tenant_most_(tenant_most) {}

  bool full() const noexcept { return waiting_.size() >= most_; }
  bool full(tenant_id tenant) const { return count(tenant) >= tenant_most_; }
  std::size_t size() const noexcept { return waiting_.size(); }
  std::size_t count(tenant_id tenant) const {
    const auto found = of_tenant_.find(tenant.value());
    return found == of_tenant_.end() ? 0 : found->second;
  }

  /// @pre neither `full()` nor `full(tenant)`, and `correlation` is new. `done` is moved from.
  void add(tenant_id tenant, std::uint64_t correlation, steady_time deadline, answer_handler& done);

  /// Whether somebody still waits for it: else it need not be written.
  bool waits(std::uint64_t correlation) const { return waiting_.contains(correlation); }
  /// It is about to be written.
  void mark_sent(std::uint64_t correlation);

  /// The request that an answer is for, which then no longer waits. Nothing: it was answered already, or given up.
  std::optional<pending_request> take(std::uint64_t correlation);

  std::vector<pending_request> take_expired(steady_time now);
  std::vector<pending_request> take_all();

private:
  std::size_t most_;
  std::size_t tenant_most_;
  absl::flat_hash_map<std::uint64_t, pending_request> waiting_;
  absl::flat_hash_map<std::uint32_t, std::size_t> of_tenant_; // those with some
  std::set<std::pair<steady_time, std::uint64_t>> by_deadline_;
};

/// How a request ends whose deadline passed.
error expired(const pending_request& r, std::string_view peer);
/// How a request ends whose link broke (link_lost, link_down), or whose peer was replaced by another generation (peer_replaced).
error lost(const pending_request& r, std::string_view peer, std::string_view why);

} // namespace hive::cluster::links
