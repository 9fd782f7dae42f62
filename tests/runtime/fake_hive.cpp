#include "tests/runtime/fake_hive.hpp"

#include "actors/directory.hpp"
#include "actors/scheduling/task_rows.hpp"
#include "vector/collection.hpp"

namespace hive::test {

using nlohmann::json;
using namespace persistence;
using namespace actors::scheduling;

namespace {
error missing(const std::string& what) { return {errc::not_found, "not_found", what + " is not there", {}, {}}; }
} // namespace

class fake_reader final : public store_reader {
public:
  explicit fake_reader(fake_hive& hive) : hive_(hive) {}

  result<entity_row> load_entity(tenant_context, entity_id) override { return entity_row{}; }
  result<directory_row> find(tenant_context who, entity_kind kind, std::string_view name) override {
    std::lock_guard lock(hive_.guard_);
    if (auto* t = hive_.find(who.tenant()))
      if (const auto at = t->directory.find({kind, std::string(name)}); at != t->directory.end()) return at->second;
    return missing(std::string(name));
  }
  result<directory_row> find(tenant_context, entity_id) override { return missing("id"); }
  result<std::vector<directory_row>> list(tenant_context who, entity_kind kind, std::string_view after, std::size_t limit,
                                          const std::string* supervisor) override {
    std::lock_guard lock(hive_.guard_);
    std::vector<directory_row> out;
    if (auto* t = hive_.find(who.tenant()))
      for (const auto& [key, row] : t->directory)
        if (key.first == kind && key.second > after && (!supervisor || row.supervisor == *supervisor) && out.size() < limit) out.push_back(row);
    return out;
  }
  result<std::vector<key_entry>> keys(tenant_context, entity_id, journal_position, std::size_t, wall_time) override { return std::vector<key_entry>{}; }
  result<keyed_answer> answer(tenant_context, entity_id, journal_position) override { return missing("answer"); }
  result<std::vector<std::string>> read_log(tenant_context, entity_id, std::string_view, journal_position, std::uint64_t, std::size_t) override {
    return std::vector<std::string>{};
  }
  result<std::optional<std::string>> item(tenant_context who, entity_id id, std::string_view key) override {
    std::lock_guard lock(hive_.guard_);
    const auto* items = items_of(who, id);
    const auto at = items ? items->find(std::string(key)) : std::map<std::string, std::string>::const_iterator{};
    if (!items || at == items->end()) return std::optional<std::string>{};
    return std::optional(at->second);
  }
  result<std::vector<std::pair<std::string, std::string>>> items(tenant_context who, entity_id id, std::string_view prefix,
                                                                 std::string_view after, std::size_t limit) override {
    std::lock_guard lock(hive_.guard_);
    std::vector<std::pair<std::string, std::string>> out;
    if (const auto* items = items_of(who, id))
      for (const auto& [key, value] : *items)
        if (key.starts_with(prefix) && key > after && out.size() < limit) out.emplace_back(key, value);
    return out;
  }
  result<event_page> events(tenant_context who, std::string_view cursor, std::size_t limit) override {
    std::lock_guard lock(hive_.guard_);
    auto* t = hive_.find(who.tenant());
    event_page page;
    if (!t) return page;
    std::size_t from = t->events.size();
    if (!cursor.empty()) {
      if (!cursor.starts_with("c")) return invalid("after", "after is no cursor");
      from = std::stoul(std::string(cursor.substr(1)));
    }
    if (from < t->forgotten) {
      page.gap = true;
      from = t->forgotten;
    }
    for (; from < t->events.size() && page.events.size() < limit; ++from) page.events.push_back(t->events[from]);
    page.end = "c" + std::to_string(from);
    return page;
  }
  result<std::vector<std::pair<wall_time, audit_row>>> audit(tenant_context, std::size_t) override { return std::vector<std::pair<wall_time, audit_row>>{}; }
  result<std::vector<stored_dead_letter>> dead_letters(tenant_context, std::uint64_t, std::size_t) override { return std::vector<stored_dead_letter>{}; }
  result<api_key_row> find_api_key(std::string_view id) override {
    std::lock_guard lock(hive_.guard_);
    const auto at = hive_.keys_.find(std::string(id));
    if (at == hive_.keys_.end()) return missing("key");
    if (hive_.after_key_read) hive_.after_key_read();
    return at->second;
  }
  result<tenant_row> find_tenant(std::string_view name) override {
    std::lock_guard lock(hive_.guard_);
    const auto* t = hive_.find(std::string(name));
    if (!t) return missing("tenant");
    return tenant_row{t->id, t->name, t->spec, false};
  }
  result<tenant_row> find_tenant(tenant_id id) override {
    std::lock_guard lock(hive_.guard_);
    const auto* t = hive_.find(id);
    if (!t) return missing("tenant");
    return tenant_row{t->id, t->name, t->spec, false};
  }
  result<std::vector<tenant_row>> tenants(std::string_view after, std::size_t limit) override {
    std::lock_guard lock(hive_.guard_);
    std::map<std::string, tenant_row> by_name;
    for (const auto& t : hive_.tenants_)
      if (!t.removed && t.name > after) by_name[t.name] = {t.id, t.name, t.spec, false};
    std::vector<tenant_row> out;
    for (const auto& [name, row] : by_name)
      if (out.size() < limit) out.push_back(row);
    return out;
  }
  result<void> outbox_of(shard_id, const std::function<bool(outbox_row&&)>&) override { return {}; }
  result<void> waiting_of(shard_id, const std::function<bool(waiting_entity&&)>&) override { return {}; }
  result<void> timers_of(shard_id, const timer_row&, const std::function<bool(timer_row&&)>&) override { return {}; }
  result<std::vector<shard_id>> shards_with_timers() override { return std::vector<shard_id>{}; }
  result<std::vector<shard_id>> shards_with_work() override { return std::vector<shard_id>{}; }
  result<store_totals> totals() override { return store_totals{}; }

private:
  const std::map<std::string, std::string>* items_of(tenant_context who, entity_id id) {
    auto* t = hive_.find(who.tenant());
    if (who.tenant() == system_tenant && id.tenant() == system_tenant) return &hive_.hive_items_;
    if (!t || id.tenant() != who.tenant()) return nullptr;
    return actors::is_queue(id) ? &t->queue_items : &t->own_items;
  }
  fake_hive& hive_;
};

// -- threads

fake_hive::worker::~worker() {
  {
    std::lock_guard lock(guard_);
    stopping_ = true;
  }
  bell_.notify_all();
  thread_.join();
}

void fake_hive::worker::post(std::function<void()> work) {
  bool first = false;
  {
    std::lock_guard lock(guard_);
    first = queue_.empty();
    queue_.push_back(std::move(work));
  }
  if (first) bell_.notify_one();
}

void fake_hive::worker::run() {
  for (;;) {
    std::deque<std::function<void()>> mine;
    {
      std::unique_lock lock(guard_);
      bell_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      mine.swap(queue_);
    }
    for (auto& work : mine) work();
  }
}

// -- messaging

fake_hive::fake_hive(security::authenticator& auth) : auth_(auth) {}
fake_hive::~fake_hive() = default;

void fake_hive::ask(tenant_context who, actors::ask_request request, std::unique_ptr<actors::reply_sink> sink) {
  auto shared = std::make_shared<std::pair<actors::ask_request, std::unique_ptr<actors::reply_sink>>>(std::move(request), std::move(sink));
  commits_.post([this, who, shared] {
    std::string key;
    auto answer = handle(who, shared->first, key);
    if (answer) shared->second->answered(std::move(*answer));
    else shared->second->failed(std::move(answer).error(), key);
  });
}

result<actors::ask_answer> fake_hive::handle(tenant_context who, const actors::ask_request& r, std::string& key) {
  std::lock_guard lock(guard_);
  auto* t = find(who.tenant());
  if (r.to.kind == entity_kind::agent) {
    if (!t || !t->directory.contains({entity_kind::agent, r.to.name})) return missing("agent \"" + r.to.name + "\"");
    last_ = {who.tenant(), std::string(who.principal()), r.to.name, r.type, r.body.bytes, r.idempotency_key, r.body.type, r.deadline, r.urgent, r.trace, last_.count + 1};
    key = r.idempotency_key.empty() ? "made-" + std::to_string(++made_) : r.idempotency_key;
    const auto slot = std::to_string(who.tenant().value()) + "/" + r.to.name + "/" + std::string(who.principal()) + "/" + key;
    const auto digest = digest_of(r.type, r.body);
    if (!r.idempotency_key.empty())
      if (const auto at = answers_.find(slot); at != answers_.end()) {
        if (!(at->second.digest == digest)) return error{errc::already_exists, "key_reused", "this key belongs to another request", "idempotency_key", {}};
        auto again = at->second.answer;
        again.repeated = true;
        return again;
      }
    if (r.type == "refuse") return error{errc::application, "refused", "the agent says no", {}, {}};
    if (r.type == "hang") return error{errc::unknown, "deadline", "the deadline passed; ask again with the key " + key, {}, {}};
    if (r.type == "full") return error{errc::resource_exhausted, "mailbox_full", "the mailbox is full", {}, std::chrono::milliseconds(1500)};
    actors::ask_answer answer{r.type == "say" ? payload{"{\"said\":" + r.body.bytes + "}", content_type::json} : r.body, key, false};
    if (!r.idempotency_key.empty()) answers_[slot] = {digest, answer};
    return answer;
  }
  ++stored_;
  const auto body = r.body.type == content_type::json ? json::parse(r.body.bytes) : json(std::move(r.body.bytes));
  if (r.to.kind == entity_kind::context) {
    if (!t || r.to.name != "notes") return missing("collection");
    return actors::ask_answer{{r.type == "items.put" ? R"({"results":[{"id":"a","status":"created","version":1}],"position":2})" : R"({"deleted":1,"position":3})", content_type::json},
                              r.idempotency_key, false};
  }
  auto answer = r.to.kind == entity_kind::queue ? (t ? work(*t, r.type, body) : missing("tenant")) : administrate(who, r.type, body);
  if (!answer) return std::move(answer).error();
  return actors::ask_answer{{answer->dump(), content_type::json}, r.idempotency_key, false};
}

result<json> fake_hive::administrate(tenant_context who, const std::string& type, const json& body) {
  auto* t = find(who.tenant());
  if (type == "key.create") {
    const std::string id = body.at("id");
    keys_[id] = {id, who.tenant(), body.at("secret_hash"), body.at("role"), body.at("label"), wall_time{}, false};
    (t ? t->own_items : hive_items_)["key/" + id] = json{{"role", body.at("role")}, {"label", body.at("label")}, {"created_at", 1}}.dump();
    return json{{"id", id}};
  }
  if (type == "key.delete") {
    const auto at = keys_.find(body.at("id"));
    if (at == keys_.end() || at->second.tenant != who.tenant()) return missing("key");
    keys_.erase(at);
    (t ? t->own_items : hive_items_).erase("key/" + std::string(body.at("id")));
    return json{{"deleted", true}};
  }
  if (type == "tenant.put") {
    if (who.tenant() != system_tenant) return error{errc::internal, "not_system", "tenant.put outside the system tenant", {}, {}};
    const std::string name = body.at("name");
    auto* there = find(name);
    const bool created = there == nullptr;
    if (body.contains("manifest")) {
      tenant_data nobody;
      if (auto good = apply(nobody, body["manifest"]); !good) return good.error();
    }
    if (created) {
      tenants_.push_back({});
      there = &tenants_.back();
      there->id = tenant_id{static_cast<std::uint32_t>(tenants_.size())};
      there->name = name;
    }
    there->spec = body.at("spec").dump();
    return json{{"id", there->id.value()}, {"name", name}, {"created", created}};
  }
  if (type == "tenant.delete") {
    auto* there = find(std::string(body.at("name")));
    if (!there) return missing("tenant");
    there->removed = true;
    std::erase_if(keys_, [&](const auto& k) { return k.second.tenant == there->id; });
    return json{{"deleted", true}};
  }
  if (!t) return missing("tenant");
  if (type == "directory.apply") return apply(*t, body);
  if (type == "directory.delete") {
    const auto kind = body.at("kind") == "agent" ? entity_kind::agent : body.at("kind") == "context" ? entity_kind::context : entity_kind::supervisor;
    if (t->directory.erase({kind, body.at("name")}) == 0) return missing(body.at("name"));
    return json{{"deleted", true}};
  }
  return error{errc::internal, "no_such_message", type, {}, {}};
}

result<json> fake_hive::apply(tenant_data& t, const json& body) {
  if (body.value("check", false)) {
    tenant_data copy = t;
    json changes = body;
    changes.erase("check");
    if (auto good = apply(copy, changes); !good) return good.error();
    return json{{"good", true}};
  }
  json entities = json::array();
  std::uint64_t created = 0, updated = 0;
  for (const auto& [list, kind] : {std::pair{"supervisors", entity_kind::supervisor}, {"agents", entity_kind::agent}, {"collections", entity_kind::context}}) {
    if (!body.contains(list)) continue;
    for (std::size_t i = 0; i < body[list].size(); ++i) {
      const auto& entry = body[list][i];
      const auto& spec = entry.at("spec");
      if (spec.value("behaviour", "") == "nonsense")
        return invalid(std::string(list) + "[" + std::to_string(i) + "].spec.behaviour", "no behaviour is called nonsense");
      auto& row = t.directory[{kind, entry.at("name")}];
      row.revision == 0 ? ++created : ++updated;
      if (!row.id) row.id = entity_id(t.id, t.next_serial++);
      row.kind = kind;
      row.name = entry.at("name");
      row.behaviour = spec.value("behaviour", "");
      row.supervisor = spec.value("supervisor", "");
      row.spec = spec.dump();
      entities.push_back({{"kind", to_string(kind)}, {"name", row.name}, {"revision", ++row.revision}, {"change", row.revision == 1 ? "created" : "updated"}});
    }
  }
  return json{{"created", created}, {"updated", updated}, {"unchanged", 0}, {"entities", entities}};
}

result<json> fake_hive::work(tenant_data& t, const std::string& type, const json& body) {
  if (type == "task.submit") {
    const auto request = decode_submit(body.get<std::string>());
    if (!request) return invalid("", "cannot be read");
    auto record = request->tasks.front().what;
    record.spec.id = task_id{t.next_task++};
    record.spec.submitted = wall_time{std::chrono::milliseconds{1}};
    t.queue_items[spec_key(record.spec.id)] = encode(record);
    return json{{"id", to_text(record.spec.id)}, {"state", "queued"}};
  }
  if (type == "queue.control") return json{{"paused", body.at("paused")}, {"agents", json::object()}};
  if (type != "task.cancel") return missing("schedule");
  const auto id = task_id_from(std::string(body.at("id")));
  if (!id || !t.queue_items.contains(spec_key(*id))) return missing("task");
  task_report report;
  report.status.state = task_state::cancelled;
  t.queue_items[state_key(*id)] = encode(report);
  return json{{"id", body.at("id")}, {"state", "cancelled"}};
}

void fake_hive::tell(tenant_context who, actors::destination to, std::string type, payload body, trace_context trace, std::function<void(result<void>)> done) {
  std::lock_guard lock(guard_);
  auto* t = find(who.tenant());
  if (!t || !t->directory.contains({entity_kind::agent, to.name})) return done(missing("agent \"" + to.name + "\""));
  last_ = {who.tenant(), std::string(who.principal()), to.name, type, body.bytes, "", body.type, {}, false, trace, last_.count + 1};
  if (type == "full") return done(error{errc::resource_exhausted, "mailbox_full", "the mailbox is full", {}, std::chrono::milliseconds(1500)});
  done({});
}

void fake_hive::read(tenant_id, std::function<void(store_reader&)> read) {
  reads_.post([this, read = std::move(read)] {
    fake_reader reader(*this);
    read(reader);
  });
}

/// Every tenant that is there has one collection, "notes", with one item.
void fake_hive::collection(tenant_context who, std::string name, std::function<void(result<actors::published_view>)> use) {
  if (looks_until_here_ > 0) {
    --looks_until_here_;
    return use(error{errc::unavailable, "elsewhere", "the collection is at another node", "node-2", {}});
  }
  reads_.post([this, who, name = std::move(name), use = std::move(use)] {
    std::unique_lock lock(guard_);
    const auto* t = find(who.tenant());
    const auto tenant = t ? t->name : std::string{};
    lock.unlock();
    if (!t || name != "notes") return use(error{errc::not_found, "not_found", "no collection named \"" + name + "\"", "collection", {}});
    vector::collection items({vector::metric::cosine, 64, "hashing-1"}, {});
    vector::item one;
    one.id = "a";
    one.text = "a note of " + tenant;
    (void)items.put(std::move(one), {}, {}, wall_time{});
    use(actors::published_view{items.publish(), 1, wall_time{std::chrono::seconds{1}}});
  });
}

void fake_hive::explain(tenant_context who, actors::destination of, std::function<void(result<actors::explanation>)> done) {
  commits_.post([this, who, of, done] {
    {
      std::lock_guard lock(guard_);
      auto* t = find(who.tenant());
      if (!t || (of.kind == entity_kind::agent && !t->directory.contains({of.kind, of.name}))) return done(missing(of.name));
    }
    done(json{{"name", of.name}, {"why", "idle"}});
  });
}

void fake_hive::explain_task(tenant_context who, std::string id, std::function<void(result<actors::explanation>)> done) {
  commits_.post([this, who, id, done] {
    const auto number = task_id_from(id);
    {
      std::lock_guard lock(guard_);
      auto* t = find(who.tenant());
      if (!t || !number || !t->queue_items.contains(spec_key(*number))) return done(missing("task " + id));
    }
    done(json{{"address", "task/" + id}, {"state", "queued"}});
  });
}

void fake_hive::statuses(tenant_context, std::vector<actors::status_subject> of, std::function<void(std::unordered_map<entity_id, json>)> done) {
  std::unordered_map<entity_id, json> out;
  for (const auto& s : of) out[s.id] = {{"status", "idle"}, {"incarnation", 1}, {"restarts", 0}, {"mailbox", 0}, {"last_error", ""}};
  commits_.post([out, done] { done(out); });
}

std::shared_ptr<void> fake_hive::subscribe(tenant_context who, std::function<void(const actors::published_event&)> each) {
  std::lock_guard lock(guard_);
  auto s = std::make_shared<subscription>(subscription{who.tenant(), std::move(each)});
  subscriptions_.insert(s);
  return s;
}

std::vector<actors::tenant_counters> fake_hive::read_counters() const {
  std::lock_guard lock(guard_);
  std::vector<actors::tenant_counters> out;
  for (const auto& t : tenants_) {
    actors::tenant_counters c;
    c.tenant = t.id;
    c.name = t.name;
    c.turns = 7;
    c.turn_micros[3] = 7;
    out.push_back(c);
  }
  return out;
}

std::optional<error> fake_hive::not_ready() const {
  std::lock_guard lock(guard_);
  return not_ready_;
}

// -- for tests

fake_hive::tenant_data* fake_hive::find(tenant_id id) {
  for (auto& t : tenants_)
    if (t.id == id && !t.removed) return &t;
  return nullptr;
}
fake_hive::tenant_data* fake_hive::find(const std::string& name) {
  for (auto& t : tenants_)
    if (t.name == name && !t.removed) return &t;
  return nullptr;
}

void fake_hive::remove_key_elsewhere(const std::string& key) {
  std::lock_guard lock(guard_);
  keys_.erase(std::string(security::authenticator::id_of(key)));
}

std::string fake_hive::add_key(tenant_id tenant, const std::string& role) {
  const auto key = security::authenticator::make_key();
  std::lock_guard lock(guard_);
  keys_[key.id] = {key.id, tenant, key.secret_hash, role, "", wall_time{}, false};
  return key.text;
}

std::string fake_hive::add_tenant(const std::string& name, const std::string& role) {
  {
    std::lock_guard lock(guard_);
    tenants_.push_back({});
    tenants_.back().id = tenant_id{static_cast<std::uint32_t>(tenants_.size())};
    tenants_.back().name = name;
  }
  return add_key(id_of(name), role);
}

tenant_id fake_hive::id_of(const std::string& tenant) const {
  std::lock_guard lock(guard_);
  for (const auto& t : tenants_)
    if (t.name == tenant && !t.removed) return t.id;
  return system_tenant;
}

void fake_hive::add_agent(const std::string& tenant, const std::string& name, const std::string& supervisor) {
  std::lock_guard lock(guard_);
  json spec{{"behaviour", "echo"}};
  if (!supervisor.empty()) spec["supervisor"] = supervisor;
  (void)apply(*find(tenant), {{"agents", {{{"name", name}, {"spec", spec}}}}});
}

void fake_hive::publish_locked(tenant_data& t, const std::string& type, const std::string& data) {
  t.events.push_back({"c" + std::to_string(t.events.size() + 1), wall_time{std::chrono::milliseconds(5)}, {type, "agent/x", data}});
}

void fake_hive::publish(const std::string& tenant, const std::string& type, const std::string& data) {
  std::vector<std::shared_ptr<subscription>> listeners;
  actors::published_event e;
  {
    std::lock_guard lock(guard_);
    auto& t = *find(tenant);
    publish_locked(t, type, data);
    e = {t.events.back().cursor, t.events.back().at, type, "agent/x", data};
    std::erase_if(subscriptions_, [](const auto& s) { return s.expired(); });
    for (const auto& weak : subscriptions_)
      if (auto s = weak.lock(); s && s->tenant == t.id) listeners.push_back(std::move(s));
  }
  for (const auto& s : listeners) s->each(e);
}

void fake_hive::forget_events(const std::string& tenant) {
  std::lock_guard lock(guard_);
  auto& t = *find(tenant);
  t.forgotten = t.events.size();
}

void fake_hive::set_task(const std::string& tenant, const std::string& id, const std::string& state) {
  {
    std::lock_guard lock(guard_);
    task_report report;
    report.status.state = state == "running" ? task_state::running : state == "succeeded" ? task_state::succeeded : task_state::cancelled;
    if (state == "succeeded") report.result = payload{R"({"answer":42})", content_type::json};
    find(tenant)->queue_items[state_key(*task_id_from(id))] = encode(report);
  }
  publish(tenant, "task." + state, json{{"id", id}}.dump());
}

void fake_hive::set_not_ready(std::optional<error> why) {
  std::lock_guard lock(guard_);
  not_ready_ = std::move(why);
}

std::size_t fake_hive::subscriptions() const {
  std::lock_guard lock(guard_);
  return static_cast<std::size_t>(std::count_if(subscriptions_.begin(), subscriptions_.end(), [](const auto& s) { return !s.expired(); }));
}

fake_hive::seen fake_hive::last() const {
  std::lock_guard lock(guard_);
  return last_;
}
std::uint64_t fake_hive::stored() const {
  std::lock_guard lock(guard_);
  return stored_;
}

} // namespace hive::test
