// A node among others: shards come and go, and what is told to those that are elsewhere finds them.
#include "actors/node_host.hpp"

#include "config/base/bytes.hpp"
#include "config/base/checked_json.hpp"
#include "config/base/log.hpp"

namespace hive::actors {

using namespace std::chrono_literals;
using persistence::store_reader;

namespace {

constexpr auto ask_again_after = 20ms;
constexpr auto node_answers_in = 5s;
constexpr auto stuck_looked_for = 1s;

/// The ask may be made again with its key: its entity was, or may have been, on the way from one node to another.
bool on_the_move(const error& why) {
  if (why.code == errc::unknown) return why.reason == "link_lost" || why.reason == "peer_replaced" || why.reason == "malformed";
  return why.code == errc::unavailable && (why.reason == "no_owner" || why.reason == "not_here" || why.reason == "moved" || why.reason == "dropped" ||
                                           why.reason == "link_down" || why.reason == "link_full");
}

/// Nothing of it was executed, for certain.
bool never_left(const error& why) { return why.reason == "no_owner" || why.reason == "not_here" || why.reason == "link_down" || why.reason == "link_full"; }

json parsed(const std::string& text) { return json::parse(text, nullptr, false); }
std::string text_of(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

} // namespace

/// Asks again with the same key until there is an answer or the time is up: whoever asked does not hear that nodes died.
class node_host::again_sink final : public reply_sink {
public:
  again_sink(node_host& host, tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink, steady_time until, bool fresh)
    : host_(host), who_(who), request_(std::move(request)), sink_(std::move(sink)), until_(until), fresh_(fresh) {}

