#include "actors/testkit/testkit.hpp"

#include "actors/remote/op_codec.hpp"
#include <set>

#include "actors/context/items.hpp"
#include "actors/context/query_executor.hpp"
#include "actors/context/turn_embedder.hpp"
#include "actors/scheduling/task_rows.hpp"
#include "actors/stored_status.hpp"
#include "actors/system/system_turn.hpp"
#include "persistence/refusing_reader.hpp"
#include "persistence/sqlite/sqlite_store.hpp"

namespace hive::actors {
namespace {

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "testkit: %s\n", what.c_str());
  std::abort();
}

class json_sink final : public reply_sink {
public:
  explicit json_sink(std::function<void(result<json>)> done) : done_(std::move(done)) {}
  void answered(ask_answer&& a) override { done_(json::parse(a.body.bytes, nullptr, false)); }
  void failed(error&& why, const std::string&) override { done_(std::move(why)); }

private:
  std::function<void(result<json>)> done_;
};

} // namespace

testkit::testkit(context_restorer& contexts, std::filesystem::path directory, const fill& add, config::settings settings, std::uint64_t seed)
  : contexts_(contexts), directory_(std::move(directory)), settings_(std::move(settings)), chance_(seed),
    who_(contexts.restore(system_tenant, "system")) {
  settings_.node.shards = 64;
  add(behaviours_, executors_);
  add_system_behaviours(behaviours_, behaviours_, settings_);
  add_query_executors(
    executors_, settings_, clock_, [this](const executor::call&, const std::string& name) { return collection(name); },
    [this](const executor::call&, const embedding_model& by, const std::string& text) { return embed_(by, {text}); });
  begin();
  const auto made = ask_entity(contexts_.restore(system_tenant, "system"), entity_id::of_tenant(system_tenant), "tenant.put", {{"name", "test"}}, "");
  if (!made) give_up(to_string(made.error()));
  who_ = contexts_.restore(tenant_id{made->at("id").get<std::uint32_t>()}, "key:test");
  first_cursor_ = reader_->events(who_, "", 1)->end;
}

testkit::~testkit() {
  ops_.clear();
  jobs_.clear();
  shards_.clear();
}

