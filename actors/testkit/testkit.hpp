/// @file
/// A hive in memory for tests of behaviours: one thread, virtual time, and a crash wherever you want one.
///
/// ```cpp
/// testkit kit(contexts, directory, [](auto& b, auto&) { b.add("greeter", std::make_unique<greeter>()); });
/// kit.add_agent("g", "greeter");
/// EXPECT_EQ(kit.ask("g", "hello", {{"name", "Ann"}})->at("greeted"), 1);
///
/// // The same answers, whatever commit the power goes after:
/// crash_at_every_commit(make_kit, [](testkit& k) { k.ask_until_answered("g", "hello", {{"name", "Ann"}}, "key-1"); },
///                       [](testkit& k) { EXPECT_EQ(k.ask("g", "count", nullptr)->at("greeted"), 1); });
/// ```
///
/// Turns, steps, outbox, keys and supervision are the product's own code (`shard_core`), on a real store; only the
/// threads, the clock and the sockets are missing.
#pragma once

#include "actors/entity_loader.hpp"
#include "actors/settler.hpp"
#include "persistence/commit_pipeline.hpp"

#include <filesystem>

namespace hive::actors {

/// Confined to one thread.
class testkit final : public shard_services {
public:
  using fill = std::function<void(behaviour_registry&, executor_registry&)>;

  /// @param directory for the store; must be empty. Use one in memory (/dev/shm) for speed.
  testkit(context_restorer& contexts, std::filesystem::path directory, const fill& add, config::settings settings = {}, std::uint64_t seed = 1);
  ~testkit();

  /// In the tenant "test" unless said otherwise. Aborts the test with a message when the spec is refused.
  void add_agent(const std::string& name, const std::string& behaviour, json config = json::object(), const std::string& supervisor = "");
  void add_supervisor(const std::string& name, json spec = json::object());
  void add_collection(const std::string& name, json spec = json::object());
  /// Asks a collection: items are as JSON (context/items.hpp).
  result<json> put_items(const std::string& collection, const json& items, const std::string& key = "");
  result<json> ask_collection(const std::string& collection, const std::string& type, payload body, const std::string& key = "");
  /// What searches read; loads the collection when it is cold.
  result<published_view> collection(const std::string& name);
  /// What the endpoint gives for texts; without it there is no endpoint. Stays across crashes.
  using embed_texts = std::function<result<embeddings>(const embedding_model& by, const std::vector<std::string>& texts)>;
  void set_endpoint(embed_texts embed) { embed_ = std::move(embed); }
  /// Texts whose vectors were made by the built-in embedder for turns, and not in them.
  std::size_t built_in_texts() const noexcept { return built_in_texts_; }
  /// A query as agents write it (context/query.hpp).
  result<json> search(const std::string& collection, const json& query);
  /// An administrative message to the tenant's entity (actors/directory.hpp).
  result<json> admin(const std::string& type, const json& body);

  /// Runs until the answer is there, or nothing more happens (`unknown`).
  result<json> ask(const std::string& agent, const std::string& type, const json& body, const std::string& key = "");
  /// Asks again with the same key, as a client does, after each crash. Needs a key.
  result<json> ask_until_answered(const std::string& agent, const std::string& type, const json& body, const std::string& key);
  /// A key such as the gateway makes for an ask without one.
  std::string make_key();
  /// Begins an ask; `answers` gets the result when it comes.
  void ask_later(const std::string& agent, const std::string& type, const json& body, std::vector<result<json>>& answers, const std::string& key = "");
  void tell(const std::string& agent, const std::string& type, const json& body);
  /// Submits it, lets the hive settle, and reads the task as it is then.
  result<json> task(const std::string& agent, const std::string& type, const json& body);
  /// Without waiting for its end: the queue's answer.
  result<json> submit_task(const json& body, const std::string& key = "");
  result<json> read_task(const std::string& id);
  /// Asks the queue (actors/directory.hpp): the task's partition, the agent's, or the first.
  result<json> queue(const std::string& type, const json& body);
  /// The same of one partition.
  result<json> ask_queue(std::uint32_t partition, const std::string& type, const json& body);
  /// From now on the tenant's queue has as many partitions.
  result<json> divide_queue(std::uint32_t partitions);
  std::uint32_t partitions() { return metrics(who_.tenant()).division().partitions; }

  /// Runs until nothing is left to do at this time.
  void run();
  /// Lets time pass, running what comes due on the way.
  void advance(std::chrono::milliseconds by);
  /// Runs and lets time pass until the hive is quiet, at most `at_most` of virtual time.
  void settle(std::chrono::milliseconds at_most = std::chrono::hours{1});

  /// The power goes: everything in memory is lost, committed rows stay; then the hive starts again.
  void crash();
  /// What a start finds when the process died while the agent ran that message (`message_of`): call it after `crash`.
  void suspect(const std::string& agent, std::uint64_t message);
  /// As if each shard were at a node of its own: what shards tell each other travels as bytes, and now and then a link goes
  /// down with what was on its way. @param lost_in one message in so many begins such a loss; 0: never
  void scatter(std::uint64_t lost_in);
  /// The agent's shard gets another owner, who finds what is on disk. What the former one had under way is refused.
  void move(const std::string& agent);
  /// Crash by itself when that many batches more have been committed.
  void crash_after_commits(std::uint64_t n) { crash_in_ = n; }
  std::uint64_t commits() const noexcept { return commits_; }
  std::uint64_t crashes() const noexcept { return crashes_; }
  /// Makes the store refuse: called for each batch; an error of class `unavailable` refuses the batch whole.
  void refuse_commits(std::function<std::optional<error>()> why) { refuse_ = std::move(why); }
  /// Makes it answer no reads of shards and turns: called for each.
  void refuse_reads(std::function<std::optional<error>()> why) { refuse_reads_ = std::move(why); }

