/// @file
/// A hive in memory for tests of the gateway: tenants, keys, directory, tasks and events without turns or disk. Its
/// entities answer as actors/directory.hpp says; agents answer by the type of the message.
///
/// | type | the agent |
/// |---|---|
/// | `say` | answers `{"said": <payload>}` |
/// | `refuse` | application error "refused" |
/// | `hang` | `unknown`, with the key that was made |
/// | `full` | `resource_exhausted` with a hint of 1.5 s |
/// | anything else | answers its payload |
#pragma once

#include "actors/messaging.hpp"
#include "runtime/security/authenticator.hpp"

#include <condition_variable>
#include <deque>
#include <set>

namespace hive::test {

class fake_hive final : public actors::messaging {
public:
  explicit fake_hive(security::authenticator& auth);
  ~fake_hive() override;

  void ask(tenant_context who, actors::ask_request request, std::unique_ptr<actors::reply_sink> sink) override;
  void tell(tenant_context who, actors::destination to, std::string type, payload body, trace_context trace, std::function<void(result<void>)> done) override;
  void read(tenant_id for_whom, std::function<void(persistence::store_reader&)> read) override;
  void collection(tenant_context who, std::string name, std::function<void(result<actors::published_view>)> use) override;
  void embed(tenant_context, actors::embedding_model, std::vector<std::string>, std::function<void(result<actors::embeddings>)> done) override {
    done(error{errc::failed_precondition, "no_embedding_endpoint", "there is none", {}, {}});
  }
  void embed_ahead(tenant_context, const std::string&, std::vector<actors::text_of_item>, std::function<void(result<void>)> then) override { then({}); }
  void explain(tenant_context who, actors::destination of, std::function<void(result<actors::explanation>)> done) override;
  void explain_task(tenant_context who, std::string id, std::function<void(result<actors::explanation>)> done) override;
  void statuses(tenant_context who, std::vector<actors::status_subject> of, std::function<void(std::unordered_map<entity_id, nlohmann::json>)> done) override;
  std::shared_ptr<void> subscribe(tenant_context who, std::function<void(const actors::published_event&)> each) override;
  actors::gauges read_gauges() const override { return {}; }
  std::vector<actors::tenant_counters> read_counters() const override;
  std::optional<error> not_ready() const override;
  bool clustered() const noexcept override { return clustered_; }
  void call_node(const std::string&, const std::string&, tenant_context, std::string, std::function<void(result<std::string>)> done) override {
    done(error{errc::unknown, "link_lost", "the link to node node-2 went down before the answer came; it may have happened", {}, {}});
  }
  bool later(std::chrono::milliseconds, std::function<void()> job) override {
    reads_.post(std::move(job));
    return true;
  }

  // -- for tests
  /// A tenant with one key; returns the key's text.
  std::string add_tenant(const std::string& name, const std::string& role = "tenant");
  std::string add_key(tenant_id tenant, const std::string& role);
  /// Another node did, and nobody told this one.
  void remove_key_elsewhere(const std::string& key);
  void add_agent(const std::string& tenant, const std::string& name, const std::string& supervisor = {});
  void publish(const std::string& tenant, const std::string& type, const std::string& data);
  /// Events up to here are older than retention.
  void forget_events(const std::string& tenant);
  void set_task(const std::string& tenant, const std::string& id, const std::string& state);
  void set_not_ready(std::optional<error> why);
  tenant_id id_of(const std::string& tenant) const;
  std::size_t subscriptions() const;
  /// The last ask or tell that reached an agent.
  struct seen {
    tenant_id tenant;
    std::string principal, agent, type, bytes, key;
    content_type content = content_type::json;
    std::chrono::milliseconds deadline{};
    bool urgent = false;
    trace_context trace;
    std::size_t count = 0;
  };
  seen last() const;
  /// Among others, of which the one that has the collections has died: so many times nobody has found out yet, then they are here.
  void lose_owner_of_collections(int looks) { clustered_ = true, looks_until_here_ = looks; }
  std::function<void()> after_key_read; ///< Called when a reader has read a key. Set it before anything reads.
  std::uint64_t stored() const; ///< Rises with everything that a caller changed.

private:
  friend class fake_reader;
  std::atomic<bool> clustered_{false};
  std::atomic<int> looks_until_here_{0};
  struct tenant_data {
    tenant_id id;
    std::string name, spec = "{}";
    bool removed = false;
    std::uint64_t next_serial = 16;
    std::map<std::pair<entity_kind, std::string>, persistence::directory_row> directory;
    std::map<std::string, std::string> queue_items, own_items;
    std::vector<persistence::stored_event> events;
    std::size_t forgotten = 0;
    std::uint64_t next_task = 1;
  };
  struct subscription {
    tenant_id tenant;
    std::function<void(const actors::published_event&)> each;
  };
  /// A thread that runs what it is given, in order.
  class worker {
  public:
    worker() : thread_([this] { run(); }) {}
    ~worker();
    void post(std::function<void()> work);

  private:
    void run();
    std::mutex guard_;
    std::condition_variable bell_;
    std::deque<std::function<void()>> queue_;
    bool stopping_ = false;
    std::thread thread_;
  };

  result<actors::ask_answer> handle(tenant_context who, const actors::ask_request& request, std::string& key);
  result<nlohmann::json> administrate(tenant_context who, const std::string& type, const nlohmann::json& body);
  result<nlohmann::json> apply(tenant_data& t, const nlohmann::json& body);
  result<nlohmann::json> work(tenant_data& t, const std::string& type, const nlohmann::json& body);
  tenant_data* find(tenant_id id);
  tenant_data* find(const std::string& name);
  void publish_locked(tenant_data& t, const std::string& type, const std::string& data);

  security::authenticator& auth_;
  mutable std::mutex guard_;
  std::deque<tenant_data> tenants_;
  std::map<std::string, persistence::api_key_row> keys_;
  std::map<std::string, std::string> hive_items_; ///< Rows of the system tenant's entity.
  struct kept {
    request_digest digest;
    actors::ask_answer answer;
  };
  std::map<std::string, kept> answers_;
  std::set<std::weak_ptr<subscription>, std::owner_less<>> subscriptions_;
  std::optional<error> not_ready_;
  seen last_;
  std::uint64_t stored_ = 0;
  std::uint64_t made_ = 0;
  worker commits_, reads_;
};

} // namespace hive::test