/// A start: what is on disk, and nothing else.
void testkit::begin() {
  persistence::sqlite_options where;
  where.directory = directory_;
  where.shard_count = settings_.node.shards;
  auto store = persistence::open_sqlite(where);
  if (!store) give_up(to_string(store.error()));
  store_ = std::move(*store);
  reader_ = std::move(*store_->reader());
  names_ = std::make_unique<cluster::name_resolver>(100'000);
  loader_ = std::make_unique<entity_loader>(behaviours_, *names_);
  pipeline_ = std::make_unique<persistence::commit_pipeline>(persistence::batch_limits{settings_.node.batch_turns, settings_.node.batch_bytes});
  views_ = std::make_unique<context_views>(settings_.context.memory_bytes, [this](entity_id id) {
    post(id, std::make_unique<call_op>([id](shard_core& shard) { shard.unload(id); }));
  });
  settler_ = std::make_unique<settler>(*views_);
  const auto claimed = store_->claim_all();
  if (!claimed) give_up(to_string(claimed.error()));
  metrics_.clear();
  if (const auto row = reader_->find_tenant(who_.tenant())) metrics(who_.tenant()).set_division(scheduling::queue_division::from_spec(std::string_view(row->spec)));
  for (const auto& row : *claimed) shards_.push_back(std::make_unique<shard_core>(row.shard, row.fence, *this));
  const auto work = reader_->shards_with_work();
  if (!work) give_up(to_string(work.error()));
  const auto with_timers = reader_->shards_with_timers();
  if (!with_timers) give_up(to_string(with_timers.error()));
  std::set<shard_id> busy(work->begin(), work->end());
  busy.insert(with_timers->begin(), with_timers->end());
  for (const auto shard : busy) take_over(*shards_[shard.value()]);
}

void testkit::take_over(shard_core& core) {
  (void)reader_->waiting_of(core.id(), [&](persistence::waiting_entity&& w) { return core.recover(std::move(w)), true; });
  (void)reader_->outbox_of(core.id(), [&](persistence::outbox_row&& row) { return core.recover(std::move(row)), true; });
  const auto count = reader_->count_timers(core.id());
  if (!count) give_up(to_string(count.error()));
  core.load_timers(*count);
}

void testkit::crash() {
  ++crashes_;
  crash_in_ = 0;
  ops_.clear();
  jobs_.clear();
  shards_.clear();
  real_fences_.clear();
  losing_.clear();
  gauges_.timers = 0;
  pipeline_.reset();
  settler_.reset();
  views_.reset();
  loader_.reset();
  names_.reset();
  reader_.reset();
  store_.reset();
  begin();
}

void testkit::suspect(const std::string& agent, std::uint64_t message) {
  const auto id = id_of(agent);
  ops_.emplace_front(shard_of(id, settings_.node.shards), std::make_unique<suspect_op>(id, message, "signal 11", true));
}

void testkit::submit(std::unique_ptr<actor_record> record) { pipeline_->submit(std::move(record)); }
journal_position testkit::allot(shard_id shard) noexcept { return store_->allot(shard); }
void testkit::post(entity_id to, std::unique_ptr<shard_op> op) {
  const auto shard = shard_of(to, settings_.node.shards);
  const bool message = op->what == shard_op::kind::deliver;
  const bool client = message && static_cast<envelope&>(*op).ticket;
  auto bytes = scattered_ && !client ? remote::encode_op(*op, clock_) : std::string();
  if (!bytes.empty()) {
    if (message || op->what == shard_op::kind::handled) { // the rest is delivered surely
      auto& losing = losing_[shard];
      if (losing == 0 && lost_in_ != 0 && chance_.one_in(lost_in_)) losing = 1 + chance_.below(3);
      if (losing != 0) return void(--losing);
    }
    op = remote::decode_op(bytes, contexts_, clock_);
    if (!op) give_up("an op cannot be read again");
  }
  ops_.emplace_back(shard, std::move(op));
}

void testkit::scatter(std::uint64_t lost_in) {
  scattered_ = true;
  lost_in_ = lost_in;
}

void testkit::move(const std::string& agent) {
  const auto shard = shard_of(id_of(agent), settings_.node.shards);
  auto& core = shards_[shard.value()];
  for (auto& op : core->give_up()) ops_.emplace_back(shard, std::move(op)); // to the new owner
  const epoch fence{core->fence().value() + 1};
  real_fences_.try_emplace(shard, core->fence());
  core = std::make_unique<shard_core>(shard, fence, *this);
  take_over(*core);
  for (auto& other : shards_)
    other->send_again([&](entity_id id) { return shard_of(id, settings_.node.shards) == shard; }, true);
}
void testkit::load(entity_id id, tenant_context who, epoch fence) {
  jobs_.push_back([this, id, who, fence] { post(id, std::make_unique<loaded_op>(id, fence, loader_->load(*reader_, id, who))); });
}
void testkit::read(tenant_id, std::function<void(persistence::store_reader&)> how) {
  jobs_.push_back([this, how = std::move(how)] {
    const auto why = refuse_reads_ ? refuse_reads_() : std::nullopt;
    if (!why) return how(*reader_);
    persistence::refusing_reader refusing(*why);
    how(refusing);
  });
}
void testkit::scripted_embedder::embed(tenant_id, embedding_model by, std::vector<std::string> texts, std::function<void(result<embeddings>)> done) {
  if (by.built_in) kit.built_in_texts_ += texts.size();
  kit.jobs_.push_back([this, by = std::move(by), texts = std::move(texts), done = std::move(done)] {
    done(by.built_in ? built_in_vectors(by.dimension, texts) : kit.embed_(by, texts));
  });
}
std::optional<entity_id> testkit::known(tenant_context who, entity_kind kind, std::string_view name) { return names_->known(who, kind, name); }
void testkit::resolve(tenant_context who, entity_kind kind, std::string name, std::function<void(result<entity_id>)> done) {
  jobs_.push_back([this, who, kind, name = std::move(name), done = std::move(done)] { done(names_->lookup(*reader_, who, kind, name)); });
}
void testkit::execute(executor& e, executor::call call, steady_time, entity_id entity, std::uint64_t turn, std::uint32_t step_number) {
  static const std::atomic<bool> never{false};
  call.cancelled = &never;
  jobs_.push_back([this, &e, call = std::move(call), entity, turn, step_number] {
    post(entity, std::make_unique<step_done_op>(entity, turn, step_number, e.run(call)));
  });
}
tenant_metrics& testkit::metrics(tenant_id tenant) {
  auto& m = metrics_[tenant];
  if (!m) m = std::make_unique<tenant_metrics>();
  return *m;
}

/// The store has one owner for all shards: epochs of those that moved are looked after here.
persistence::batch_result testkit::write(std::span<persistence::turn_record* const> batch) {
  if (real_fences_.empty()) return store_->write(batch);
  std::vector<persistence::turn_record*> in_force;
  std::vector<epoch> fences;
  for (auto* r : batch) {
    if (r->fence != shards_[r->shard.value()]->fence()) continue;
    in_force.push_back(r);
    fences.push_back(r->fence);
    if (const auto real = real_fences_.find(r->shard); real != real_fences_.end()) r->fence = real->second;
  }
  auto written = store_->write(in_force);
  for (std::size_t i = 0; i < in_force.size(); ++i) in_force[i]->fence = fences[i];
  if (written.what != persistence::batch_result::kind::done) return written;
  std::vector<persistence::turn_outcome> outcomes;
  for (std::size_t i = 0, j = 0; i < batch.size(); ++i) {
    const bool tried = j < in_force.size() && in_force[j] == batch[i];
    outcomes.push_back(tried ? written.outcomes[j++] : persistence::turn_outcome::fenced);
  }
  written.outcomes = std::move(outcomes);
  return written;
}

void testkit::commit_batch() {
  const auto batch = pipeline_->next_batch();
  persistence::batch_result outcome;
  if (const auto why = refuse_ ? refuse_() : std::nullopt) {
    outcome.what = why->code == errc::unavailable ? persistence::batch_result::kind::unavailable : persistence::batch_result::kind::refused;
    outcome.why = *why;
  } else outcome = write(batch);
  if (outcome.what == persistence::batch_result::kind::done) ++commits_;
  if (crash_in_ != 0 && outcome.what == persistence::batch_result::kind::done && --crash_in_ == 0) return crash(); // on disk, and nobody heard
  for (auto& s : pipeline_->complete(std::move(outcome))) {
    auto record = settler_->settle(s);
    for (const auto& d : record->directory) {
      if (d.removed) names_->forget(record->entity.tenant(), d.row.kind, d.row.name);
    }
    for (const auto& t : record->tenants) metrics(t.id).set_division(scheduling::queue_division::from_spec(std::string_view(t.spec)));
    const auto to = record->entity;
    post(to, std::make_unique<settled_op>(s.what, std::move(record), std::move(s.why)));
  }
}

/// One thing that a node's threads could do next, by chance. @returns false when there is none.
bool testkit::step() {
  const bool more[] = {!ops_.empty(), !jobs_.empty(), !pipeline_->idle()};
  if (!more[0] && !more[1] && !more[2]) {
    for (auto& s : shards_)
      if (s->run_slice()) return true;
    return !ops_.empty() || !jobs_.empty() || !pipeline_->idle();
  }
  for (;;) {
    const auto pick = chance_.below(3);
    if (!more[pick]) continue;
    if (pick == 0) {
      auto [shard, op] = std::move(ops_.front());
      ops_.pop_front();
      auto& core = *shards_[shard.value()];
      core.handle(std::move(op));
      if (!chance_.one_in(3)) core.run_slice(); // sometimes messages gather first
    } else if (pick == 1) {
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      job();
    } else commit_batch();
    return true;
  }
}

void testkit::run() {
  while (step()) {}
}

void testkit::advance(std::chrono::milliseconds by) {
  const auto until = clock_.steady_now() + by;
  for (;;) {
    run();
    std::optional<steady_time> next;
    for (const auto& s : shards_)
      if (const auto due = s->next_due(); due && (!next || *due < *next)) next = due;
    if (!next || *next > until) break;
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(*next - clock_.steady_now());
    clock_.advance(std::max(wait, std::chrono::milliseconds{1}));
    for (auto& s : shards_) s->tick(clock_.steady_now());
    look_for_stuck();
  }
  if (clock_.steady_now() < until) clock_.advance(std::chrono::ceil<std::chrono::milliseconds>(until - clock_.steady_now()));
  for (auto& s : shards_) s->tick(clock_.steady_now());
  look_for_stuck();
  run();
}

void testkit::look_for_stuck() {
  if (!scattered_ || clock_.steady_now() < next_look_for_stuck_) return;
  next_look_for_stuck_ = clock_.steady_now() + std::chrono::seconds{1};
  for (auto& s : shards_) s->send_stuck_again();
}

void testkit::settle(std::chrono::milliseconds at_most) {
  const auto until = clock_.steady_now() + at_most;
  for (;;) {
    run();
    bool quiet = true;
    for (const auto& s : shards_) quiet = quiet && s->quiet();
    if (quiet || clock_.steady_now() >= until) return;
    advance(std::chrono::milliseconds{25});
  }
}

void testkit::send(tenant_context who, entity_id to, const std::string& type, payload body, const std::string& key, std::unique_ptr<reply_sink> sink) {
  auto e = std::make_unique<envelope>(who, to, envelope::origin::ask);
  e->type = type;
  e->body = std::move(body);
  e->digest = digest_of(e->type, e->body);
  e->generated_key = key.empty();
  e->key = key.empty() ? make_generated_key(clock_.wall_now(), chance_) : key;
  e->accepted_at = clock_.steady_now();
  e->ticket = ticket_ref(new ask_ticket(std::move(sink), e->key, steady_time::max()));
  post(to, std::move(e));
}

std::string testkit::make_key() { return make_generated_key(clock_.wall_now(), chance_); }

result<json> testkit::ask_entity(tenant_context who, entity_id to, const std::string& type, const json& body, const std::string& key) {
  return ask_bytes(who, to, type, json_payload(body), key);
}

result<json> testkit::ask_bytes(tenant_context who, entity_id to, const std::string& type, payload body, const std::string& key) {
  auto got = std::make_shared<std::optional<result<json>>>();
  send(who, to, type, std::move(body), key, std::make_unique<json_sink>([got](result<json> r) { got->emplace(std::move(r)); }));
  for (int i = 0; i < 4000 && !*got; ++i) {
    while (!*got && step()) {}
    if (!*got) advance(std::chrono::milliseconds{25});
  }
  if (!*got) return error{errc::unknown, "no_answer", "nothing more happens, and there is no answer"};
  return std::move(**got);
}

result<json> testkit::ask(const std::string& agent, const std::string& type, const json& body, const std::string& key) {
  const auto to = names_->lookup(*reader_, who_, entity_kind::agent, agent);
  if (!to) return to.error();
  return ask_entity(who_, *to, type, body, key);
}

result<json> testkit::ask_until_answered(const std::string& agent, const std::string& type, const json& body, const std::string& key) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    auto r = ask(agent, type, body, key);
    // A crash drops what was under way: a client sees its connection break, and asks again.
    if (r || (r.error().code != errc::unavailable && r.error().code != errc::unknown)) return r;
  }
  return error{errc::unknown, "no_answer", "no answer after many tries"};
}