  json explain(const std::string& name, entity_kind kind = entity_kind::agent);
  const entity_memory* memory_of(entity_id id);
  /// As `hivectl tree` shows it: "running", "stopped" ...; of what is not in memory what the store says.
  std::string status(entity_kind kind, const std::string& name);
  /// The same with "incarnation", "restarts", "stopped_by" ... (messaging.hpp, `statuses`).
  json facts(entity_kind kind, const std::string& name);
  std::size_t activations() const;
  std::int64_t timers_set() const { return gauges_.timers.load(); } ///< As the metrics show it.
  persistence::store_reader& reader() { return *reader_; }
  tenant_context context() const { return who_; }
  wall_time now() const { return clock_.wall_now(); }
  entity_id id_of(const std::string& agent);
  context_views& views() noexcept override { return *views_; }
  text_embedder& embedder() noexcept override { return scripted_; }
  /// (type, source) of every event since the kit was made.
  std::vector<std::pair<std::string, std::string>> events();

private:
  const clock_source& clock() const noexcept override { return clock_; }
  const config::settings& settings() const noexcept override { return settings_; }
  executor_registry& executors() noexcept override { return executors_; }
  void submit(std::unique_ptr<actor_record> record) override;
  journal_position allot(shard_id shard) noexcept override;
  void post(entity_id to, std::unique_ptr<shard_op> op) override;
  void post_to(shard_id shard, std::unique_ptr<shard_op> op) override { ops_.emplace_back(shard, std::move(op)); }
  bool among_others() const noexcept override { return scattered_; }
  void load(entity_id id, tenant_context who, epoch fence) override;
  void read(tenant_id for_whom, std::function<void(persistence::store_reader&)> how) override;
  std::optional<entity_id> known(tenant_context who, entity_kind kind, std::string_view name) override;
  void resolve(tenant_context who, entity_kind kind, std::string name, std::function<void(result<entity_id>)> done) override;
  void execute(executor& e, executor::call call, steady_time deadline, entity_id entity, std::uint64_t turn, std::uint32_t step) override;
  tenant_context context_of(tenant_id tenant, std::string_view principal) override { return contexts_.restore(tenant, principal); }
  tenant_metrics& metrics(tenant_id tenant) override;
  node_gauges& gauges() noexcept override { return gauges_; }
  std::uint64_t new_seed() noexcept override { return chance_.next(); }

  void begin();
  void take_over(shard_core& core);
  persistence::batch_result write(std::span<persistence::turn_record* const> batch);
  bool step();
  void look_for_stuck();
  void commit_batch();
  void send(tenant_context who, entity_id to, const std::string& type, payload body, const std::string& key, std::unique_ptr<reply_sink> sink);
  result<json> ask_bytes(tenant_context who, entity_id to, const std::string& type, payload body, const std::string& key);
  result<json> ask_entity(tenant_context who, entity_id to, const std::string& type, const json& body, const std::string& key);

  context_restorer& contexts_;
  std::filesystem::path directory_;
  config::settings settings_;
  manual_clock clock_;
  random_source chance_;
  behaviour_registry behaviours_;
  executor_registry executors_;
  tenant_context who_;
  node_gauges gauges_;
  std::unordered_map<tenant_id, std::unique_ptr<tenant_metrics>> metrics_;
  std::string first_cursor_;
  std::uint64_t commits_ = 0;
  std::uint64_t crashes_ = 0;
  std::uint64_t crash_in_ = 0;
  std::function<std::optional<error>()> refuse_;
  std::function<std::optional<error>()> refuse_reads_;
  bool scattered_ = false;
  std::uint64_t lost_in_ = 0;
  std::unordered_map<shard_id, epoch> real_fences_;    ///< The store's, of shards that moved.
  std::unordered_map<shard_id, std::uint64_t> losing_; ///< How many more messages to the shard its link loses.
  steady_time next_look_for_stuck_{};

  /// Answers later, as an endpoint does.
  struct scripted_embedder final : text_embedder {
    explicit scripted_embedder(testkit& owner) : kit(owner) {}
    void embed(tenant_id for_whom, embedding_model by, std::vector<std::string> texts, std::function<void(result<embeddings>)> done) override;
    testkit& kit;
  };
  embed_texts embed_ = [](const embedding_model&, const std::vector<std::string>&) -> result<embeddings> {
    return error{errc::failed_precondition, "no_embedding_endpoint", "the test set no endpoint", {}, {}};
  };
  scripted_embedder scripted_{*this};
  std::size_t built_in_texts_ = 0;

  // What a crash loses.
  std::unique_ptr<persistence::turn_store> store_;
  std::unique_ptr<persistence::store_reader> reader_;
  std::unique_ptr<cluster::name_resolver> names_;
  std::unique_ptr<entity_loader> loader_;
  std::unique_ptr<persistence::commit_pipeline> pipeline_;
  std::unique_ptr<context_views> views_;
  std::unique_ptr<settler> settler_;
  std::vector<std::unique_ptr<shard_core>> shards_;
  std::deque<std::pair<shard_id, std::unique_ptr<shard_op>>> ops_;
  std::deque<std::function<void()>> jobs_; ///< Reads and steps, as the threads of a node would run them.
};

/// Runs `scenario` once to count its commits, then once for each of them with a crash right after it (and once before
/// the first), each time on a hive that `make` makes; then lets the hive settle and calls `check`.
void crash_at_every_commit(const std::function<std::unique_ptr<testkit>()>& make, const std::function<void(testkit&)>& scenario,
                           const std::function<void(testkit&)>& check);

} // namespace hive::actors
