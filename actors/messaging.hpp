/// @file
/// The messaging API inside a node: what the gateways, the benches and the tests call. One node, all its tenants.
///
/// Administrative changes are asks too: to the entity that is the tenant (see actors/directory.hpp for its messages).
#pragma once

#include "actors/behaviour.hpp"
#include "actors/context/context_views.hpp"
#include "actors/context/text_embedder.hpp"
#include "actors/specs.hpp"
#include "config/settings.hpp"
#include "persistence/turn_store.hpp"

#include <functional>
#include <memory>

namespace hive::actors {

/// Where a message goes. Names are resolved when it is accepted; an id was resolved before.
struct destination {
  entity_kind kind = entity_kind::agent;
  std::string name;
};

/// What of an item its vector is made of.
struct text_of_item {
  std::string id;
  std::string text;
};

struct ask_request {
  destination to;
  std::string type;
  payload body;
  std::string idempotency_key;             ///< Empty: one is made and returned.
  std::chrono::milliseconds deadline{};    ///< Time left; 0: `api.ask_deadline`.
  bool urgent = false;
  trace_context trace{};
  std::string route{};                     ///< Of a `task.submit` to the queue "default": `scheduling::route_of`.
};

struct ask_answer {
  payload body;
  std::string idempotency_key;
  bool repeated = false;                   ///< The answer of an earlier ask with this key.
};

/// Receives the end of an ask, exactly once, on any thread of the node; must not block. Destroyed afterwards.
/// Results: an answer; `application` (the behaviour said no, or crashed); anything `errc` calls not executed; or
/// `unknown` (deadline passed: ask again with `error::message`'s key, which `key` repeats).
class reply_sink {
public:
  virtual ~reply_sink() = default;
  virtual void answered(ask_answer&& answer) = 0;
  virtual void failed(error&& why, const std::string& key) = 0;
};

/// A reply sink from two functions.
std::unique_ptr<reply_sink> on_reply(std::function<void(result<ask_answer>)> done);

/// Published events of one tenant, as they are committed.
struct published_event {
  std::string cursor;
  wall_time at;
  std::string type;
  std::string source;
  std::string data;                        ///< JSON.
};

/// An entity whose status is wanted. Its supervisor's name is not in its own row: empty is the tenant's root.
struct status_subject {
  entity_id id;
  std::string supervisor;
};

/// What `explain` says about one entity: live facts from its shard and what the store knows.
using explanation = nlohmann::json;

/// Live counters, read without locks at scrape time.
struct gauges {
  std::uint64_t activations = 0;
  std::uint64_t activation_bytes = 0;
  std::uint64_t queued_messages = 0;
  std::uint64_t run_ahead_turns = 0;
  std::uint64_t run_ahead_bytes = 0;
  std::uint64_t waiting_turns = 0;
  std::uint64_t outbox = 0;
  std::uint64_t timers = 0;
  std::uint64_t collections = 0;          ///< In memory,
  std::uint64_t collection_bytes = 0;     ///< and what they take.
};

/// One tenant's hot counters, summed over the workers.
struct tenant_counters {
  tenant_id tenant;
  std::string name;
  std::uint64_t turns = 0;
  std::uint64_t tells = 0;
  std::uint64_t asks = 0;
  std::uint64_t crashes = 0;
  std::uint64_t rejected = 0;
  std::uint64_t dead_letters = 0;
  std::uint64_t overdue = 0;                   ///< Turns that ran longer than `entity.turn_limit`.
  std::array<std::uint64_t, 24> turn_micros{}; ///< [i]: turns that took 2^i .. 2^(i+1)-1 microseconds.
  std::array<std::uint64_t, 24> ask_micros{};  ///< [i]: asks from acceptance to reply.
};

/// Any thread may call anything here.
class messaging {
public:
  virtual ~messaging() = default;

  /// Durable. The sink hears the end exactly once, at the latest a moment after the deadline.
  virtual void ask(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink) = 0;

  /// Best effort. @returns once the message is in the mailbox's shard, or why not.
  virtual void tell(tenant_context who, destination to, std::string type, payload body, trace_context trace, std::function<void(result<void>)> done) = 0;

  /// Runs `read` on a reader thread with a reader of committed rows.
  virtual void read(tenant_id for_whom, std::function<void(persistence::store_reader&)> read) = 0;

  /// Runs `use` on a search thread of the tenant with what is on disk of the collection, which is loaded first when it is
  /// cold. What was acknowledged before this call is in it. Errors: `not_found`; `resource_exhausted` when too many wait; `unavailable`
  /// (elsewhere) with the node that has it as field.
  virtual void collection(tenant_context who, std::string name, std::function<void(result<published_view>)> use) = 0;

  /// Makes vectors for searches of collections whose embedder is an endpoint (context/text_embedder.hpp).
  virtual void embed(tenant_context who, embedding_model by, std::vector<std::string> texts,
                     std::function<void(result<embeddings>)> done) = 0;
  /// Has the endpoint's vectors of items that will be put made and kept at hand, so that the owner's turn need not wait for them;
  /// `then` on any thread. At once when the collection needs none. Errors are the endpoint's: a put would only wait for them again.
  virtual void embed_ahead(tenant_context who, const std::string& collection, std::vector<text_of_item> items,
                           std::function<void(result<void>)> then) = 0;

  /// Live facts about one entity; `done` on any thread. `not_found` as usual.
  virtual void explain(tenant_context who, destination of, std::function<void(result<explanation>)> done) = 0;
  /// The same about a task: where it is, what it waits for, and what its agent does. @param id as the queue gave it.
  virtual void explain_task(tenant_context who, std::string id, std::function<void(result<explanation>)> done) = 0;
  /// Live status of many agents and supervisors by id: {"status": "idle|running|waiting|crashed|stopped...",
  /// "incarnation": n, "restarts": n, "mailbox": n, "last_error": "...", "stopped_by": "supervisor/x" (a supervisor above
  /// that is stopped or quarantined, with which it is down), "node": "..." (that has it, among others)}; of those not in memory what is stored ("inactive" when they
  /// would run); missing ones never ran.
  virtual void statuses(tenant_context who, std::vector<status_subject> of,
                        std::function<void(std::unordered_map<entity_id, nlohmann::json>)> done) = 0;

  /// Calls `each` for every event of the tenant committed from now on, on a reader thread, until the handle goes.
  virtual std::shared_ptr<void> subscribe(tenant_context who, std::function<void(const published_event&)> each) = 0;

  virtual gauges read_gauges() const = 0;
  virtual std::vector<tenant_counters> read_counters() const = 0;

  /// Whether there are other nodes, and what is asked for may be at one of them.
  virtual bool clustered() const noexcept { return false; }
  /// Asks a node something, by a name that its parts answer to (`remote_shards::handle`).
  virtual void call_node(const std::string& node, const std::string& name, tenant_context who, std::string body,
                         std::function<void(result<std::string>)> done) {
    (void)node, (void)name, (void)who, (void)body;
    done(error{errc::unavailable, "single_node", "this node has no peers"});
  }

  /// Runs `job` after a while, on a thread that it must not hold. @returns false: not, as too many wait, or this node does not wait.
  virtual bool later(std::chrono::milliseconds wait, std::function<void()> job) {
    (void)wait, (void)job;
    return false;
  }

  /// Why the node is not ready (loading, disk full, stopping); null when it is.
  virtual std::optional<error> not_ready() const = 0;
};

} // namespace hive::actors