void testkit::ask_later(const std::string& agent, const std::string& type, const json& body, std::vector<result<json>>& answers, const std::string& key) {
  send(who_, id_of(agent), type, json_payload(body), key, std::make_unique<json_sink>([&answers](result<json> r) { answers.push_back(std::move(r)); }));
}

void testkit::tell(const std::string& agent, const std::string& type, const json& body) {
  auto e = std::make_unique<envelope>(who_, id_of(agent), envelope::origin::tell);
  e->type = type;
  e->body = json_payload(body);
  const auto to = e->to;
  post(to, std::move(e));
}

result<json> testkit::task(const std::string& agent, const std::string& type, const json& body) {
  auto made = submit_task({{"agent", agent}, {"type", type}, {"payload", body}});
  if (!made) return made;
  settle();
  return read_task(made->at("id").get<std::string>());
}

/// As `node_host` does (queue_routing.cpp).
result<json> testkit::submit_task(const json& body, const std::string& key) {
  const auto division = metrics(who_.tenant()).division();
  const auto request = scheduling::submit_from_json(body);
  const auto route = request ? scheduling::route_of(*request) : std::string();
  std::vector<std::uint32_t> points;
  if (route.starts_with("task/")) points = {scheduling::partition_of(*scheduling::task_id_from(std::string_view(route).substr(5)))};
  else {
    const auto what = route.starts_with("agent/") ? route.substr(6) : key.empty() ? make_key() : key;
    if (key.empty()) points = {scheduling::partition_for(what, division.partitions)};
    else points = division.meeting_points(what, now(), settings_.keep.keys);
  }
  result<json> answer = error{errc::unavailable, "queue_growing", "there are more partitions"};
  for (const auto p : points) {
    answer = ask_entity(who_, queue_of(who_.tenant(), p), "task.submit", body, key);
    if (!answer || !answer->contains("moved")) break;
  }
  return answer;
}