  void answered(ask_answer&& a) override { sink_->answered(std::move(a)); }
  void failed(error&& why, const std::string& key) override {
    const auto left = std::chrono::floor<std::chrono::milliseconds>(until_ - host_.parts_.clock.steady_now()) - ask_again_after;
    const auto give_up = [&](reply_sink& asker) {
      if (!fresh_ && (why.code == errc::unavailable || why.code == errc::rejected)) // an earlier attempt may have been executed
        why = {errc::unknown, "owner_lost", "the entity's node was lost and no other answered in time; ask again with the same key"};
      asker.failed(std::move(why), key);
    };
    if (!on_the_move(why) || left.count() <= 0 || host_.stopping_) return give_up(*sink_);
    fresh_ = fresh_ && never_left(why);
    request_.idempotency_key = key;
    request_.deadline = left;
    auto sink = std::make_shared<std::unique_ptr<reply_sink>>(std::move(sink_));
    const bool taken = host_.delayed_->after(ask_again_after, [&host = host_, who = who_, request = std::make_shared<ask_request>(std::move(request_)), sink,
                                                               until = until_, fresh = fresh_] {
      auto copy = *request;
      host.ask_once(who, std::move(*request), std::make_unique<again_sink>(host, who, std::move(copy), std::move(*sink), until, fresh), fresh);
    });
    if (!taken) give_up(**sink);
  }

private:
  node_host& host_;
  tenant_context who_;
  ask_request request_;
  std::unique_ptr<reply_sink> sink_;
  steady_time until_;
  bool fresh_; // so far nothing of it can have been executed
};

void node_host::ask(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink) {
  if (request.to.kind == entity_kind::queue && request.type == "task.submit") return submit_task(who, std::move(request), std::move(sink));
  ask_one(who, std::move(request), std::move(sink), false);
}

void node_host::ask_one(tenant_context who, ask_request request, std::unique_ptr<reply_sink> sink, bool unused_key) {
  if (!parts_.map) return ask_once(who, std::move(request), std::move(sink), unused_key);
  const auto& s = parts_.settings.api;
  const auto left = request.deadline.count() > 0 ? std::min(request.deadline, s.ask_deadline_max) : s.ask_deadline;
  auto copy = request;
  auto again = std::make_unique<again_sink>(*this, who, std::move(copy), std::move(sink), parts_.clock.steady_now() + left, true);
  ask_once(who, std::move(request), std::move(again), unused_key);
}

bool node_host::here(entity_id id) const noexcept { return !parts_.map || parts_.map->find(shard_of(id, shard_count_)).here; }

std::string node_host::node_of(entity_id id) const { return remote_ ? remote_->owner_of(shard_of(id, shard_count_)) : std::string(); }

// -- shards come and go: the membership's thread

result<void> node_host::begin_generation(node_generation generation) {
  generation_ = generation;
  return parts_.store.adopt(generation);
}

void node_host::serve(shard_id shard, epoch fence, journal_position first) {
  if (first.value() != 0) parts_.store.begin_at(first);
  {
    std::lock_guard lock(served_guard_);
    served_[shard.value()] = fence;
  }
  take_over(shard, fence);
}

/// What was under way there goes on: read first, told to the shard once it is in its place.
void node_host::take_over(shard_id shard, epoch fence) {
  struct work {
    std::vector<persistence::waiting_entity> turns;
    std::vector<persistence::outbox_row> messages;
    std::uint64_t timers = 0;
  };
  read(system_tenant, [this, shard, fence](store_reader& reader) {
    auto found = std::make_shared<work>();
    auto ok = reader.waiting_of(shard, [&](persistence::waiting_entity&& w) { return found->turns.push_back(std::move(w)), true; });
    if (ok) ok = reader.outbox_of(shard, [&](persistence::outbox_row&& r) { return found->messages.push_back(std::move(r)), true; });
    if (ok) {
      if (const auto n = reader.count_timers(shard)) found->timers = *n;
      else ok = n.error();
    }
    std::lock_guard lock(served_guard_);
    if (served_[shard.value()] != fence || stopping_) return; // it went on meanwhile
    if (!ok) {
      log::warn("cannot read what was under way in a shard", {{"shard", shard.value()}, {"why", ok.error().message}});
      return read_work_again(shard, fence);
    }
    post_to(shard, std::make_unique<install_op>(std::make_unique<shard_core>(shard, fence, *this), [found](shard_core& core) {
      for (auto& w : found->turns) core.recover(std::move(w));
      for (auto& r : found->messages) core.recover(std::move(r));
      core.load_timers(found->timers);
    }));
  });
}

void node_host::read_work_again(shard_id shard, epoch fence) {
  std::function<void()> again = [this, shard, fence] {
    std::unique_lock lock(served_guard_);
    const bool still = served_[shard.value()] == fence && !stopping_;
    lock.unlock();
    if (still) take_over(shard, fence);
  };
  (void)delayed_->after(100ms, std::move(again), true); // one a shard at most
}

void node_host::stop_serving(shard_id shard) {
  std::lock_guard lock(served_guard_);
  served_[shard.value()] = {};
  post_to(shard, std::make_unique<remove_op>([this, shard](std::unique_ptr<shard_core> core) {
    if (!core) return;
    for (auto& op : core->give_up()) (void)elsewhere(shard, std::move(op), false);
  }));
}

void node_host::release(shard_id shard, std::function<void()> quiet) {
  post_to(shard, std::make_unique<call_op>([quiet = std::move(quiet)](shard_core& core) { core.close(quiet); }));
}

void node_host::resume(shard_id shard) {
  post_to(shard, std::make_unique<call_op>([](shard_core& core) { core.open(); }));
}

void node_host::hold(std::optional<error> why) {
  std::lock_guard lock(state_guard_);
  held_why_ = std::move(why);
  held_ = true;
}
void node_host::go_on() { held_ = false; }

void node_host::set_joining(const std::string& why) {
  if (why.empty() && !joining_.load(std::memory_order_relaxed)) return; // nearly always
  std::lock_guard lock(state_guard_);
  why_joining_ = why;
  joining_ = !why.empty();
}

namespace {
/// Whoever sent it does not ask, or not soon, whether it arrived: of a shard that is on its way here it is not lost. Clients
/// hear that they are to come back.
bool waits_for_its_shard(const shard_op& op) {
  switch (op.what) {
  case shard_op::kind::deliver: {
    const auto from = static_cast<const envelope&>(op).from_where;
    return from == envelope::origin::send || from == envelope::origin::reply;
  }
  case shard_op::kind::handled:
  case shard_op::kind::exited:
  case shard_op::kind::order:
  case shard_op::kind::answer:
  case shard_op::kind::note:
  case shard_op::kind::step_done:
  case shard_op::kind::suspect: return true;
  case shard_op::kind::loaded:
  case shard_op::kind::settled:
  case shard_op::kind::call:
  case shard_op::kind::install:
  case shard_op::kind::remove: return false;
  }
  return false;
}
} // namespace

/// @returns what the shard is to keep: it is this node's by the map, and what was under way in it is being read, which takes as
/// long as the store does not answer. Sent on, it would only come back.
std::unique_ptr<shard_op> node_host::elsewhere(shard_id shard, std::unique_ptr<shard_op> op, bool room) {
  if (op->what == shard_op::kind::settled) { // of a shard that has gone: counted here, told to nobody
    const auto& r = *static_cast<settled_op&>(*op).record;
    gauges_.run_ahead_turns.fetch_sub(1, std::memory_order_relaxed);
    gauges_.run_ahead_bytes.fetch_sub(static_cast<std::int64_t>(r.bytes), std::memory_order_relaxed);
  }
  if (!remote_) return nullptr;
  if (room && remote_->here(shard) && waits_for_its_shard(*op)) return op;
  remote_->forward(shard, std::move(op));
  return nullptr;
}

/// To every shard of this node.
void node_host::tell_shards(const std::function<void(shard_core&)>& what) {
  for (std::uint16_t i = 0; i < shard_count_; ++i)
    if (parts_.map->find(shard_id{i}).here) post_to(shard_id{i}, std::make_unique<call_op>(what));
}

void node_host::send_again(const std::vector<shard_id>& shards, bool new_owner) {
  auto moved = std::make_shared<std::vector<bool>>(shard_count_);
  for (const auto s : shards) (*moved)[s.value()] = true;
  tell_shards([moved, new_owner, count = shard_count_](shard_core& core) {
    core.send_again([&](entity_id id) { return (*moved)[shard_of(id, count).value()]; }, new_owner);
  });
}

void node_host::read_again() {
  names_.clear();
  read_tenants();
  look_for_events();
}

void node_host::read_tenants() {
  read(system_tenant, [this](store_reader& reader) {
    if (auto known = know_tenants(reader); !known) log::warn("changes of tenants were not read", {{"why", known.error().message}});
  });
}

void node_host::linked(const std::string& node, bool up) {
  if (!up) return;
  std::vector<shard_id> theirs;
  for (std::uint16_t i = 0; i < shard_count_; ++i)
    if (remote_->owner_of(shard_id{i}) == node) theirs.emplace_back(i);
  if (!theirs.empty()) send_again(theirs, false);
}

void node_host::each_tick() {
  remote_->tick();
  const auto now = parts_.clock.steady_now();
  if (now >= next_look_for_events_) {
    next_look_for_events_ = now + parts_.settings.cluster.event_poll;
    look_for_events();
  }
  if (now >= next_read_of_tenants_) { // as names and keys are, should a word of a change have been lost
    next_read_of_tenants_ = now + parts_.settings.cluster.remember;
    read_tenants();
  }
  if (now >= next_look_for_stuck_) {
    next_look_for_stuck_ = now + stuck_looked_for;
    tell_shards([](shard_core& core) { core.send_stuck_again(); });
  }
}

// -- what nodes ask each other

void node_host::answer_peers() {
  remote_ = std::make_unique<remote::remote_shards>(remote::remote_parts{
    parts_.clock, parts_.contexts, *parts_.map, [this](shard_id s, std::unique_ptr<shard_op> op) { post_to(s, std::move(op)); },
    [this](shard_id s) { return inbox_full(s); }, [this](ask_ticket& t) { deadlines_->watch(&t); }, parts_.settings.link.retry_messages});
  using answer_to = remote::remote_shards::answer_to;
  using milliseconds = std::chrono::milliseconds;
  const auto malformed = error{errc::invalid_argument, "malformed", "the question cannot be read"};
  const auto as_text = [](answer_to done) {
    return [done = std::move(done)](result<explanation> e) { done(e ? result<std::string>(text_of(*e)) : result<std::string>(std::move(e).error())); };
  };
  remote_->handle("explain", [this, malformed, as_text](tenant_context who, const std::string& body, milliseconds, answer_to done) {
    const auto q = parsed(body);
    const auto bits = unsigned_in<std::uint64_t>(member_of(q, "id"));
    if (!bits) return done(malformed);
    const entity_id id{*bits};
    if (id.tenant() != who.tenant() || !here(id)) return done(error{errc::unavailable, "not_here", "the entity is not at this node"});
    explain_entity(who, id, text_in(member_of(q, "address")).value_or(""), [say = as_text(std::move(done))](json e) { say(std::move(e)); });
  });
  remote_->handle("explain_task", [this, as_text](tenant_context who, const std::string& body, milliseconds, answer_to done) {
    explain_task(who, body, as_text(std::move(done)));
  });
  remote_->handle("statuses", [this, malformed](tenant_context who, const std::string& body, milliseconds, answer_to done) {
    const auto q = parsed(body);
    if (!q.is_array()) return done(malformed);
    std::vector<entity_id> ids;
    for (const auto& id : q)
      if (const auto bits = unsigned_in<std::uint64_t>(id); bits && entity_id{*bits}.tenant() == who.tenant()) ids.emplace_back(*bits);
    live_statuses(who, ids, [done = std::move(done)](const std::unordered_map<entity_id, json>& all) {
      json out = json::array();
      for (const auto& [id, s] : all) out.push_back({id.bits(), s});
      done(text_of(out));
    });
  });
  remote_->handle("forget_names", [this, malformed](tenant_context, const std::string& body, milliseconds, answer_to done) {
    const auto said = parsed(body);
    if (!said.is_array()) return done(malformed);
    for (const auto& n : said) {
      const auto tenant = unsigned_in<std::uint32_t>(element_of(n, 0));
      const auto kind = unsigned_in<std::uint8_t>(element_of(n, 1));
      const auto name = text_in(element_of(n, 2));
      if (!tenant || !kind || !name) continue;
      if (static_cast<entity_kind>(*kind) == entity_kind::tenant) read_tenant(tenant_id{*tenant}, [] {});
      else names_.forget(tenant_id{*tenant}, static_cast<entity_kind>(*kind), *name);
    }
    done(std::string());
  });
  remote_->handle("events", [this](tenant_context, const std::string& body, milliseconds, answer_to done) {
    heard(persistence::decode_wake_ups(body));
    done(std::string());
  });
  remote_->handle("step", [this, malformed](tenant_context who, const std::string& body, milliseconds left, answer_to done) {
    byte_reader in(body);
    auto* runs = parts_.executors.find(in.text());
    std::string key(in.text());
    const auto type = static_cast<content_type>(in.varint());
    executor::call call{who, std::move(key), {std::string(in.text()), type}, left, &stopping_};
    if (!in.ok() || !runs) return done(malformed);
    const auto taken = executor_threads_->post(who.tenant(), [runs, call = std::move(call), done](int&) {
      auto answer = runs->run(call);
      if (!answer) return done(std::move(answer).error());
      byte_writer out;
      out.varint(static_cast<std::uint64_t>(answer->type)).text(answer->bytes);
      done(out.take());
    });
    if (!taken) done(too_many_jobs());
  });
}

/// What belongs to another node is asked there. @returns false when it is nobody's, or this one's.
bool node_host::ask_owner(entity_id id, const std::string& name, tenant_context who, const std::string& body, std::function<void(result<std::string>)> done) {
  if (here(id)) return false;
  const auto node = node_of(id);
  if (node.empty()) return false;
  remote_->call(node, name, who, body, node_answers_in, std::move(done));
  return true;
}

void node_host::call_node(const std::string& node, const std::string& name, tenant_context who, std::string body,
                          std::function<void(result<std::string>)> done) {
  if (!remote_) return done(error{errc::unavailable, "single_node", "this node has no peers"});
  remote_->call(node, name, who, std::move(body), parts_.settings.api.ask_deadline, std::move(done));
}

void node_host::tell_peers(std::span<const persistence::wake_up> batch) {
  if (remote_) remote_->tell_all("events", parts_.contexts.restore(system_tenant, "system"), persistence::encode(batch));
}

/// For names and keys that other nodes remember.
void node_host::tell_peers_to_forget(const actor_record& r) {
  json names = json::array();
  for (const auto& d : r.directory)
    if (d.removed) names.push_back({r.entity.tenant().value(), static_cast<int>(d.row.kind), d.row.name});
  for (const auto& t : r.tenants) names.push_back({t.id.value(), static_cast<int>(entity_kind::tenant), t.name});
  if (!names.empty()) remote_->tell_all_surely("forget_names", parts_.contexts.restore(system_tenant, "system"), text_of(names));
}

/// A step that must be made where the collection is.
void node_host::step_elsewhere(const std::string& node, const std::string& name, const executor::call& call, std::function<void(result<payload>)> done) {
  byte_writer q;
  q.text(name).text(call.step_key).varint(static_cast<std::uint64_t>(call.arguments.type)).text(call.arguments.bytes);
  remote_->call(node, "step", call.who, q.take(), call.deadline, [done = std::move(done)](result<std::string> got) {
    if (!got) return done(std::move(got).error());
    byte_reader in(*got);
    const auto type = static_cast<content_type>(in.varint());
    payload answer{std::string(in.text()), type};
    if (!in.ok()) return done(error{errc::unknown, "malformed", "the answer of another node cannot be read"});
    done(std::move(answer));
  });
}

} // namespace hive::actors
