/// @file
/// The shell of `membership`: gives it time, the answers of the store and the news of the links, and carries out what it
/// says. cluster/README.md has the table of calls.
///
/// One life of a node: when its generation is over, so is this object. Whoever runs the node makes everything anew.
#pragma once

#include "cluster/control.hpp"
#include "cluster/link_book.hpp"
#include "cluster/links/node_links.hpp"
#include "cluster/membership.hpp"
#include "persistence/ownership_store.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace hive::cluster {

/// The node that obeys. Called on the membership's thread, in order; must not block.
class node_body {
public:
  virtual ~node_body() = default;
  /// Before any shard: commits are made in the name of this generation.
  virtual result<void> generation_begins(node_generation generation) = 0;
  virtual void start_serving(shard_id shard, epoch fence, journal_position first) = 0;
  virtual void stop_serving(shard_id shard) = 0;
  /// No new turns; `quiet` on any thread, when what ran has ended and is committed.
  virtual void release(shard_id shard, std::function<void()> quiet) = 0;
  virtual void resume(shard_id shard) = 0;
  /// Whether this node may answer and commit. @param why for readiness; nothing: it has no lease.
  virtual void hold(std::optional<error> why) = 0;
  virtual void go_on() = 0;
  virtual void peers(const std::vector<node_row>& live, node_generation self) = 0;
  /// These shards have another owner than before, by the map.
  virtual void owners_changed(const std::vector<shard_id>& shards) = 0;
  /// This node's link to a peer came up, or went down.
  virtual void linked(const std::string& node, bool up) = 0;
  /// The peer's link to this node did: what it said while it was down was not heard.
  virtual void heard(const std::string& node, bool up) = 0;
  virtual void received(std::shared_ptr<const links::received_batch> batch) = 0;
  /// This life is over. @param leave do not begin another. Once.
  virtual void over(const std::string& why, bool leave, bool failed) = 0;
  /// @param joining why the node is not active yet; empty: it is, or was.
  virtual void each_tick(const std::string& joining) = 0;
};

struct membership_parts {
  const config::cluster_settings& settings;
  const config::link_settings& links;
  const clock_source& clock;
  node_facts facts;
  std::string hive;
  std::string cell;
  std::string store;                   ///< Id of the store: peers with another one are refused.
  node_generation former;
  bool first_life = true;              ///< Of this process: then a node port that cannot be opened is a wrong setting. Later it is
                                       ///< something that passes: another socket has the number just now.
  shard_map& map;
  lease_guard& lease;
  node_body& body;
  /// A connection of its own, each time; bounded by `cluster.store_timeout`.
  std::function<result<std::unique_ptr<persistence::ownership_store>>()> open_store;
  /// Carries a drain (or its end) to another node and brings back its answer.
  std::function<void(const std::string& node, bool undrain, bool plan_only, std::function<void(result<drain_report>)> done)> ask_node;
  std::uint64_t seed = 0;
};

/// Any thread may call what is public.
class membership_thread final : public control, private links::link_listener {
public:
  explicit membership_thread(membership_parts parts);
  ~membership_thread() override;
  membership_thread(const membership_thread&) = delete;
  membership_thread& operator=(const membership_thread&) = delete;

  void start();
  /// Hands everything off and ends the life in good order (`over` says when), at most `cluster.drain_timeout`. Twice: at once.
  void leave();
  /// No callback after this. The links refuse everything from here on, and stay until this object goes: shards still use them.
  void stop();

  void store_forgot(std::string lost);

  void report(std::function<void(result<hive_report>)> done) override;
  void drain(std::string node, bool plan_only, std::function<void(result<drain_report>)> done) override;
  void undrain(std::string node, std::function<void(result<drain_report>)> done) override;

  cluster_gauges read_gauges() const;

  /// Null until the node has joined; lives until `stop`.
  links::node_links* links() const noexcept { return links_published_.load(std::memory_order_acquire); }

private:
  struct store_lane;
  struct waiting_undrain {
    steady_time until;
    std::function<void(result<drain_report>)> done;
  };

  void received(std::shared_ptr<const links::received_batch> batch) override;
  void event(const links::link_event& e) override;
  void post(std::function<void()> job);
  void run();
  void obey(commands list);
  void carry_out(command& c);
  void begin_life();
  void on_link(const links::link_event& e);
  void on_control(const links::received_batch& batch);
  void note_owners();
  void find_positions(const start_serving& s);
  result<drain_report> drain_state(const std::string& node);
  void answer_undrains();
  hive_report make_report();
  boot_time now() const noexcept { return boot_clock::now(); }

  membership_parts parts_;
  membership core_;
  node_generation known_self_;
  std::vector<node_generation> owners_;        // as the body heard them last
  std::uint64_t map_version_ = 0;
  link_book links_seen_;
  std::vector<waiting_undrain> undrains_;
  bool over_ = false;
  std::atomic<node_state> state_seen_{node_state::joining}; // of `core_`, a moment ago
  std::atomic<std::size_t> handing_off_seen_{0};

  std::mutex guard_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;

  std::unique_ptr<links::node_links> links_;
  std::atomic<links::node_links*> links_published_{nullptr};
  std::unique_ptr<store_lane> renewals_;       // so that none waits behind a takeover
  std::unique_ptr<store_lane> changes_;
  std::thread thread_;
};

} // namespace hive::cluster