result<json> testkit::queue(const std::string& type, const json& body) {
  std::uint32_t p = 0;
  if (const auto id = scheduling::task_id_from(body.value("id", ""))) p = scheduling::partition_of(*id);
  else if (const auto agent = body.value("agent", ""); !agent.empty()) p = scheduling::partition_for(agent, partitions());
  return ask_queue(p, type, body);
}

result<json> testkit::ask_queue(std::uint32_t partition, const std::string& type, const json& body) {
  return ask_entity(who_, queue_of(who_.tenant(), partition), type, body, "");
}

result<json> testkit::divide_queue(std::uint32_t partitions) {
  return ask_entity(contexts_.restore(system_tenant, "system"), entity_id::of_tenant(system_tenant), "tenant.put",
                    {{"name", "test"}, {"spec", {{"queue_partitions", partitions}}}}, "");
}

result<json> testkit::read_task(const std::string& id) {
  const auto number = scheduling::task_id_from(id);
  if (!number) return error{errc::internal, "no_id", "\"" + id + "\" is not the id of a task"};
  auto found = scheduling::read_task(*reader_, who_, queue_of(who_.tenant(), *number), *number);
  if (!found) return found.error();
  if (!*found) return error{errc::internal, "no_row", "the task has no row"};
  return scheduling::to_json(**found);
}

