/// @file
/// The actors of one node, running: shards, commit thread, readers, executors, name resolver, event feeds. The messaging
/// API in front, the store beneath. runtime/node makes one and starts the gateways on it.
#pragma once

#include "actors/admission.hpp"
#include "actors/ask_ticket.hpp"
#include "actors/caf/shard_actors.hpp"
#include "actors/context/endpoint_embedder.hpp"
#include "actors/context/turn_embedder.hpp"
#include "actors/delayed_jobs.hpp"
#include "actors/entity_loader.hpp"
#include "actors/remote/remote_shards.hpp"
#include "actors/settler.hpp"
#include "actors/worker_pool.hpp"
#include "cluster/lease.hpp"
#include "cluster/name_resolver.hpp"
#include "persistence/commit_thread.hpp"
#include "persistence/wake_ups.hpp"

#include <shared_mutex>

namespace hive::actors {

struct node_host_parts {
  const config::settings& settings;
  const clock_source& clock;
  persistence::turn_store& store;
  context_restorer& contexts;
  behaviour_registry& behaviours;             ///< Agents' behaviours; the hive's own are added to it.
  executor_registry& executors;
  std::uint64_t seed;
  std::string recorder_file;                  ///< What runs is recorded there; empty: nowhere.
  /// Called on the commit thread when a key or a tenant changed, before the change is answered.
  std::function<void(const persistence::turn_record&)> on_security_change;
  /// The store is not the one that this generation began with: a new life must begin. With what it does not hold of what it
  /// had acknowledged to this node; empty: nothing. On the commit thread.
  std::function<void(const std::string& lost)> on_store_forgot{};
  /// Events were committed: watchers at other nodes may want to know. On the commit thread; null: there are none.
  std::function<void(std::span<const persistence::wake_up>)> on_events{};
  // Of a node among others; null: this one has all shards.
  const cluster::shard_map* map = nullptr;
  const cluster::lease_guard* lease = nullptr; ///< Needed to answer from memory.
};

/// All that `parts` refers to outlives it.
class node_host final : public messaging, public shard_services, public persistence::commit_listener, public ask_gate {
public:
  explicit node_host(node_host_parts parts);
  ~node_host() override;

  /// Claims the shards, finds what was left undone (undelivered messages, waiting turns), and begins. Among other nodes:
  /// begins without shards.
  result<void> start();

  // -- among other nodes (ownership.cpp). Called by the membership's thread.
  result<void> begin_generation(node_generation generation);
  void serve(shard_id shard, epoch fence, journal_position first);
  void stop_serving(shard_id shard);
  void release(shard_id shard, std::function<void()> quiet);
  void resume(shard_id shard);
  /// @param why what readiness says; nothing: it has no lease.
  void hold(std::optional<error> why = std::nullopt);
  void go_on();
  /// Why this node takes no part yet: it answers nobody, and its readiness says so. Empty: it does.
  void set_joining(const std::string& why);
  /// Those shards have new owners, by the map.
  void send_again(const std::vector<shard_id>& shards, bool new_owner);
  void linked(const std::string& node, bool up);
  void each_tick();
  /// Other nodes committed events: who watches those tenants here reads at once. Any thread.
  void heard(std::span<const persistence::wake_up> batch);
  /// The same, to them. Best effort. Any thread.
  void tell_peers(std::span<const persistence::wake_up> batch);
  /// Wake-ups may have been missed. Any thread.
  void look_for_events();
  /// Null without other nodes.
  remote::remote_shards* remote() noexcept { return remote_.get(); }
  /// What is known of names and was read before now may be stale. Any thread.
  void forget_names() { names_.clear(); }
  /// Other nodes may have said what was not heard: of names, of tenants, of events. Any thread.
  void read_again();

