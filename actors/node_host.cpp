#include "actors/node_host.hpp"

#include "actors/context/http/http_endpoint.hpp"
#include "actors/context/query_executor.hpp"
#include "actors/generated_key.hpp"
#include "actors/stored_status.hpp"
#include "actors/system/queue_explain.hpp"
#include "actors/system/system_turn.hpp"
#include "config/base/checked_json.hpp"
#include "config/base/log.hpp"
#include "persistence/event_cursor.hpp"
#include "persistence/refusing_reader.hpp"

#include <future>
#include <unordered_set>

namespace hive::actors {

using persistence::settlement;
using persistence::store_reader;

namespace {
constexpr std::size_t names_kept = 1'000'000;
constexpr std::size_t feed_page = 500;
constexpr std::size_t absent_statuses = 5'000;
constexpr std::chrono::milliseconds unseen_looked_for_first{2};
constexpr std::chrono::milliseconds unseen_looked_for_last{250};

std::atomic<std::uint64_t> hosts_made{0};

class function_sink final : public reply_sink {
public:
  explicit function_sink(std::function<void(result<ask_answer>)> f) : done_(std::move(f)) {}
  void answered(ask_answer&& a) override { done_(std::move(a)); }
  void failed(error&& why, const std::string&) override { done_(std::move(why)); }

private:
  std::function<void(result<ask_answer>)> done_;
};
} // namespace

std::unique_ptr<reply_sink> on_reply(std::function<void(result<ask_answer>)> done) { return std::make_unique<function_sink>(std::move(done)); }

node_host::node_host(node_host_parts parts)
  : parts_(std::move(parts)), names_(names_kept, parts_.map ? &parts_.clock : nullptr, parts_.settings.cluster.remember), loader_(parts_.behaviours, names_), shard_count_(parts_.store.shard_count()),
    number_(++hosts_made), gate_({parts_.settings.node.asks_under_way, parts_.settings.node.asks_waiting}), chance_(parts_.seed),
    views_(parts_.settings.context.memory_bytes,
           [this](entity_id id) { post(id, std::make_unique<call_op>([id](shard_core& shard) { shard.unload(id); })); }),
    settler_(views_) {
  add_system_behaviours(parts_.behaviours, parts_.behaviours, parts_.settings);
  add_query_executors(
    parts_.executors, parts_.settings, parts_.clock, [this](const executor::call& c, const std::string& name) { return open_now(c, name); },
    [this](const executor::call& c, const embedding_model& by, const std::string& text) { return embed_now(c, by, text); });
}

node_host::~node_host() {
  stopping_ = true;
  {
    std::lock_guard lock(gate_guard_);
    gate_ = gate({}); // who still waits hears `dropped`
  }
  watch_.reset();
  if (executor_threads_) executor_threads_->stop();
  if (embedder_) embedder_->stop();
  if (search_threads_) search_threads_->stop();
  if (readers_) readers_->stop();
  if (shards_) shards_->stop();
  commit_.reset(); // writes what was submitted, and answers its askers
  delayed_.reset(); // last: who is answered may look for it
}

result<void> node_host::start() {
  const auto& s = parts_.settings;
  auto endpoint = http_endpoint(s.embedding);
  if (!endpoint) return endpoint.error();
  embedder_ = std::make_unique<endpoint_embedder>(s.embedding, std::move(*endpoint), new_seed());
  delayed_ = std::make_unique<delayed_jobs>(parts_.clock, s.node.jobs_waiting);
  turn_embedder_ = std::make_unique<turn_embedder>(
    *embedder_,
    [this](tenant_id tenant, std::function<void()> job) { search_threads_->post(tenant, [job = std::move(job)](int&) { job(); }); },
    [this](std::chrono::milliseconds wait, std::function<void()> job) { (void)delayed_->after(wait, std::move(job), true); }, s.embedding.turn_wait);
  std::vector<persistence::shard_row> claimed; // of a node that is alone: among others the membership says what is whose
  if (!parts_.map) {
    auto all = parts_.store.claim_all();
    if (!all) return all.error();
    claimed = std::move(*all);
    if (!claimed.empty()) generation_ = claimed.front().owner;
  }
  auto reader = parts_.store.reader();
  if (!reader) return reader.error();
  if (auto known = know_tenants(**reader); !known) return known;

  deadlines_ = std::make_unique<deadline_wheel>(parts_.clock);
  commit_ = std::make_unique<persistence::commit_thread>(
    parts_.store, *this, parts_.clock, persistence::batch_limits{s.node.batch_turns, s.node.batch_bytes},
    persistence::trim_policy{s.keep.keys, s.keep.events, s.keep.dead_letters, s.keep.audit});
  readers_ = std::make_unique<worker_pool<std::unique_ptr<store_reader>>>(s.node.reader_threads, [this] {
    auto r = parts_.store.reader();
    if (!r) {
      log::error("cannot open a reader of the store", {{"why", r.error().message}});
      std::abort();
    }
    return std::move(*r);
  }, s.node.jobs_waiting);
  executor_threads_ = std::make_unique<worker_pool<int>>(s.node.executor_threads, [] { return 0; }, s.node.jobs_waiting);
  search_threads_ = std::make_unique<worker_pool<int>>(s.context.search_threads, [] { return 0; });

  if (auto opened = open_recorder(); !opened) return opened;
  std::vector<std::unique_ptr<shard_core>> cores;
  for (const auto& row : claimed) cores.push_back(std::make_unique<shard_core>(row.shard, row.fence, *this));
  if (parts_.map) {
    cores.resize(shard_count_);
    served_.resize(shard_count_);
    answer_peers();
  } else if (auto recovered = recover(**reader, cores); !recovered) return recovered;
  shards_ = std::make_unique<shard_actors>(std::move(cores), s.node.workers,
                                           [this](shard_id shard, std::unique_ptr<shard_op> op, bool room) { return elsewhere(shard, std::move(op), room); });
  {
    std::lock_guard lock(early_guard_);
    for (auto& op : std::exchange(early_, {})) shards_->post(op.first, std::move(op.second));
    running_.store(shards_.get(), std::memory_order_release);
  }
  log::info("shards started", {{"shards", shard_count_}});
  std::lock_guard lock(state_guard_);
  started_ = true;
  ready_ = !unavailable_;
  return {};
}

/// What was under way when the last life of this node ended.
result<void> node_host::recover(store_reader& reader, std::vector<std::unique_ptr<shard_core>>& cores) {
  auto work = reader.shards_with_work();
  if (!work) return work.error();
  std::size_t messages = 0;
  std::size_t turns = 0;
  for (const auto shard : *work) {
    auto& core = *cores[shard.value()];
    auto w = reader.waiting_of(shard, [&](persistence::waiting_entity&& e) { return ++turns, core.recover(std::move(e)), true; });
    if (!w) return w.error();
    auto o = reader.outbox_of(shard, [&](persistence::outbox_row&& row) { return ++messages, core.recover(std::move(row)), true; });
    if (!o) return o.error();
  }
  auto with_timers = reader.shards_with_timers();
  if (!with_timers) return with_timers.error();
  for (const auto shard : *with_timers) {
    const auto count = reader.count_timers(shard);
    if (!count) return count.error();
    cores[shard.value()]->load_timers(*count);
  }
  log::info("what was under way is taken up", {{"messages_under_way", messages}, {"turns_waiting", turns}});
  return {};
}

/// What the process died of last time is told to its shards before anything else.
result<void> node_host::open_recorder() {
  if (parts_.recorder_file.empty()) return {};
  auto opened = turn_recorder::open(parts_.recorder_file);
  if (!opened) return opened.error();
  recorder_ = std::move(*opened);
  for (const auto& s : recorder_->suspects()) {
    std::string how = s.fault == turn_recorder::overdue ? "the turn did not end" : s.fault != 0 ? "signal " + std::to_string(s.fault) : "not known";
    post(s.entity, std::make_unique<suspect_op>(s.entity, s.message, std::move(how), s.fault != 0));
  }
  const auto& set = parts_.settings;
  const std::size_t workers = set.node.workers != 0 ? set.node.workers : std::max(1U, std::thread::hardware_concurrency());
  watch_ = std::make_unique<turn_watch>(*recorder_, overdue_turns::limits{workers, set.entity.turn_limit, std::max(set.node.turn_end, set.entity.turn_limit)},
                                        [this](entity_id entity, std::chrono::milliseconds ran) { report_overdue(entity, ran); });
  return {};
}

/// Its own shard is busy: the tenant's root supervisor writes the event.
void node_host::report_overdue(entity_id entity, std::chrono::milliseconds ran) {
  add(metrics(entity.tenant()).mine().overdue);
  log::warn("turn over its time limit", {{"entity", to_string(entity)}, {"ran_ms", ran.count()}});
  read(entity.tenant(), [this, entity, ran](store_reader& reader) {
    const auto row = reader.find(context_of(entity.tenant(), "system"), entity);
    const std::string source = row ? std::string(to_string(row->kind)) + "/" + row->name : to_string(entity);
    const entity_id root{entity.tenant(), root_supervisor_serial};
    post(root, std::make_unique<note_op>(root, persistence::event_row{"agent.turn_over_limit", source, json{{"ran_ms", ran.count()}}.dump()}));
  });
}

std::uint64_t node_host::new_seed() noexcept {
  std::lock_guard lock(chance_guard_);
  return chance_.next();
}

// -- accepting messages

namespace {
std::string name_of(const destination& to) { return std::string(to_string(to.kind)) + "/" + to.name; }

error no_such(entity_kind kind, const std::string& name) {
  const std::string word = kind == entity_kind::context ? "collection" : to_string(kind); // as the API calls it
  return {errc::not_found, "not_found", "no " + word + "/" + name, word, {}};
}

/// Entities that every tenant has, by kind: they need no name.
std::optional<entity_id> fixed(tenant_context who, const destination& to) {
  if (to.kind == entity_kind::tenant) return entity_id::of_tenant(who.tenant());
  if (to.kind == entity_kind::queue)
    if (const auto partition = queue_partition_from(to.name)) return queue_of(who.tenant(), *partition);
  return std::nullopt;
}
} // namespace

/// What an entity takes in one message, by its kind; a tenant's whatever the API takes, if it also fits into one frame to the
/// node that owns it (the settings see to it that the others do).
std::optional<error> node_host::too_large(const destination& to, const payload& body) const {
  constexpr std::uint64_t around = 32 * 1024; // of the frame, whatever the message says beside it
  const auto& s = parts_.settings;
  const char *field = "payload", *setting = "entity.payload_bytes", *instead = "keep what is large elsewhere, and send where it is";
  std::uint64_t most = s.entity.payload_bytes;
  if (to.kind == entity_kind::context) {
    field = "items", setting = "context.batch_bytes", instead = "send fewer items at a time";
    most = s.context.batch_bytes;
  } else if (to.kind == entity_kind::tenant) {
    field = "agents", setting = "api.body_bytes", instead = "apply the manifest in parts";
    most = std::max(s.api.body_bytes, s.entity.payload_bytes);
    if (parts_.map && s.link.frame_bytes - around < most) {
      setting = "cluster.link.frame_bytes";
      most = s.link.frame_bytes - around;
    }
  }
  if (body.bytes.size() <= most) return std::nullopt;
  return invalid(field, "these are " + std::to_string(body.bytes.size()) + " bytes, and " + setting + " allows " + std::to_string(most) + ": " + instead);
}

/// More than this may not wait for the turns of one shard's entities.
std::optional<error> node_host::inbox_full(shard_id shard) const {
  if (shards_->depth(shard) <= parts_.settings.node.inbox_messages) return std::nullopt;
  return error{errc::resource_exhausted, "node_overloaded", "the shard's inbox is full (node.inbox_messages)", {}, std::chrono::milliseconds{100}};
}

/// @param unused_key the key was made here, and nothing was executed under it.
void node_host::ask_once(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink, bool unused_key) {
  const auto& s = parts_.settings;
  const bool named = !request.idempotency_key.empty();
  const bool generated = !named || (unused_key && is_generated_key(request.idempotency_key));
  thread_local random_source chance{new_seed()};
  std::string key = named ? std::move(request.idempotency_key) : make_generated_key(parts_.clock.wall_now(), chance);
  const auto left = request.deadline.count() > 0 ? std::min(request.deadline, s.api.ask_deadline_max) : s.api.ask_deadline;
  ticket_ref ticket(new ask_ticket(std::move(sink), key, parts_.clock.steady_now() + left));
  const auto refuse = [&](error e) { ticket->fail(std::move(e)); };
  if (auto why = not_ready()) return refuse(std::move(*why));
  if (key.size() > 256) return refuse(invalid("idempotency_key", "an idempotency key has at most 256 bytes"));
  if (auto why = too_large(request.to, request.body)) return refuse(std::move(*why));
  if (request.type.empty() || request.type.size() > 128) return refuse(invalid("type", "type is required, at most 128 bytes"));
  deadlines_->watch(ticket.get());

  auto id = fixed(who, request.to);
  if (!id) id = known(who, request.to.kind, request.to.name);
  if (id) return accept(who, std::move(request), std::move(ticket), *id, std::move(key), generated);
  auto held = std::make_shared<std::pair<ask_request, ticket_ref>>(std::move(request), std::move(ticket));
  const auto to = held->first.to;
  resolve(who, to.kind, to.name, [this, who, held, key = std::move(key), generated](result<entity_id> found) mutable {
    if (!found) {
      if (found.error().code == errc::not_found) found = no_such(held->first.to.kind, held->first.to.name);
      return held->second->fail(std::move(found).error());
    }
    accept(who, std::move(held->first), std::move(held->second), *found, std::move(key), generated);
  });
}

void node_host::accept(tenant_context who, ask_request&& request, ticket_ref ticket, entity_id to, std::string key, bool generated) {
  const auto shard = shard_of(to, shard_count_);
  if (auto full = inbox_full(shard)) {
    add(metrics(who.tenant()).mine().rejected);
    return ticket->fail(std::move(*full));
  }
  auto e = std::make_unique<envelope>(who, to, envelope::origin::ask);
  e->on = request.urgent ? lane::urgent : lane::user;
  e->type = std::move(request.type);
  e->body = std::move(request.body);
  e->digest = digest_of(e->type, e->body);
  e->key = std::move(key);
  e->generated_key = generated;
  e->trace = request.trace;
  e->deadline = ticket->deadline();
  e->accepted_at = parts_.clock.steady_now();
  e->ticket = std::move(ticket);
  auto& of_tenant = metrics(who.tenant());
  add(of_tenant.mine().asks);
  {
    std::lock_guard lock(gate_guard_);
    switch (gate_.arrive(to.tenant(), of_tenant.weight.load(std::memory_order_relaxed), e, request.urgent)) {
    case gate::verdict::enter: break;
    case gate::verdict::wait: return;
    case gate::verdict::refuse:
      add(of_tenant.mine().rejected);
      e->ticket->fail({errc::resource_exhausted, "tenant_overloaded", "the tenant has node.asks_waiting asks waiting already", {}, std::chrono::milliseconds{100}});
      return;
    }
  }
  let_in(std::move(e));
}

void node_host::let_in(std::unique_ptr<envelope> e) {
  const entity_id to = e->to;
  if (e->ticket->enter(*this, to.tenant())) post(to, std::move(e));
  else left(to.tenant());
}

void node_host::left(tenant_id tenant) noexcept {
  std::vector<tenant_id> leaving{tenant};
  while (!leaving.empty()) {
    std::vector<std::unique_ptr<envelope>> entering;
    {
      std::lock_guard lock(gate_guard_);
      for (const auto t : leaving) gate_.leave(t, [&](std::unique_ptr<envelope>&& e) { entering.push_back(std::move(e)); });
    }
    leaving.clear();
    for (auto& e : entering) {
      const entity_id to = e->to;
      if (e->ticket->enter(*this, to.tenant())) post(to, std::move(e));
      else leaving.push_back(to.tenant()); // its asker has heard `unknown` while it waited
    }
  }
}

void node_host::tell(tenant_context who, destination to, std::string type, payload body, trace_context trace, std::function<void(result<void>)> done) {
  if (auto why = not_ready()) return done(std::move(*why));
  if (auto why = too_large(to, body)) return done(std::move(*why));
  if (type.empty() || type.size() > 128) return done(invalid("type", "type is required, at most 128 bytes"));
  auto id = fixed(who, to);
  if (!id) id = known(who, to.kind, to.name);
  if (!id) {
    const auto kind = to.kind;
    const auto name = to.name;
    return resolve(who, kind, name, [this, who, to = std::move(to), type = std::move(type), body = std::move(body), trace, done = std::move(done)](result<entity_id> found) mutable {
      if (found) return send_tell(who, *found, std::move(type), std::move(body), trace, std::move(done));
      if (found.error().code == errc::not_found) found = no_such(to.kind, to.name);
      done(found.error());
    });
  }
  send_tell(who, *id, std::move(type), std::move(body), trace, std::move(done));
}

/// `done` hears when the message is in its lane, or why it is not.
void node_host::send_tell(tenant_context who, entity_id to, std::string type, payload body, trace_context trace, std::function<void(result<void>)> done) {
  const auto shard = shard_of(to, shard_count_);
  if (auto full = inbox_full(shard)) {
    add(metrics(who.tenant()).mine().rejected);
    return done(std::move(*full));
  }
  auto e = std::make_unique<envelope>(who, to, envelope::origin::tell);
  e->type = std::move(type);
  e->body = std::move(body);
  e->trace = trace;
  auto heard = [done = std::move(done)](result<ask_answer> r) { done(r ? result<void>{} : result<void>(std::move(r).error())); };
  e->ticket = ticket_ref(new ask_ticket(on_reply(std::move(heard)), {}, steady_time::max()));
  add(metrics(who.tenant()).mine().tells);
  shards_->post(shard, std::move(e));
}

void node_host::tell_id(tenant_context who, entity_id to, const std::string& type, const payload& body) {
  auto e = std::make_unique<envelope>(who, to, envelope::origin::tell);
  e->type = type;
  e->body = body;
  shards_->post(shard_of(to, shard_count_), std::move(e));
}

result<entity_id> node_host::resolve_now(tenant_context who, entity_kind kind, const std::string& name) {
  if (const auto id = known(who, kind, name)) return *id;
  std::promise<result<entity_id>> found;
  resolve(who, kind, name, [&](result<entity_id> r) { found.set_value(std::move(r)); });
  auto r = found.get_future().get();
  if (!r && r.error().code == errc::not_found) return no_such(kind, name);
  return r;
}

// -- services for the shards

void node_host::post(entity_id to, std::unique_ptr<shard_op> op) { post_to(shard_of(to, shard_count_), std::move(op)); }

void node_host::post_to(shard_id shard, std::unique_ptr<shard_op> op) {
  if (auto* shards = running_.load(std::memory_order_acquire)) return shards->post(shard, std::move(op));
  std::lock_guard lock(early_guard_); // what recovery asked for, before the shards run
  if (auto* shards = running_.load(std::memory_order_acquire)) return shards->post(shard, std::move(op));
  early_.emplace_back(shard, std::move(op));
}

namespace {
error no_memory() { return {errc::unavailable, "no_memory", "no memory is left", {}, std::chrono::seconds{1}}; }
} // namespace

/// When too many wait, the job hears so from its reader, here and now.
void node_host::read(tenant_id for_whom, std::function<void(store_reader&)> job) {
  worker_pool<std::unique_ptr<store_reader>>::job on_thread = [job = std::move(job)](std::unique_ptr<store_reader>& r) { job(*r); };
  if (readers_->post(for_whom, std::move(on_thread))) return;
  std::unique_ptr<store_reader> refuses = std::make_unique<persistence::refusing_reader>(too_many_jobs());
  on_thread(refuses);
}

void node_host::load(entity_id id, tenant_context who, epoch fence) {
  const auto taken = readers_->post(id.tenant(), [this, id, who, fence](std::unique_ptr<store_reader>& r) {
    result<loaded_entity> found = no_memory();
    try {
      found = loader_.load(*r, id, who);
    } catch (const std::bad_alloc&) { // its shard waits for an answer
    }
    post(id, std::make_unique<loaded_op>(id, fence, std::move(found)));
  });
  if (!taken) post(id, std::make_unique<loaded_op>(id, fence, too_many_jobs()));
}

std::optional<entity_id> node_host::known(tenant_context who, entity_kind kind, std::string_view name) { return names_.known(who, kind, name); }

void node_host::resolve(tenant_context who, entity_kind kind, std::string name, std::function<void(result<entity_id>)> done) {
  read(who.tenant(), [this, who, kind, name = std::move(name), done = std::move(done)](store_reader& r) { done(names_.lookup(r, who, kind, name)); });
}

void node_host::execute(executor& e, executor::call call, steady_time deadline, entity_id entity, std::uint64_t turn, std::uint32_t step) {
  call.cancelled = &stopping_;
  const auto taken = executor_threads_->post(entity.tenant(), [this, &e, call = std::move(call), deadline, entity, turn, step](int&) mutable {
    const auto left = std::chrono::floor<std::chrono::milliseconds>(deadline - parts_.clock.steady_now());
    if (left.count() <= 0) return;
    call.deadline = std::min(call.deadline, left);
    result<payload> answer = error{errc::internal, "executor_threw", "the executor threw"};
    try {
      answer = e.run(call);
    } catch (const std::exception& thrown) {
      answer = error{errc::internal, "executor_threw", thrown.what()};
    }
    if (stopping_) return; // cut short: what it says is about the stop. The step runs again in the next life.
    if (!answer && answer.error().reason == "elsewhere")
      return step_elsewhere(answer.error().field, std::string(parts_.executors.name_of(e)), call, [this, entity, turn, step](result<payload> theirs) {
        post(entity, std::make_unique<step_done_op>(entity, turn, step, std::move(theirs)));
      });
    if (answer && answer->bytes.size() > parts_.settings.entity.payload_bytes)
      answer = error{errc::application, "result_too_large", "the step's result is larger than entity.payload_bytes"};
    post(entity, std::make_unique<step_done_op>(entity, turn, step, std::move(answer)));
  });
  if (!taken) post(entity, std::make_unique<step_done_op>(entity, turn, step, too_many_jobs()));
}

tenant_metrics& node_host::metrics(tenant_id tenant) {
  struct entry {
    std::uint64_t host = 0; // not its address: another host may be made there
    tenant_metrics* block = nullptr;
  };
  thread_local std::unordered_map<tenant_id, entry> known;
  thread_local tenant_id last_tenant;
  thread_local entry last; // most turns follow one of the same tenant
  if (last.host == number_ && last_tenant == tenant) return *last.block;
  auto& cached = known[tenant];
  if (cached.host != number_) {
    std::unique_lock lock(metrics_guard_);
    auto& m = metrics_[tenant];
    if (!m) m = std::make_unique<tenant_metrics>();
    cached = {number_, m.get()};
  }
  last_tenant = tenant;
  last = cached;
  return *cached.block;
}

// -- what was committed

void node_host::settled(std::vector<settlement>&& batch) {
  const auto now = parts_.clock.steady_now();
  std::vector<persistence::wake_up> with_events;
  for (auto& s : batch) {
    const bool was_committed = s.what == settlement::kind::committed;
    auto* peek = static_cast<actor_record*>(s.record.get());
    if (was_committed) { // whoever is answered must find the change in force
      if (!peek->directory.empty() || !peek->tenants.empty() || !peek->api_keys.empty()) publish_directory(*peek);
      if (!peek->events.empty() && (parts_.on_events || feed_count_.load(std::memory_order_relaxed) != 0)) {
        const auto tenant = peek->entity.tenant();
        if (with_events.empty() || with_events.back().tenant != tenant) with_events.push_back({tenant, peek->last_event});
        else with_events.back().position = std::max(with_events.back().position, peek->last_event);
      }
      if (peek->message && peek->message->ticket)
        add(metrics(peek->entity.tenant()).mine().ask_micros[tenant_metrics::bucket(now - peek->message->accepted_at)]);
    }
    auto record = settler_.settle(s);
    const entity_id to = record->entity;
    post(to, std::make_unique<settled_op>(s.what, std::move(record), std::move(s.why)));
  }
  for (const auto& w : with_events) wake_feed(w);
  if (!with_events.empty() && parts_.on_events) parts_.on_events(with_events);
}

void node_host::publish_directory(const actor_record& r) {
  for (const auto& d : r.directory) {
    if (d.removed) names_.forget(r.entity.tenant(), d.row.kind, d.row.name);
  }
  for (const auto& t : r.tenants) know_tenant(t);
  if (remote_) tell_peers_to_forget(r);
  if ((!r.tenants.empty() || !r.api_keys.empty()) && parts_.on_security_change) parts_.on_security_change(r);
}

result<void> node_host::know_tenants(store_reader& reader) {
  std::unordered_set<tenant_id> own;
  for (std::string after;;) { // only those with a weight or partitions of their own: a hive may have very many tenants
    auto page = reader.tenants(after, 1'000);
    if (!page) return page.error();
    for (const auto& t : *page)
      if (t.spec.find("\"weight\"") != std::string::npos || t.spec.find("\"queue_partitions\"") != std::string::npos) {
        know_tenant(t);
        own.insert(t.id);
      }
    if (page->size() < 1'000) break;
    after = page->back().name;
  }
  std::vector<tenant_id> others; // had a weight, as far as is known here
  {
    std::shared_lock lock(metrics_guard_);
    for (const auto& [id, m] : metrics_)
      if (m->weight.load(std::memory_order_relaxed) != 1 && !own.contains(id)) others.push_back(id);
  }
  for (const auto id : others)
    if (const auto row = reader.find_tenant(id)) know_tenant(*row);
  return {};
}

void node_host::know_tenant(const persistence::tenant_row& t) {
  const auto spec = json::parse(t.spec, nullptr, false);
  const auto given = spec.is_object() ? spec.value("weight", 0U) : 0U;
  auto& m = metrics(t.id);
  m.weight.store(std::clamp(given, 1U, 100U), std::memory_order_relaxed);
  m.set_division(scheduling::queue_division::from_spec(spec));
}

void node_host::availability(const error* why) {
  if (why && parts_.on_store_forgot) {
    if (why->reason == "store_lost_commits") parts_.on_store_forgot(why->message);
    if (why->reason == "store_timeline_changed") parts_.on_store_forgot("");
  }
  std::lock_guard lock(state_guard_);
  if (why) unavailable_ = *why;
  else unavailable_.reset();
  ready_ = started_ && !unavailable_;
}

std::optional<error> node_host::not_ready() const {
  if (stopping_.load(std::memory_order_relaxed)) return error{errc::unavailable, "stopping", "the node is stopping"};
  if (ready_.load(std::memory_order_acquire) && (held_.load(std::memory_order_relaxed) || joining_.load(std::memory_order_relaxed))) {
    std::lock_guard lock(state_guard_);
    if (held_ && held_why_) return held_why_;
    if (joining_) return error{errc::unavailable, "joining", "this node takes no part yet: " + why_joining_, {}, std::chrono::milliseconds{200}};
    return error{errc::unavailable, "no_lease", "this node is not a member of the hive just now, or does not reach its store; ask another node", {}, std::chrono::milliseconds{200}};
  }
  if (ready_.load(std::memory_order_acquire)) return std::nullopt;
  std::lock_guard lock(state_guard_);
  if (!started_) return error{errc::unavailable, "starting", "the node is starting", {}, std::chrono::milliseconds{200}};
  return unavailable_;
}

// -- event feeds

std::shared_ptr<void> node_host::subscribe(tenant_context who, std::function<void(const published_event&)> each) {
  const auto id = next_watcher_.fetch_add(1);
  {
    std::lock_guard lock(feeds_guard_);
    auto found = feeds_.find(who.tenant());
    if (found == feeds_.end()) {
      found = feeds_.emplace(who.tenant(), feed{who, {}, 0, {}, false, false, false, {}}).first;
      feed_count_.fetch_add(1);
    }
    found->second.watchers.emplace_back(id, std::move(each));
  }
  wake_feed({who.tenant(), 0}); // takes the cursor: from here on nothing is missed
  return {nullptr, [this, id, tenant = who.tenant()](void*) {
            std::lock_guard lock(feeds_guard_);
            const auto found = feeds_.find(tenant);
            if (found == feeds_.end()) return;
            std::erase_if(found->second.watchers, [id](const auto& w) { return w.first == id; });
            if (found->second.watchers.empty() && !found->second.reading) {
              feeds_.erase(found);
              feed_count_.fetch_sub(1);
            }
          }};
}

void node_host::heard(std::span<const persistence::wake_up> batch) {
  for (const auto& w : batch) wake_feed(w);
}

void node_host::look_for_events() {
  std::vector<tenant_id> watched;
  {
    std::lock_guard lock(feeds_guard_);
    for (const auto& [tenant, f] : feeds_) watched.push_back(tenant);
  }
  for (const auto t : watched) wake_feed({t, 0});
}

/// @param news position 0: there may be something.
void node_host::wake_feed(persistence::wake_up news) {
  const auto tenant = news.tenant;
  {
    std::lock_guard lock(feeds_guard_);
    const auto found = feeds_.find(tenant);
    if (found == feeds_.end() || stopping_) return;
    auto& f = found->second;
    if (const auto seen = persistence::number_of(f.cursor); seen && news.position != 0 && *seen >= news.position) return;
    f.awaited = std::max(f.awaited, news.position);
    if (f.reading) {
      f.again = true;
      return;
    }
    f.reading = true;
  }
  read(tenant, [this, tenant](store_reader& reader) { read_feed(tenant, reader); });
}

/// A store that nodes share shows an event only when no older transaction runs any more: mostly a moment later.
void node_host::look_again_later(tenant_id tenant, feed& f) {
  const auto seen = persistence::number_of(f.cursor);
  if (!seen || *seen >= f.awaited) {
    f.awaited = 0;
    f.patience = {};
    return;
  }
  if (std::exchange(f.planned, true)) return;
  f.patience = std::clamp(f.patience * 2, unseen_looked_for_first, unseen_looked_for_last);
  std::function<void()> again = [this, tenant] {
    {
      std::lock_guard lock(feeds_guard_);
      if (const auto found = feeds_.find(tenant); found != feeds_.end()) found->second.planned = false;
    }
    wake_feed({tenant, 0});
  };
  (void)delayed_->after(f.patience, std::move(again), true); // one a tenant that is watched
}

void node_host::read_feed(tenant_id tenant, store_reader& reader) {
  for (;;) {
    std::optional<tenant_context> who;
    std::string cursor;
    {
      std::lock_guard lock(feeds_guard_);
      auto& f = feeds_.at(tenant);
      f.again = false;
      who = f.who;
      cursor = f.cursor;
    }
    auto page = reader.events(*who, cursor, feed_page);
    std::lock_guard lock(feeds_guard_);
    auto& f = feeds_.at(tenant);
    if (page) {
      f.cursor = page->end;
      for (const auto& e : page->events) {
        const published_event out{e.cursor, e.at, e.event.type, e.event.source, e.event.data};
        for (auto& [id, each] : f.watchers) each(out);
      }
    }
    if (page && page->events.size() == feed_page) continue;
    if (f.again) continue;
    f.reading = false;
    if (!f.watchers.empty()) look_again_later(tenant, f);
    if (f.watchers.empty()) {
      feeds_.erase(tenant);
      feed_count_.fetch_sub(1);
    }
    return;
  }
}

// -- what it tells

void node_host::explain(tenant_context who, destination of, std::function<void(result<explanation>)> done) {
  const auto look = [this, who, done, address = name_of(of)](entity_id id) {
    explain_entity(who, id, address, [done](json e) { done(std::move(e)); });
  };
  if (of.kind == entity_kind::queue && of.name == "default" && metrics(who.tenant()).division().partitions > 1) return explain_queue_whole(who, std::move(done));
  if (const auto id = fixed(who, of)) return look(*id);
  resolve(who, of.kind, of.name, [done, look, of](result<entity_id> found) {
    if (!found) return done(found.error().code == errc::not_found ? no_such(of.kind, of.name) : found.error());
    look(*found);
  });
}

namespace {
/// An answer that a shard gives. When the shard goes without one, it says that.
class last_word {
public:
  last_word(std::function<void(json)> done, json otherwise) : done_(std::move(done)), otherwise_(std::move(otherwise)) {
    otherwise_["waits"] = {{"for", "its shard, which is on its way between nodes"}};
  }
  last_word(const last_word&) = delete;
  last_word& operator=(const last_word&) = delete;
  ~last_word() {
    if (done_) done_(std::move(otherwise_));
  }
  std::function<void(json)> take() { return std::exchange(done_, nullptr); }

private:
  std::function<void(json)> done_;
  json otherwise_;
};
} // namespace

/// What its shard knows; of what is not in memory, what the store knows.
void node_host::explain_entity(tenant_context who, entity_id id, std::string address, std::function<void(json)> done) {
  const json question{{"id", id.bits()}, {"address", address}};
  // What is so wherever its shard is: all that can be said when that does not answer.
  json place{{"address", address}, {"id", to_string(id)}, {"shard", shard_of(id, shard_count_).value()}, {"active", false}};
  if (ask_owner(id, "explain", who, question.dump(), [done, place](const result<std::string>& theirs) mutable {
        if (theirs)
          if (auto said = json::parse(*theirs, nullptr, false); said.is_object()) return done(std::move(said));
        place["waits"] = {{"for", "its node, which does not answer: " + (theirs ? std::string("what it said cannot be read") : theirs.error().message)}};
        done(std::move(place));
      }))
    return;
  auto word = std::make_shared<last_word>(std::move(done), std::move(place));
  post(id, std::make_unique<call_op>([this, who, id, address = std::move(address), word](shard_core& shard) {
    const auto say = word->take();
    json e;
    shard.explain(id, [&](result<json> said) { e = std::move(*said); });
    e["address"] = address;
    e["owner"] = {{"generation", generation_.load().value()}};
    if (const auto* memory = shard.memory_of(id); memory && is_queue(id))
      e["queue"] = explain_queue(static_cast<const queue_memory&>(*memory), parts_.clock.wall_now());
    if (e["active"] == true) return say(std::move(e));
    read(who.tenant(), [who, id, e = std::move(e), say](store_reader& reader) mutable {
      add_stored_facts(reader, who, id, e);
      say(std::move(e));
    });
  }));
}

/// Its rows, then what its queue has in memory, then its agent.
void node_host::explain_task(tenant_context who, std::string id, std::function<void(result<explanation>)> done) {
  const auto number = scheduling::task_id_from(id);
  const error absent{errc::not_found, "task_not_found", "there is no task \"" + id + "\" in this tenant", "name"};
  if (!number) return done(absent);
  const auto queue = queue_of(who.tenant(), *number);
  if (ask_owner(queue, "explain_task", who, id, [done](const result<std::string>& theirs) {
        if (!theirs) return done(theirs.error());
        auto said = json::parse(*theirs, nullptr, false);
        if (!said.is_object()) return done(error{errc::unknown, "malformed", "the answer of another node cannot be read"});
        done(std::move(said));
      }))
    return;
  read(who.tenant(), [this, who, id, absent, queue, number = *number, done = std::move(done)](store_reader& reader) {
    auto stored = scheduling::read_task(reader, who, queue, number);
    if (!stored) return done(stored.error());
    if (!*stored) return done(absent);
    const bool over = scheduling::ended((*stored)->report.status.state);
    const entity_id stored_agent = (*stored)->report.status.agent ? (*stored)->report.status.agent : (*stored)->record.spec.agent;
    json e = scheduling::to_json(**stored);
    for (const char* data : {"payload", "payload_type", "result", "result_type"}) e.erase(data); // `task get` shows them
    e["address"] = "task/" + id;
    if (over) return done(std::move(e));
    auto word = std::make_shared<last_word>([done](json said) { done(std::move(said)); }, e);
    post(queue, std::make_unique<call_op>([this, who, queue, number, e = std::move(e), stored_agent, word](shard_core& shard) mutable {
      const auto say = word->take();
      json of_queue;
      shard.explain(queue, [&](result<json> said) { of_queue = std::move(*said); });
      e["queue"] = {{"address", "queue/" + queue_name(partition_of(queue))}, {"shard", of_queue["shard"]}, {"epoch", of_queue["epoch"]}, {"owner", {{"generation", generation_.load().value()}}},
                    {"active", of_queue["active"]}};
      entity_id agent = stored_agent;
      const auto* memory = shard.memory_of(queue);
      const auto live = memory ? actors::explain_task(static_cast<const queue_memory&>(*memory), number, parts_.clock.wall_now(), agent) : json();
      if (!live.is_null()) e.update(live);
      else e["waits"] = {{"for", "its queue, which is not in memory, or has just heard its end"}};
      if (!agent) return say(std::move(e));
      std::string address = "agent/" + e.value("agent", "");
      explain_entity(who, agent, std::move(address), [e = std::move(e), say](json its) mutable {
        e["agent_now"] = std::move(its);
        say(std::move(e));
      });
    }));
  });
}

namespace {
/// Collects from shards and nodes; whoever lets go of it last says that all is there, also when a shard has gone meanwhile.
struct gathering {
  std::mutex guard;
  std::unordered_map<entity_id, json> all;
  std::function<void(std::unordered_map<entity_id, json>)> done;
  explicit gathering(std::function<void(std::unordered_map<entity_id, json>)> d) : done(std::move(d)) {}
  gathering(const gathering&) = delete;
  gathering& operator=(const gathering&) = delete;
  ~gathering() { done(std::move(all)); }
  void merge(std::unordered_map<entity_id, json> some) {
    std::lock_guard lock(guard);
    all.merge(some);
  }
};
} // namespace

void node_host::statuses(tenant_context who, std::vector<status_subject> of,
                         std::function<void(std::unordered_map<entity_id, nlohmann::json>)> done) {
  std::erase_if(of, [&](const status_subject& s) { return s.id.tenant() != who.tenant(); });
  if (remote_)
    done = [this, ids = of, done = std::move(done)](std::unordered_map<entity_id, json> all) {
      for (const auto& s : ids) all[s.id]["node"] = here(s.id) ? parts_.settings.cluster.node : node_of(s.id);
      done(std::move(all));
    };
  std::vector<entity_id> mine;
  std::unordered_map<std::string, json> theirs; // by node
  for (const auto& s : of) {
    const auto node = here(s.id) ? std::string() : node_of(s.id);
    if (node.empty()) mine.push_back(s.id);
    else theirs[node].push_back(s.id.bits());
  }
  auto g = std::make_shared<gathering>([this, who, of = std::move(of), done = std::move(done)](std::unordered_map<entity_id, json> all) {
    const bool complete = std::all_of(of.begin(), of.end(), [&](const status_subject& s) {
      const auto live = all.find(s.id);
      return live != all.end() && live->second.contains("status");
    });
    if (complete) return done(std::move(all));
    read(who.tenant(), [who, of, all = std::move(all), done](store_reader& reader) mutable {
      add_stored_statuses(reader, who, of, absent_statuses, all);
      done(std::move(all));
    });
  });
  for (const auto& [node, ids] : theirs)
    call_node(node, "statuses", who, ids.dump(), [g](const result<std::string>& said) {
      if (!said) return; // what is stored must do
      std::unordered_map<entity_id, json> some;
      const auto theirs_now = json::parse(*said, nullptr, false);
      for (const auto& one : elements_of(theirs_now))
        if (const auto bits = unsigned_in<std::uint64_t>(element_of(one, 0)); bits && element_of(one, 1).is_object()) some.emplace(entity_id{*bits}, one[1]);
      g->merge(std::move(some));
    });
  live_statuses(who, mine, [g](std::unordered_map<entity_id, json> some) { g->merge(std::move(some)); });
}

/// Of entities in memory here.
void node_host::live_statuses(tenant_context, const std::vector<entity_id>& ids, std::function<void(std::unordered_map<entity_id, json>)> done) {
  std::unordered_map<shard_id, std::vector<entity_id>> by_shard;
  for (const auto id : ids) by_shard[shard_of(id, shard_count_)].push_back(id);
  auto g = std::make_shared<gathering>(std::move(done));
  for (auto& [shard, list] : by_shard)
    post_to(shard, std::make_unique<call_op>([g, list = std::move(list)](shard_core& core) {
      std::unordered_map<entity_id, json> mine;
      for (const auto id : list)
        if (auto s = core.status_of(id); !s.is_null()) mine.emplace(id, std::move(s));
      g->merge(std::move(mine));
    }));
}

struct gauges node_host::read_gauges() const {
  const auto at = [](const std::atomic<std::int64_t>& v) { return static_cast<std::uint64_t>(std::max<std::int64_t>(0, v.load(std::memory_order_relaxed))); };
  struct gauges g;
  g.activations = at(gauges_.activations);
  g.activation_bytes = at(gauges_.activation_bytes);
  g.queued_messages = at(gauges_.queued);
  g.run_ahead_turns = at(gauges_.run_ahead_turns);
  g.run_ahead_bytes = at(gauges_.run_ahead_bytes);
  g.waiting_turns = at(gauges_.waiting);
  g.outbox = at(gauges_.outbox);
  g.timers = at(gauges_.timers);
  g.collections = views_.count();
  g.collection_bytes = views_.bytes();
  return g;
}

std::vector<tenant_counters> node_host::read_counters() const {
  std::vector<tenant_counters> all;
  std::shared_lock lock(metrics_guard_);
  for (const auto& [tenant, m] : metrics_) {
    tenant_counters c;
    c.tenant = tenant;
    m->sum_into(c);
    all.push_back(std::move(c));
  }
  return all;
}

} // namespace hive::actors