result<json> testkit::admin(const std::string& type, const json& body) { return ask_entity(who_, entity_id::of_tenant(who_.tenant()), type, body, ""); }

void testkit::add_agent(const std::string& name, const std::string& behaviour, json config, const std::string& supervisor) {
  json spec{{"behaviour", behaviour}, {"config", std::move(config)}};
  if (!supervisor.empty()) spec["supervisor"] = supervisor;
  const auto r = admin("directory.apply", {{"agents", json::array({{{"name", name}, {"spec", spec}}})}});
  if (!r) give_up(to_string(r.error()));
}

void testkit::add_collection(const std::string& name, json spec) {
  const auto r = admin("directory.apply", {{"collections", json::array({{{"name", name}, {"spec", std::move(spec)}}})}});
  if (!r) give_up(to_string(r.error()));
}

result<json> testkit::ask_collection(const std::string& name, const std::string& type, payload body, const std::string& key) {
  const auto to = names_->lookup(*reader_, who_, entity_kind::context, name);
  if (!to) return to.error();
  return ask_bytes(who_, *to, type, std::move(body), key);
}

result<json> testkit::put_items(const std::string& name, const json& items, const std::string& key) {
  auto read = items_from_json(items, {vector::trust::user, {}}, limits_of(settings_.context), "items");
  if (!read) return read.error();
  return ask_collection(name, "items.put", {encode_items(*read), content_type::binary}, key);
}