  // -- messaging
  void ask(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink) override;
  void tell(tenant_context who, destination to, std::string type, payload body, trace_context trace, std::function<void(result<void>)> done) override;
  void read(tenant_id for_whom, std::function<void(persistence::store_reader&)> read) override;
  void collection(tenant_context who, std::string name, std::function<void(result<published_view>)> use) override;
  void embed(tenant_context who, embedding_model by, std::vector<std::string> texts, std::function<void(result<embeddings>)> done) override;
  void embed_ahead(tenant_context who, const std::string& collection, std::vector<text_of_item> items, std::function<void(result<void>)> then) override;
  void explain(tenant_context who, destination of, std::function<void(result<explanation>)> done) override;
  void explain_task(tenant_context who, std::string id, std::function<void(result<explanation>)> done) override;
  void statuses(tenant_context who, std::vector<status_subject> of,
                std::function<void(std::unordered_map<entity_id, nlohmann::json>)> done) override;
  std::shared_ptr<void> subscribe(tenant_context who, std::function<void(const published_event&)> each) override;
  struct gauges read_gauges() const override;
  std::vector<tenant_counters> read_counters() const override;
  std::optional<error> not_ready() const override;
  bool clustered() const noexcept override { return parts_.map != nullptr; }
  void call_node(const std::string& node, const std::string& name, tenant_context who, std::string body,
                 std::function<void(result<std::string>)> done) override;
  bool later(std::chrono::milliseconds wait, std::function<void()> job) override { return !stopping_ && delayed_->after(wait, std::move(job)); }

  const persistence::commit_statistics& commits() const noexcept { return commit_->statistics(); }

  // -- for benches, which resolve a name once
  result<entity_id> resolve_now(tenant_context who, entity_kind kind, const std::string& name);
  /// Best effort, by id, without a look at the name.
  void send_tell(tenant_context who, entity_id to, std::string type, payload body, trace_context trace, std::function<void(result<void>)> done);
  void tell_id(tenant_context who, entity_id to, const std::string& type, const payload& body);

private:
  // -- shard_services
  const clock_source& clock() const noexcept override { return parts_.clock; }
  const config::settings& settings() const noexcept override { return parts_.settings; }
  executor_registry& executors() noexcept override { return parts_.executors; }
  void submit(std::unique_ptr<actor_record> record) override { commit_->submit(std::move(record)); }
  journal_position allot(shard_id shard) noexcept override { return parts_.store.allot(shard); }
  void post(entity_id to, std::unique_ptr<shard_op> op) override;
  void post_to(shard_id shard, std::unique_ptr<shard_op> op) override;
  void load(entity_id id, tenant_context who, epoch fence) override;
  std::optional<entity_id> known(tenant_context who, entity_kind kind, std::string_view name) override;
  void resolve(tenant_context who, entity_kind kind, std::string name, std::function<void(result<entity_id>)> done) override;
  void execute(executor& e, executor::call call, steady_time deadline, entity_id entity, std::uint64_t turn, std::uint32_t step) override;
  tenant_context context_of(tenant_id tenant, std::string_view principal) override { return parts_.contexts.restore(tenant, principal); }
  tenant_metrics& metrics(tenant_id tenant) override;
  node_gauges& gauges() noexcept override { return gauges_; }
  std::uint64_t new_seed() noexcept override;
  turn_recorder* recorder() noexcept override { return recorder_.get(); }
  context_views& views() noexcept override { return views_; }
  bool here(entity_id id) const noexcept override;
  bool among_others() const noexcept override { return parts_.map != nullptr; }
  text_embedder& embedder() noexcept override { return *turn_embedder_; }

  // -- commit_listener
  void settled(std::vector<persistence::settlement>&& batch) override;
  void availability(const error* why) override;

  void explain_entity(tenant_context who, entity_id id, std::string address, std::function<void(json)> done);
  void live_statuses(tenant_context who, const std::vector<entity_id>& ids, std::function<void(std::unordered_map<entity_id, json>)> done);
  // ownership.cpp
  class again_sink;
  void ask_one(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink, bool unused_key);
  void ask_once(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink, bool unused_key);
  std::optional<error> too_large(const destination& to, const payload& body) const;
  std::optional<error> inbox_full(shard_id shard) const;
  std::string node_of(entity_id id) const;
  void take_over(shard_id shard, epoch fence);
  void read_work_again(shard_id shard, epoch fence);
  std::unique_ptr<shard_op> elsewhere(shard_id shard, std::unique_ptr<shard_op> op, bool room);
  void tell_shards(const std::function<void(shard_core&)>& what);
  void answer_peers();
  bool ask_owner(entity_id id, const std::string& name, tenant_context who, const std::string& body, std::function<void(result<std::string>)> done);
  void tell_peers_to_forget(const actor_record& r);
  void step_elsewhere(const std::string& node, const std::string& name, const executor::call& call, std::function<void(result<payload>)> done);
  // queue_routing.cpp
  struct meeting;
  class meeting_sink;
  void submit_task(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink);
  void meet(tenant_context who, std::shared_ptr<meeting> of);
  void read_tenant(tenant_id tenant, std::function<void()> then);
  void explain_queue_whole(tenant_context who, std::function<void(json)> done);
  // collections.cpp
  void look_into(tenant_context who, std::string name, std::function<void(result<published_view>)> use, unsigned tries);
  void search_on(tenant_id tenant, published_view view, std::function<void(result<published_view>)> use);
  result<published_view> open_now(const executor::call& c, const std::string& name);
  result<embeddings> embed_now(const executor::call& c, const embedding_model& by, const std::string& text);
  void accept(tenant_context who, ask_request&& request, ticket_ref ticket, entity_id to, std::string key, bool generated);
  void let_in(std::unique_ptr<envelope> e);
  void left(tenant_id tenant) noexcept override;
  result<void> know_tenants(persistence::store_reader& reader);
  void read_tenants();
  void know_tenant(const persistence::tenant_row& t);
  void publish_directory(const actor_record& r);
  result<void> open_recorder();
  result<void> recover(persistence::store_reader& reader, std::vector<std::unique_ptr<shard_core>>& cores);
  void report_overdue(entity_id entity, std::chrono::milliseconds ran);

