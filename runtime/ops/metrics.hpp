/// @file
/// What the node counts, as Prometheus text. Nothing here is on a hot path: workers and the commit thread count in slots
/// of their own, a scrape sums them.
#pragma once

#include "actors/messaging.hpp"
#include "cluster/control.hpp"
#include "persistence/commit_thread.hpp"
#include "persistence/read_cache.hpp"
#include "persistence/wake_ups.hpp"

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hive::ops {

/// HTTP requests by route, written by the gateway's thread, read by anyone.
class http_counters {
public:
  /// @param routes their names for the label `route`; the last one should be "none": requests that no route took.
  explicit http_counters(std::vector<std::string> routes);
  /// The gateway's thread.
  void count(std::size_t route, unsigned status, std::chrono::microseconds took) noexcept;

  std::atomic<std::uint64_t> connections{0};   ///< Open now.
  std::atomic<std::uint64_t> in_flight{0};     ///< Requests being handled now.
  std::atomic<std::uint64_t> streams{0};       ///< Event streams open now.
  std::atomic<std::uint64_t> refused{0};       ///< Connections over the limit, and requests that were no HTTP.

private:
  friend class metrics;
  struct row {
    std::array<std::atomic<std::uint64_t>, 6> by_class{};  ///< [i]: status ixx; [0]: something else.
    std::array<std::atomic<std::uint64_t>, 24> micros{};   ///< [i]: took 2^i .. 2^(i+1)-1 microseconds.
    std::atomic<std::uint64_t> total_micros{0};
  };
  std::vector<std::string> names_;
  std::vector<row> rows_;
};

/// Any thread.
class metrics {
public:
  /// @param commits may be null (a test without a store). @param tenant_series tenants with series of their own, in order
  /// of their ids; the others are summed as "(other)", which no tenant can be called.
  metrics(actors::messaging& hive, const persistence::commit_statistics* commits, std::uint32_t tenant_series);
  ~metrics();

  /// The gateway's counters, from now on part of what is scraped. Shared: a scrape may outlive the gateway.
  void add(std::shared_ptr<const http_counters> counters);

  /// Before the first scrape; they outlive it. @param wakes null: there are no other nodes.
  void add(const persistence::read_cache& cache, const persistence::wake_counters* wakes);

  /// Of a node among others: called at each scrape. Before the first one; what it uses outlives them.
  void add(std::function<cluster::cluster_gauges()> of_cluster);

  /// What a tenant is called; empty: it is not known, or gone.
  using names = std::function<std::string(tenant_id)>;
  /// Prometheus text, version 0.0.4. @param only the one tenant whose series are shown; all of them and the node's when
  /// empty. @param name_of asked for counters that carry no name; a tenant without any is shown by its number: "(7)".
  std::string scrape(std::optional<tenant_id> only = {}, const names& name_of = {}) const;

private:
  struct collector;
  std::unique_ptr<collector> collector_;
};

} // namespace hive::ops