result<published_view> testkit::collection(const std::string& name) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    const auto id = names_->lookup(*reader_, who_, entity_kind::context, name);
    if (!id) return id.error();
    if (auto view = views_->find(*id)) return *view;
    const auto opened = ask_collection(name, "context.open", {"null", content_type::json});
    if (!opened && opened.error().code != errc::unavailable && opened.error().code != errc::unknown) return opened.error();
  }
  return error{errc::unavailable, "collection_cold", "the collection does not stay in memory"};
}

result<json> testkit::search(const std::string& name, const json& query) {
  auto on = collection(name);
  if (!on) return on.error();
  return run_query(*on, "search", query, settings_.context, clock_.wall_now(),
                   [this](const embedding_model& by, const std::string& text) { return embed_(by, {text}); });
}

void testkit::add_supervisor(const std::string& name, json spec) {
  const auto r = admin("directory.apply", {{"supervisors", json::array({{{"name", name}, {"spec", std::move(spec)}}})}});
  if (!r) give_up(to_string(r.error()));
}

entity_id testkit::id_of(const std::string& agent) {
  auto id = names_->lookup(*reader_, who_, entity_kind::agent, agent);
  if (!id) give_up("no agent " + agent);
  return *id;
}

json testkit::explain(const std::string& name, entity_kind kind) {
  json out;
  const auto row = reader_->find(who_, kind, name);
  if (!row) give_up("no " + name);
  shards_[shard_of(row->id, settings_.node.shards).value()]->explain(row->id, [&](result<json> r) { out = std::move(*r); });
  if (out["active"] != true) add_stored_facts(*reader_, who_, row->id, out);
  return out;
}

const entity_memory* testkit::memory_of(entity_id id) { return shards_[shard_of(id, settings_.node.shards).value()]->memory_of(id); }

json testkit::facts(entity_kind kind, const std::string& name) {
  const auto row = reader_->find(who_, kind, name);
  if (!row) return {{"status", "absent"}};
  std::unordered_map<entity_id, json> all;
  if (auto live = shards_[shard_of(row->id, settings_.node.shards).value()]->status_of(row->id); !live.is_null()) all[row->id] = std::move(live);
  add_stored_statuses(*reader_, who_, {{row->id, row->supervisor}}, 1, all);
  return all.contains(row->id) ? all[row->id] : json{{"status", "inactive"}};
}

std::string testkit::status(entity_kind kind, const std::string& name) { return facts(kind, name)["status"]; }

std::size_t testkit::activations() const {
  std::size_t n = 0;
  for (const auto& s : shards_) n += s->activations();
  return n;
}

std::vector<std::pair<std::string, std::string>> testkit::events() {
  std::vector<std::pair<std::string, std::string>> all;
  auto page = reader_->events(who_, first_cursor_, 100'000);
  if (!page) give_up(to_string(page.error()));
  for (auto& e : page->events) all.emplace_back(e.event.type, e.event.source);
  return all;
}

void crash_at_every_commit(const std::function<std::unique_ptr<testkit>()>& make, const std::function<void(testkit&)>& scenario,
                           const std::function<void(testkit&)>& check) {
  std::uint64_t all = 0;
  {
    auto kit = make();
    const auto before = kit->commits();
    scenario(*kit);
    kit->settle();
    all = kit->commits() - before;
    check(*kit);
  }
  for (std::uint64_t n = 1; n <= all; ++n) {
    auto kit = make();
    kit->crash_after_commits(n);
    scenario(*kit);
    kit->settle();
    check(*kit);
  }
}

} // namespace hive::actors