  /// The event stream of one tenant that somebody watches. Fed from the store after each commit that has events of the
  /// tenant, so that live and stored events are the same ones in the same order.
  struct feed {
    tenant_context who;
    std::string cursor;
    std::uint64_t awaited = 0;            // an event with this number is committed
    std::chrono::milliseconds patience{}; // until the next look, while it cannot be seen yet
    bool planned = false;                 // that look
    bool reading = false;
    bool again = false;
    std::vector<std::pair<std::uint64_t, std::function<void(const published_event&)>>> watchers;
  };
  void wake_feed(persistence::wake_up news);
  void look_again_later(tenant_id tenant, feed& f);
  void read_feed(tenant_id tenant, persistence::store_reader& reader);

  node_host_parts parts_;
  node_gauges gauges_;
  cluster::name_resolver names_;
  entity_loader loader_;
  std::uint16_t shard_count_;
  std::uint64_t number_;                        // of this host in its process
  std::atomic<node_generation> generation_{};   // as the store knows this life of the node

  using gate = admission<std::unique_ptr<envelope>>;
  std::mutex gate_guard_;
  gate gate_;

  mutable std::shared_mutex metrics_guard_;
  std::unordered_map<tenant_id, std::unique_ptr<tenant_metrics>> metrics_;
  std::mutex chance_guard_;
  random_source chance_;

  mutable std::mutex state_guard_;
  std::optional<error> unavailable_;
  bool started_ = false;
  std::atomic<bool> ready_{false};
  std::atomic<bool> stopping_{false};
  std::mutex early_guard_;
  std::vector<std::pair<shard_id, std::unique_ptr<shard_op>>> early_; ///< Posted before the shards run.
  std::atomic<shard_actors*> running_{nullptr};

  std::mutex feeds_guard_;
  std::unordered_map<tenant_id, feed> feeds_;
  std::atomic<std::uint64_t> next_watcher_{1};
  std::atomic<std::size_t> feed_count_{0};

  // Among other nodes.
  std::unique_ptr<remote::remote_shards> remote_;
  std::mutex served_guard_;
  std::vector<epoch> served_;                   // by shard: what it is to be served under; 0: not here
  std::atomic<bool> held_{false};               // the lease may have run out
  std::optional<error> held_why_;               // beyond that; under `state_guard_`
  std::atomic<bool> joining_{false};
  std::string why_joining_;                     // under `state_guard_`
  steady_time next_look_for_events_{};
  steady_time next_look_for_stuck_{};
  steady_time next_read_of_tenants_{};

  context_views views_;
  std::unique_ptr<endpoint_embedder> embedder_;
  std::unique_ptr<turn_embedder> turn_embedder_;
  std::atomic<std::uint32_t> searches_waiting_{0};
  settler settler_; // commit thread only

  // Destroyed from the bottom up. The shards are stopped first and freed last but one: the commit thread still posts.
  std::unique_ptr<turn_recorder> recorder_;
  std::unique_ptr<turn_watch> watch_;
  std::unique_ptr<deadline_wheel> deadlines_;
  std::unique_ptr<delayed_jobs> delayed_;
  std::unique_ptr<worker_pool<std::unique_ptr<persistence::store_reader>>> readers_;
  std::unique_ptr<worker_pool<int>> executor_threads_;
  std::unique_ptr<worker_pool<int>> search_threads_;
  std::unique_ptr<shard_actors> shards_;
  std::unique_ptr<persistence::commit_thread> commit_;
};

} // namespace hive::actors
