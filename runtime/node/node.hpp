/// @file
/// One node: which parts there are, in which order they start, and the reverse in which they stop.
#pragma once

#include "actors/node_host.hpp"
#include "config/settings.hpp"
#include "persistence/postgres/postgres_store.hpp"
#include "persistence/sqlite/directory_lock.hpp"
#include "runtime/api/gateway.hpp"
#include "runtime/node/cluster_member.hpp"
#include "runtime/node/event_wakes.hpp"
#include "runtime/ops/metrics.hpp"
#include "runtime/security/authenticator.hpp"

#include <memory>
#include <mutex>

namespace hive::node {

/// Confined to the thread that made it.
class node {
public:
  /// @param settings checked by `config::load`; `data_dir` is set.
  /// @param more adds behaviours to the builtin ones.
  /// @param over among other nodes: this life has ended; make the node anew, or end. On a thread of the node's.
  explicit node(config::settings settings, const std::function<void(actors::behaviour_registry&)>& more = {}, std::function<void(life_end)> over = {}, bool first_life = true);
  ~node();

  /// What is looked at before anything is begun, beside the settings themselves: the files of the certificates.
  static result<void> check(const config::settings& settings);
  /// Opens the store, takes the shards, recovers, and makes the admin key on a first start. After an error, which names the
  /// setting or the file at fault, only `stop` may follow.
  /// @param told_to_end asked while it waits to become a member; then it gives up.
  result<void> open(const std::function<bool()>& told_to_end = {});
  /// Then: listens.
  result<void> serve();
  /// Among other nodes: hands everything off first; `over` says when. @returns false: there are no others, `stop` will do.
  bool leave();
  enum class stopping : char {
    in_order, ///< What runs ends first.
    at_once,  ///< The life is lost and nothing of it counts any more: askers hear nothing, and ask again at another node.
  };
  /// Stops listening, writes what was accepted. Idempotent.
  void stop(stopping how = stopping::in_order);

  std::uint16_t http_port() const noexcept { return http_port_; }
  actors::node_host& host() noexcept { return *host_; }
  security::authenticator& authenticator() noexcept { return authenticator_; }

private:
  result<void> open_store();
  result<std::optional<persistence::redis::redis_options>> redis_options() const;
  void make_cache(const std::optional<persistence::redis::redis_options>& redis, std::uint64_t seed);
  void forget_changed(const persistence::turn_record& r);
  result<void> join(const std::function<bool()>& told_to_end);

  config::settings settings_;
  system_clock_source clock_;
  steady_time began_ = clock_.steady_now();
  security::authenticator authenticator_;
  actors::behaviour_registry behaviours_;
  actors::executor_registry executors_;
  std::optional<persistence::sqlite::directory_lock> data_lock_; ///< When the store is elsewhere.
  std::unique_ptr<persistence::turn_store> store_;
  persistence::postgres_options shared_;                         ///< Where the store is, when nodes share it.
  std::function<void(life_end)> over_;
  bool first_life_;
  std::mutex end_guard_;
  std::optional<life_end> ended_;                                ///< By the membership's thread.
  std::unique_ptr<cluster_member> member_;                       ///< Among other nodes.
  std::unique_ptr<event_wakes> wakes_;                           ///< Among other nodes.
  std::unique_ptr<persistence::read_cache> cache_;
  std::unique_ptr<actors::node_host> host_;
  std::unique_ptr<ops::metrics> metrics_;
  std::unique_ptr<api::gateway> gateway_;
  std::uint16_t http_port_ = 0;
};

} // namespace hive::node
