/// @file
/// This node's place among others: joins the hive, and hands what the membership says to the node's parts.
#pragma once

#include "actors/node_host.hpp"
#include "cluster/membership_thread.hpp"
#include "runtime/security/authenticator.hpp"

#include <set>
#include <shared_mutex>

namespace hive::node {

/// How a life of the node ended.
struct life_end {
  std::string why;
  bool leave = false;   ///< No other life follows.
  bool failed = false;
};

struct cluster_member_parts {
  const config::settings& settings;
  const clock_source& clock;
  security::authenticator& authenticator;
  std::uint16_t shards;
  std::string store;                    ///< @see turn_store::identity
  std::function<result<std::unique_ptr<persistence::ownership_store>>()> open_store;
  /// On the membership's thread, once.
  std::function<void(life_end)> over;
  std::uint64_t seed;
  bool first_life = true;
};

/// One life of the node: made before the host, which reads `map` and `lease`; started after it; stopped before it goes.
class cluster_member final : public cluster::node_body {
public:
  explicit cluster_member(cluster_member_parts parts);
  ~cluster_member() override;

  const cluster::shard_map& map() const noexcept { return map_; }
  const cluster::lease_guard& lease() const noexcept { return lease_; }

  void start(actors::node_host& host);
  /// In good order: `over` says when all is handed off.
  void leave();
  void stop();
  /// Who answers requests that other nodes carry here; empty: nobody (any more).
  using carried = std::function<void(tenant_context who, const std::string& body, std::function<void(result<std::string>)> done)>;
  void answer_carried(carried how);
  void store_forgot(const std::string& lost);
  /// What this node forgot, its peers must forget too.
  void tell_peers_to_forget(const persistence::turn_record& r);
  cluster::control& control() noexcept { return *membership_; }
  cluster::cluster_gauges read_gauges() const { return membership_->read_gauges(); }

private:
  result<void> generation_begins(node_generation generation) override;
  void start_serving(shard_id shard, epoch fence, journal_position first) override { host_->serve(shard, fence, first); }
  void stop_serving(shard_id shard) override { host_->stop_serving(shard); }
  void release(shard_id shard, std::function<void()> quiet) override { host_->release(shard, std::move(quiet)); }
  void resume(shard_id shard) override { host_->resume(shard); }
  void hold(std::optional<error> why) override { host_->hold(std::move(why)); }
  void go_on() override { host_->go_on(); }
  void peers(const std::vector<cluster::node_row>& live, node_generation self) override;
  void owners_changed(const std::vector<shard_id>& shards) override { host_->send_again(shards, true); }
  void linked(const std::string& node, bool up) override { host_->linked(node, up); }
  void heard(const std::string& node, bool up) override;
  void received(std::shared_ptr<const cluster::links::received_batch> batch) override { host_->remote()->received(*batch); }
  void over(const std::string& why, bool leave, bool failed) override { parts_.over({why, leave, failed}); }
  void each_tick(const std::string& joining) override;

  node_generation former() const;
  void answer_peers();
  void ask_node(const std::string& node, bool undrain, bool plan_only, std::function<void(result<cluster::drain_report>)> done);

  cluster_member_parts parts_;
  cluster::shard_map map_;
  cluster::lease_guard lease_;
  actors::node_host* host_ = nullptr;
  std::shared_mutex carried_guard_;
  carried carried_;
  void forget_what_peers_change();

  std::set<std::string> live_;          // peers,
  std::set<std::string> heard_;         // and those whose link to this node is up: what the others say is not heard
  steady_time next_forget_{};
  std::unique_ptr<cluster::membership_thread> membership_;
};

} // namespace hive::node
