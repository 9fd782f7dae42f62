#include "actors/system/queue_behaviour.hpp"

#include "actors/context/context_behaviour.hpp"
#include "actors/directory.hpp"
#include "actors/system/tenant_behaviour.hpp"
#include "config/base/log.hpp"

namespace hive::actors {

using namespace scheduling;

namespace {

/// {"id","agent","state"} and, for ends, {"error"} or progress.
std::string event_data(task_id id, const std::string& agent, task_state state, const task_error* error, const task_progress* progress) {
  if ((!error || error->reason.empty()) && !progress)
    return R"({"id":")" + to_text(id) + R"(","agent":")" + agent + R"(","state":")" + to_string(state) + "\"}";
  json e{{"id", to_text(id)}, {"agent", agent}, {"state", to_string(state)}};
  if (error && !error->reason.empty()) e["error"] = {{"reason", error->reason}, {"message", error->message}};
  if (progress) e["progress"] = {{"done", progress->done}, {"total", progress->total}, {"note", progress->note}};
  return e.dump(-1, ' ', false, json::error_handler_t::replace);
}

void emit(turn& self, const char* what, task_id id, std::string data) {
  system_turn::event_text(self, std::string("task.") + what, "task/" + to_text(id), std::move(data));
}

std::string agent_name(queue_memory& mem, entity_id id) {
  const auto* a = id ? mem.core.find_agent(id) : nullptr;
  return a ? a->name : std::string{};
}

/// Another attempt would end the same way: the request is wrong, not the moment.
bool is_final(errc code) noexcept {
  return code == errc::invalid_argument || code == errc::not_found || code == errc::permission_denied || code == errc::unimplemented ||
         code == errc::already_exists;
}

[[noreturn]] void refuse(error why) { throw read_failed(std::move(why)); }

using records = std::unordered_map<task_id, task_record>;

std::uint32_t own_partition(turn& self) { return partition_of(system_turn::id(self)); }

} // namespace

task<> queue_behaviour::handle(turn& self, message m) const {
  if (!system_turn::memory(self)) co_await load(self);
  auto& mem = memory_of(self);
  mem.born.clear();
  mem.told.clear();
  mem.result.reset();
  mem.failure.reset();
  if (m.type == "hive.task.done") done(self, std::move(m.body));
  else if (m.type == "hive.task.progress") progress(self, m.parse());
  else if (m.type == "task.submit") co_await submit(self, std::move(m.body));
  else if (m.type == "task.run") co_await run(self, std::move(m.body));
  else if (m.type == "task.recall") recall(self, m.body);
  else if (m.type == "task.cancel") co_await cancel(self, m.parse());
  else if (m.type == "hive.queue.wake") {
    auto state = self.state<queue_state>();
    state.alarm.clear(); // it is this one
    self.set_state(state);
    co_await run_schedules(self);
  } else if (m.type == "hive.task.answer") co_await answer_group(self, m.parse());
  else if (m.type == "hive.agents_changed") agents_changed(self, m.parse());
  else if (m.type == "queue.control") co_await control(self, m.parse());
  else if (m.type == "schedule.put") co_await put_schedule(self, m.parse());
  else if (m.type == "schedule.delete") co_await delete_schedule(self, m.parse());
  else if (m.type == "hive.task.sweep") {
    auto from = m.parse();
    co_await sweep(self, std::move(from));
  } else {
    const bool known = co_await handle_partition(self, m);
    if (!known) throw bad_message("type", "a queue does not take \"" + m.type + "\"");
  }
  co_await flush(self);
}

// -- memory from rows

task<> queue_behaviour::load(turn& self) const {
  const auto who = system_turn::host(self).of->who;
  const auto id = system_turn::id(self);
  const auto state = self.state<queue_state>();
  auto rows_read = system_turn::read<queue_rows>(self, [who, id, state](auto& store) { return read_queue(store, who, id, state); });
  auto rows = co_await rows_read;
  auto mem = std::make_unique<queue_memory>(settings_, self.now());
  auto& chance = self.random();
  const auto now = self.now();
  const auto part = partition_of(id);
  mem->core.divide(part, std::max(rows.partitions, part + 1), now, chance);
  if (rows.owners) mem->owners = std::move(*rows.owners);
  else if (part != 0) { // its first turn
    for (std::uint32_t p = 0; p < part; ++p) mem->owners.awaited.insert(p);
    mem->claims = true;
  }
  if (!mem->owners.awaited.empty()) mem->core.arriving(true, now, chance);
  for (const auto& e : rows.begun_elsewhere) {
    mem->core.agent(e.agent, e.name);
    mem->core.began_elsewhere(e.agent, e.tasks);
  }
  for (const auto& [task, by] : rows.watched) mem->watched[task].insert(by);
  for (const auto task : rows.foreign) mem->core.foreign(task);
  mem->watches = std::move(rows.foreign);
  mem->control = rows.control;
  for (const auto& [bits, a] : rows.control.agents) {
    auto& known = mem->core.agent(entity_id{bits}, a.name);
    known.paused = a.paused;
    if (a.concurrency != 0) known.concurrency = a.concurrency;
  }
  if (rows.control.paused) mem->core.pause(true, now, chance);
  for (auto& t : rows.tasks) {
    if (t.record.spec.agent) mem->core.agent(t.record.spec.agent, t.record.agent);
    if (t.record.spec.undo_agent) mem->core.agent(t.record.spec.undo_agent, t.record.undo_agent.empty() ? t.record.agent : t.record.undo_agent);
    if (t.report.status.agent) mem->core.agent(t.report.status.agent, t.report.agent);
    if (!t.record.waiter.empty() && !ended(t.report.status.state)) mem->wait_for(t.record.spec.id, {t.record.waiter, t.record.spec.group != fan_in::none});
    if (t.record.lent_by != task_id{} && !ended(t.report.status.state)) mem->lent[t.record.spec.id] = t.record.lent_by;
    if (t.report.progress) mem->progress[t.record.spec.id] = *t.report.progress;
    mem->core.restore(std::move(t.record.spec), std::move(t.report.status));
  }
  mem->core.saw(rows.newest);
  mem->core.restored(rows.outcome, now, chance);
  mem->able_known = rows.able_read;
  for (auto& a : rows.able) mem->core.describe_agent(a.id, a.name, std::move(a.can), a.weight, now, chance);
  for (const auto& [key, text] : rows.schedules) mem->schedules.emplace(key.substr(9), schedule::from_row(json::parse(text)));
  mem->sweeping = state.sweeping;
  system_turn::set_memory(self, std::move(mem));
}

/// Who can do what: asked once, then the tenant's entity tells of changes.
task<> queue_behaviour::know_able(turn& self) const {
  const auto who = system_turn::host(self).of->who;
  auto able_read = system_turn::read<std::vector<able_agent>>(self, [who](auto& store) { return read_able(store, who); });
  auto able = co_await able_read;
  auto& mem = memory_of(self);
  for (auto& a : able) mem.core.describe_agent(a.id, a.name, std::move(a.can), a.weight, self.now(), self.random());
  mem.able_known = true;
}

void queue_behaviour::agents_changed(turn& self, const json& body) const {
  auto& mem = memory_of(self);
  if (mem.core.self() == 0) // the tenant's entity tells the first partition
    for (std::uint32_t p = 1; p < mem.core.parts(); ++p)
      system_turn::send_to(self, queue_of(system_turn::id(self).tenant(), p), "hive.agents_changed", json_payload(body));
  if (!mem.able_known) return; // read whole when a task first asks for a capability
  for (const auto& entry : body) {
    std::vector<capability> can;
    for (const auto& c : entry.at("capabilities")) can.push_back(capability_from(c.get<std::string>()));
    mem.core.describe_agent(entity_id{entry.at("id").get<std::uint64_t>()}, entry.at("name").get<std::string>(), std::move(can),
                            entry.at("weight").get<std::uint32_t>(), self.now(), self.random());
  }
}

// -- tasks

namespace {
submit_request request_from(const payload& body) {
  if (body.type == content_type::binary) {
    auto request = decode_submit(body.bytes);
    if (!request) throw bad_message("", "the submission cannot be read");
    if (auto ok = scheduling::check(*request); !ok) throw bad_message(ok.error().field, ok.error().message);
    return std::move(*request);
  }
  auto parsed = submit_from_json(json::parse(body.bytes, nullptr, false));
  if (!parsed) throw bad_message(parsed.error().field, parsed.error().message);
  return std::move(*parsed);
}
} // namespace

task<> queue_behaviour::submit(turn& self, payload body) const {
  auto request = request_from(body);
  if (met_elsewhere(self, request)) {
    self.reply(json_payload({{"moved", memory_of(self).core.parts()}}));
    co_return;
  }
  const auto count = request.tasks.size();
  const bool many = count > 1 || request.group != fan_in::none;
  const auto ids = co_await add(self, std::move(request));
  const auto* first = memory_of(self).core.find(ids.front());
  std::string answer = R"({"id":")" + to_text(ids.front()) + R"(","state":")" + (first ? to_string(first->state) : "cancelled") + "\"";
  if (many) {
    answer += ",\"ids\":[";
    for (std::size_t i = ids.size() - count; i < ids.size(); ++i) answer += (i == ids.size() - count ? "\"" : ",\"") + to_text(ids[i]) + "\"";
    answer += "]";
  }
  self.reply({answer + "}", content_type::json});
}

/// A key must meet what it was used for before, so one partition takes a submission with it. This one may be asked first
/// because it took the key before there were more: then its answer is known, and no turn comes this far.
bool queue_behaviour::met_elsewhere(turn& self, const submit_request& request) const {
  const auto& in = system_turn::incoming(self);
  const auto parts = memory_of(self).core.parts();
  if (parts == 1 || in.from_where != envelope::origin::ask || in.generated_key) return false;
  const auto route = route_of(request);
  if (route.starts_with("task/")) return false;
  return scheduling::partition_for(route.empty() ? std::string_view(in.key) : std::string_view(route).substr(6), parts) != own_partition(self);
}

/// `turn::task`: the answer is the end of what it submits.
task<> queue_behaviour::run(turn& self, payload body) const {
  auto request = request_from(body);
  if (request.tasks.size() > 1 && request.group == fan_in::none)
    throw bad_message("policy", "several tasks to wait for need a policy: all, first, quorum or best_effort");
  auto token = system_turn::defer_reply(self);
  co_await add(self, std::move(request), std::move(token));
}

/// The step that waits for a task was taken back: so is the task. Its end is the step's answer, as always.
void queue_behaviour::recall(turn& self, const payload& body) const {
  auto& mem = memory_of(self);
  if (const auto found = mem.waited.find(body.bytes); found != mem.waited.end()) mem.core.cancel(found->second, self.now(), self.random());
}

/// A group that a step waits for has ended, and the rows of its tasks are on disk.
task<> queue_behaviour::answer_group(turn& self, json body) const {
  const auto who = system_turn::host(self).of->who;
  const auto queue = system_turn::id(self);
  const auto group = task_id_from(body.value("id", ""));
  if (!group) co_return;
  using tasks = std::vector<stored_task>;
  auto tasks_read = system_turn::read<tasks>(self, [who, queue, id = *group](auto& store) -> result<tasks> {
    constexpr std::size_t page = 1000;
    tasks found;
    auto own = read_task(store, who, queue, id);
    if (!own) return own.error();
    if (!*own) return found;
    found.push_back(std::move(**own));
    for (task_id after = id;;) { // its tasks got their ids with it, one after the other
      auto some = list_tasks(store, who, queue, after, page);
      if (!some) return some.error();
      for (auto& t : *some) {
        after = t.record.spec.id;
        if (t.record.spec.parent != id) return found;
        if (t.record.spec.undo_of == task_id{}) found.push_back(std::move(t));
      }
      if (some->size() < page) return found;
    }
  });
  const auto found = co_await tasks_read;
  const auto token = body.value("token", "");
  if (found.empty()) {
    self.finish_failed(token, "not_found", "the group is older than keep.tasks");
    co_return;
  }
  const auto& status = found.front().report.status;
  if (status.state != task_state::succeeded) {
    self.finish_failed(token, status.error.reason, status.error.message);
    co_return;
  }
  json list = json::array();
  for (std::size_t i = 1; i < found.size(); ++i) {
    const auto whole = to_json(found[i]);
    json one{{"id", whole.at("id")}, {"state", whole.at("state")}};
    for (const char* member : {"name", "result", "error"})
      if (whole.contains(member)) one[member] = whole.at(member);
    list.push_back(std::move(one));
  }
  self.finish(token, json_payload({{"id", to_text(*group)}, {"state", to_string(status.state)}, {"tasks", std::move(list)}}));
}

/// @param waiter token of the step that waits for the end, when one does.
/// @returns the new ids: the group's first, when there is one, then the tasks' in order.
task<std::vector<task_id>> queue_behaviour::add(turn& self, submit_request request, std::string waiter) const {
  auto& services = system_turn::services(self);
  const auto who = system_turn::host(self).of->who;
  const auto queue = system_turn::id(self);
  const auto now = self.now();
  const bool many = request.tasks.size() > 1 || request.group != fan_in::none;
  const auto path = [many](std::size_t i, const char* name) { return many ? "tasks[" + std::to_string(i) + "]." + name : std::string(name); };

  // Everything that must be read or refused comes first: from there on the queue's memory changes.
  std::uint8_t priority = 1;
  for (const auto& t : request.tasks) priority = std::max(priority, t.what.spec.priority);
  if (memory_of(self).core.full(request.tasks.size() + 1, priority))
    refuse({errc::resource_exhausted, "queue_full", "the queue has too many tasks that have not ended for one more of this priority (tasks.live)", {}, std::chrono::milliseconds{500}});
  std::unordered_map<std::string, std::size_t> by_name;
  std::map<std::string, entity_id> agents;
  std::vector<task_id> others;
  bool choosing = false;
  for (std::size_t i = 0; i < request.tasks.size(); ++i) {
    const auto& t = request.tasks[i];
    if (!t.what.name.empty()) by_name.emplace(t.what.name, i);
    if (!t.what.agent.empty()) agents.emplace(t.what.agent, entity_id{});
    if (!t.what.undo_agent.empty()) agents.emplace(t.what.undo_agent, entity_id{});
    choosing = choosing || !t.what.spec.capability.empty();
  }
  for (const auto& t : request.tasks)
    for (const auto& n : t.needs)
      if (!by_name.contains(n) && !memory_of(self).core.find(*task_id_from(n))) others.push_back(*task_id_from(n));
  for (const auto& t : request.tasks)
    if (const auto parent = task_id_from(t.parent); parent && !memory_of(self).core.find(*parent)) others.push_back(*parent);
  bool unknown = false;
  for (auto& [name, id] : agents) {
    if (const auto found = services.known(who, entity_kind::agent, name)) id = *found;
    else unknown = true;
  }
  if (unknown) {
    using found_ids = std::map<std::string, entity_id>;
    auto ids_read = system_turn::read<found_ids>(self, [who, wanted = agents](auto& store) -> result<found_ids> {
      auto found = wanted;
      for (auto& [name, id] : found) {
        if (id) continue;
        auto row = store.find(who, entity_kind::agent, name);
        if (row) id = row->id;
        else if (row.error().code != errc::not_found) return row.error();
      }
      return found;
    });
    agents = co_await ids_read;
  }
  for (std::size_t i = 0; i < request.tasks.size(); ++i) {
    const auto& t = request.tasks[i].what;
    if (!t.agent.empty() && !agents.at(t.agent)) refuse({errc::not_found, "not_found", "no agent named \"" + t.agent + "\"", path(i, "agent")});
    if (!t.undo_agent.empty() && !agents.at(t.undo_agent))
      refuse({errc::not_found, "not_found", "no agent named \"" + t.undo_agent + "\"", path(i, "undo.agent")});
  }
  const auto chain = waiter.empty() ? std::vector<entity_id>{} : system_turn::incoming(self).chain;
  for (const auto& [name, id] : agents)
    if (std::find(chain.begin(), chain.end(), id) != chain.end())
      refuse({errc::cycle, "cycle", "\"" + name + "\" waits for this task and cannot do it", "agent"});
  using states = std::unordered_map<task_id, task_state>;
  states outcome;
  if (!others.empty()) {
    auto states_read = system_turn::read<states>(self, [who, queue, others](auto& store) -> result<states> {
      states found;
      for (const auto id : others) {
        auto t = read_task(store, who, queue_of(queue.tenant(), id), id);
        if (!t) return t.error();
        if (*t) found[id] = (*t)->report.status.state;
      }
      return found;
    });
    outcome = co_await states_read;
  }
  for (std::size_t i = 0; i < request.tasks.size(); ++i)
    if (const auto parent = task_id_from(request.tasks[i].parent); parent && !memory_of(self).core.find(*parent) && !outcome.contains(*parent))
      refuse({errc::not_found, "not_found", "no task " + request.tasks[i].parent, path(i, "parent")});
    else if (parent && queue_of(queue.tenant(), *parent) != queue)
      refuse({errc::failed_precondition, "parents_apart", "the parents of one request's tasks are in several partitions of the queue: submit them apart", path(i, "parent")});
  std::vector<task_id> foreign;
  for (std::size_t i = 0; i < request.tasks.size(); ++i)
    for (const auto& n : request.tasks[i].needs) {
      if (by_name.contains(n)) continue;
      const auto id = *task_id_from(n);
      if (const auto* here = memory_of(self).core.find(id); here && !ended(here->state)) continue;
      const auto* kept = memory_of(self).core.find(id);
      const auto state = kept ? std::optional(kept->state) : outcome.contains(id) ? std::optional(outcome.at(id)) : std::nullopt;
      if (!state) refuse({errc::not_found, "not_found", "no task " + n, path(i, "depends_on")});
      if (!ended(*state) && queue_of(queue.tenant(), id) != queue) {
        foreign.push_back(id);
        continue;
      }
      if (*state != task_state::succeeded)
        refuse({errc::failed_precondition, "dependency_failed", "task " + n + " ended as " + to_string(*state), path(i, "depends_on")});
    }
  if (choosing && !memory_of(self).able_known) co_await know_able(self);

  auto& mem = memory_of(self);
  auto& core = mem.core;
  auto& chance = self.random();
  for (const auto id : foreign) {
    core.foreign(id);
    mem.watches.push_back(id);
  }
  const std::string principal(self.caller().principal());
  std::vector<task_id> ids;
  const bool group = request.group != fan_in::none;
  if (group) ids.push_back(core.next_id(now));
  for (std::size_t i = 0; i < request.tasks.size(); ++i) ids.push_back(core.next_id(now));
  const std::size_t first = group ? 1 : 0;
  if (group) {
    task_record r;
    r.type = "group";
    r.principal = principal;
    r.body = {"null", content_type::json};
    r.spec.id = ids.front();
    r.spec.submitted = now;
    r.spec.group = request.group;
    r.spec.quorum = request.quorum;
    if (const auto parent = task_id_from(request.tasks.front().parent)) r.spec.parent = *parent;
    if (const auto attempt = mem.lent.find(r.spec.parent); attempt != mem.lent.end()) r.shown_parent = attempt->second;
    r.waiter = waiter;
    if (!waiter.empty()) mem.wait_for(r.spec.id, {waiter, true});
    auto spec = r.spec;
    mem.born.emplace(r.spec.id, std::move(r));
    core.submit(std::move(spec), now, chance);
  }
  // Those that others need come first, so that each finds what it needs in the queue.
  std::vector<std::vector<std::size_t>> siblings(request.tasks.size());
  for (std::size_t i = 0; i < request.tasks.size(); ++i)
    for (const auto& n : request.tasks[i].needs)
      if (const auto sibling = by_name.find(n); sibling != by_name.end()) siblings[i].push_back(sibling->second);
  for (const auto i : in_order(siblings)) {
    auto& t = request.tasks[i];
    auto& r = t.what;
    r.principal = principal;
    r.spec.id = ids[first + i];
    r.spec.submitted = now;
    if (!r.agent.empty()) r.spec.agent = agents.at(r.agent);
    if (!r.undo_type.empty()) r.spec.undo_agent = agents.at(r.undo_agent.empty() ? r.agent : r.undo_agent);
    if (t.deadline_millis != 0) r.spec.deadline = now + std::chrono::milliseconds{static_cast<std::int64_t>(t.deadline_millis)};
    if (group) r.spec.parent = ids.front();
    else if (const auto parent = task_id_from(t.parent)) r.spec.parent = *parent;
    if (const auto attempt = mem.lent.find(r.spec.parent); attempt != mem.lent.end()) r.shown_parent = attempt->second;
    for (const auto& n : t.needs) {
      const auto sibling = by_name.find(n);
      const auto on = sibling != by_name.end() ? ids[first + sibling->second] : *task_id_from(n);
      if (const auto* there = core.find(on); there && !ended(there->state)) r.spec.needs.push_back({on, false});
    }
    if (r.spec.agent) core.agent(r.spec.agent, r.agent);
    if (r.spec.undo_agent) core.agent(r.spec.undo_agent, r.undo_agent.empty() ? r.agent : r.undo_agent);
    r.chain = chain;
    if (!group && !waiter.empty()) {
      r.waiter = waiter;
      mem.wait_for(r.spec.id, {waiter, false});
    }
    auto spec = r.spec;
    mem.hold(spec.id, {r.type, r.body, principal, chain});
    mem.born.emplace(spec.id, std::move(r));
    core.submit(std::move(spec), now, chance);
  }
  co_return ids;
}

void queue_behaviour::done(turn& self, payload body) const {
  const auto& in = system_turn::incoming(self);
  const auto id = task_id_from(in.reply_to.task);
  if (!id) return;
  verdict v;
  std::optional<hive::error> failure;
  if (in.failed) {
    auto why = decode_failure(body.bytes);
    failure = why;
    const bool own_word = why.code == errc::application;
    if (own_word && why.reason == "cancelled") v.what = verdict::kind::cancelled;
    else if (!own_word && why.reason.starts_with("receiver_")) v.what = verdict::kind::refused; // stopped, quarantined, deleted
    else v.what = verdict::kind::failed;
    v.final = is_final(why.code);
    v.error = {std::move(why.reason), std::move(why.message), std::move(why.field)};
  }
  auto& mem = memory_of(self);
  // Of an attempt that is over: it changes nothing.
  if (!mem.core.answer(*id, static_cast<std::uint32_t>(in.reply_to.turn), v, self.now(), self.random())) return;
  if (!in.failed) mem.result.emplace(*id, std::move(body));
  else mem.failure.emplace(*id, std::move(*failure));
}

void queue_behaviour::progress(turn& self, const json& body) const {
  const auto& in = system_turn::incoming(self);
  const auto id = task_id_from(in.reply_to.task);
  auto& mem = memory_of(self);
  const auto* t = id ? mem.core.find(*id) : nullptr;
  if (!t || t->state != task_state::running || t->attempt != in.reply_to.turn) return;
  if (mem.lent.contains(*id)) // its task is another partition's
    return self.progress(body.value("done", std::uint64_t{0}), body.value("total", std::uint64_t{0}), body.value("note", ""), mem.waiters.at(*id).token);
  mem.progress[*id] = {body.value("done", std::uint64_t{0}), body.value("total", std::uint64_t{0}), body.value("note", "")};
  mem.told.push_back(*id);
}

namespace {
/// The first few ids, for a message.
std::string live_under(const task_queue& core, const task_entry& of) {
  std::string text;
  std::size_t named = 0;
  std::vector<const task_entry*> all{&of};
  for (std::size_t i = 0; i < all.size() && named < 8; ++i)
    for (const auto id : all[i]->children) {
      const auto* child = core.find(id);
      if (!child) continue;
      if (ended(child->state)) all.push_back(child);
      else if (named++ < 8) text += (text.empty() ? "" : ", ") + to_text(id);
    }
  return text;
}
} // namespace

task<> queue_behaviour::cancel(turn& self, json body) const {
  const auto text = body.value("id", "");
  const auto id = task_id_from(text);
  if (!id) refuse({errc::not_found, "not_found", "no such task", "id"});
  const auto* here = memory_of(self).core.find(*id);
  if (!here || ended(here->state)) {
    std::string under; // its own end does not end what was submitted on its behalf
    if (here && here->open + here->lingering != 0) under = "; of what was submitted on its behalf these have not: " + live_under(memory_of(self).core, *here);
    const auto who = system_turn::host(self).of->who;
    const auto queue = system_turn::id(self);
    using maybe = std::optional<stored_task>;
    auto task_read = system_turn::read<maybe>(self, [who, queue, wanted = *id](auto& store) { return read_task(store, who, queue, wanted); });
    const auto found = co_await task_read;
    if (!found) refuse({errc::not_found, "not_found", "no such task", "id"});
    refuse({errc::failed_precondition, "task_ended", std::string("the task has ended: ") + to_string(found->report.status.state) + under, "id"});
  }
  auto& core = memory_of(self).core;
  core.cancel(*id, self.now(), self.random());
  const auto* left = core.find(*id);
  const bool over = !left || ended(left->state);
  self.reply(json_payload({{"id", text}, {"state", over ? "cancelled" : "cancelling"}}));
}

// -- control

task<> queue_behaviour::control(turn& self, json body) const {
  const auto name = body.value("agent", "");
  const auto who = system_turn::host(self).of->who;
  entity_id agent;
  if (!name.empty()) {
    auto row_read = system_turn::read<persistence::directory_row>(self, [who, name](auto& store) -> result<persistence::directory_row> {
      auto found = store.find(who, entity_kind::agent, name);
      if (!found && found.error().code == errc::not_found) return error{errc::not_found, "not_found", "no agent named \"" + name + "\"", "agent"};
      return found;
    });
    const auto row = co_await row_read;
    agent = row.id;
  }
  auto& mem = memory_of(self);
  if (agent && (scheduling::partition_for(name, mem.core.parts()) != mem.core.self() || mem.core.is_arriving()))
    refuse({errc::unavailable, "queue_growing", "the agent is on its way to another partition of the queue: try again", "agent", std::chrono::milliseconds{200}});
  if (agent) {
    auto& set = mem.control.agents[agent.bits()];
    auto& known = mem.core.agent(agent, name);
    set.name = name;
    if (const auto n = body.find("concurrency"); n != body.end()) {
      if (!n->is_number_unsigned() || n->get<std::uint64_t>() > 10'000) throw bad_message("concurrency", "concurrency must be from 0 (the default) to 10000");
      set.concurrency = n->get<std::uint32_t>();
      known.concurrency = set.concurrency == 0 ? settings_.tasks.concurrency : set.concurrency;
    }
    set.paused = body.value("paused", set.paused);
    mem.core.pause_agent(agent, set.paused, self.now(), self.random());
    if (!set.paused && set.concurrency == 0) mem.control.agents.erase(agent.bits());
  } else {
    mem.control.paused = body.value("paused", mem.control.paused);
    if (!mem.owners.awaited.empty()) {
      mem.owners.pause_set = true;
      self.put_row("owners", mem.owners.encode());
    }
    mem.core.pause(mem.control.paused, self.now(), self.random());
  }
  self.put_row("control", mem.control.encode());
  const std::string target = name.empty() ? "queue/" + queue_name(mem.core.self()) : "agent/" + name;
  system_turn::audit(self, body.contains("concurrency") ? "queue.limit" : body.value("paused", false) ? "queue.pause" : "queue.resume", target, body);
  self.reply(json_payload(json::parse(mem.control.encode())));
}

// -- schedules

task<> queue_behaviour::put_schedule(turn& self, json body) const {
  const auto name = body.value("name", "");
  if (auto ok = check_name(name, "schedule"); !ok) throw bad_message("schedule", ok.error().message);
  auto made = schedule::from_spec(body.value("spec", json()), self.now(), self.random());
  if (!made) throw bad_message(made.error().field, made.error().message);
  auto& mem = memory_of(self);
  if (!mem.schedules.contains(name) && mem.schedules.size() >= 100'000)
    refuse({errc::resource_exhausted, "schedules_full", "a tenant has at most 100,000 schedules", {}});
  const auto old = mem.schedules.find(name);
  const bool created = old == mem.schedules.end();
  made->principal = std::string(self.caller().principal());
  if (!created) made->replaces(old->second);
  self.put_row("schedule/" + name, made->to_row().dump());
  system_turn::audit(self, created ? "schedule.create" : "schedule.update", "schedule/" + name, made->spec);
  json answer = made->to_row();
  answer["name"] = name;
  mem.schedules.insert_or_assign(name, std::move(*made));
  self.reply(json_payload(answer));
  co_return;
}

task<> queue_behaviour::delete_schedule(turn& self, json body) const {
  const auto name = body.value("name", "");
  auto& mem = memory_of(self);
  if (!mem.schedules.contains(name)) refuse({errc::not_found, "not_found", "no schedule named \"" + name + "\"", "schedule"});
  mem.schedules.erase(name);
  self.erase_row("schedule/" + name);
  system_turn::audit(self, "schedule.delete", "schedule/" + name, json::object());
  self.reply(json_payload({{"deleted", true}}));
  co_return;
}

/// Submits what is due, a bounded number a turn: after an outage the rest follows in the next turns.
task<> queue_behaviour::run_schedules(turn& self) const {
  constexpr std::size_t at_once = 64;
  const auto now = self.now();
  std::vector<std::string> due;
  for (const auto& [name, s] : memory_of(self).schedules)
    if (s.fire_at <= now && due.size() < at_once) due.push_back(name);
  std::size_t submitted = 0;
  for (const auto& name : due) {
    if (submitted >= at_once) break; // still due: the next turn
    schedule s = memory_of(self).schedules.at(name);
    const auto slots = s.take_due(now, self.random());
    for (const auto slot : slots) {
      auto request = submit_from_json(s.task);
      if (!request) break; // checked when it was put
      for (auto& t : request->tasks) {
        t.what.labels.emplace_back("schedule", name);
        t.what.labels.emplace_back("due", std::to_string(millis(slot)));
      }
      ++submitted;
      std::optional<hive::error> why;
      try {
        const auto ids = co_await add(self, std::move(*request));
        s.submitted(to_text(ids.front()), now);
        for (const auto id : ids)
          if (const auto born = memory_of(self).born.find(id); born != memory_of(self).born.end()) born->second.principal = s.principal;
      } catch (const read_failed& e) {
        if (e.why.code == errc::unavailable || e.why.code == errc::internal) throw; // the store is away: the timer fires again
        why = e.why;
      }
      if (why) {
        s.refused(*why, now);
        log::warn("a schedule's task was refused", {{"schedule", name}, {"why", why->message}});
        system_turn::event(self, "schedule.failed", "schedule/" + name, {{"reason", why->reason}, {"message", why->message}});
      }
    }
    self.put_row("schedule/" + name, s.to_row().dump());
    memory_of(self).schedules.insert_or_assign(name, std::move(s));
  }
}

// -- what a turn leaves

task<> queue_behaviour::flush(turn& self) const {
  const auto now = self.now();
  const auto queue = system_turn::id(self);
  const auto tenant_who = system_turn::host(self).of->who;
  queue_effects out;
  {
    auto& mem = memory_of(self);
    for (int rounds = 0; mem.core.next_wake() <= now && rounds < 8; ++rounds) mem.core.wake(now, self.random());
    out = mem.core.take();
  }

  // Undo steps are made from what their siblings said, and attempts that are not held from their rows.
  std::vector<task_id> wanted;
  for (const auto& spec : out.created) wanted.push_back(spec.undo_of);
  {
    auto& mem = memory_of(self);
    for (const auto& m : out.messages)
      if (!m.recall && !mem.held.contains(m.task)) wanted.push_back(m.task);
  }
  records read;
  if (!wanted.empty()) {
    auto rows_read = system_turn::read<records>(self, [tenant_who, queue, wanted](auto& store) -> result<records> {
      records found;
      for (const auto id : wanted) {
        auto row = store.item(tenant_who, queue, spec_key(id));
        if (!row) return row.error();
        if (!*row) continue;
        if (auto r = decode_record(**row)) found.emplace(id, std::move(*r));
      }
      return found;
    });
    read = co_await rows_read;
  }

  auto& mem = memory_of(self);
  auto& core = mem.core;
  for (auto& spec : out.created) {
    task_record r;
    if (const auto sibling = read.find(spec.undo_of); sibling != read.end()) {
      r.agent = sibling->second.undo_agent.empty() ? sibling->second.agent : sibling->second.undo_agent;
      r.type = sibling->second.undo_type;
      r.body = sibling->second.undo_body;
      r.principal = sibling->second.principal;
    }
    r.spec = std::move(spec);
    mem.hold(r.spec.id, {r.type, r.body, r.principal, {}});
    mem.born.emplace(r.spec.id, std::move(r));
  }
  for (const auto& m : out.messages) {
    reply_address to{queue, m.attempt, 0, to_text(m.task)};
    if (m.recall && m.lent != 0) {
      system_turn::send_to(self, queue_of(queue.tenant(), m.lent - 1U), "task.recall", {token_of(to), content_type::text});
      continue;
    }
    if (m.recall) {
      system_turn::send_attempt(self, tenant_who, m.agent, true, {}, {}, std::move(to), {});
      continue;
    }
    auto work = mem.release(m.task);
    if (!work) {
      const auto row = read.find(m.task);
      if (row == read.end()) throw std::runtime_error("task " + to_text(m.task) + " has no row");
      work = queue_memory::work{row->second.type, std::move(row->second.body), row->second.principal, row->second.chain};
    }
    if (m.lent != 0) {
      send_lent(self, m, std::move(*work), std::move(to));
      continue;
    }
    const auto by = work->principal == self.caller().principal() ? self.caller() : system_turn::services(self).context_of(queue.tenant(), work->principal);
    system_turn::send_attempt(self, by, m.agent, false, std::move(work->type), std::move(work->body), std::move(to), std::move(work->chain));
  }

  const auto put_report = [&](task_id id, const task_status& status) {
    task_report r;
    r.status = status;
    r.agent = agent_name(mem, status.agent);
    if (const auto p = mem.progress.find(id); p != mem.progress.end()) r.progress = p->second;
    if (mem.result && mem.result->first == id && status.state == task_state::succeeded) r.result = std::move(mem.result->second);
    self.put_row(state_key(id), encode(r));
  };
  const auto put_born = [&](task_record& r, const task_status& status) {
    r.begun = status;
    self.put_row(spec_key(r.spec.id), encode(r));
    if (r.lent_by == task_id{}) emit(self, "queued", r.spec.id, event_data(r.spec.id, r.agent, status.shown(), nullptr, nullptr));
  };
  tell_partitions(self, out);
  for (const auto& [id, status] : out.ended) {
    const bool lent = mem.lent.erase(id) != 0;
    if (const auto born = mem.born.find(id); born != mem.born.end()) {
      put_born(born->second, {});
      mem.born.erase(born);
    }
    if (const auto waiter = mem.waiter_of(id)) {
      if (waiter->group) { // its tasks' results are read from their rows, once those are on disk
        system_turn::send_to(self, queue, "hive.task.answer", json_payload({{"id", to_text(id)}, {"token", waiter->token}}));
      } else if (lent && status.state != task_state::succeeded) { // as its agent said it: the other partition decides what follows
        hive::error why{errc::application, status.error.reason, status.error.message, status.error.field, {}};
        if (mem.failure && mem.failure->first == id) why = mem.failure->second;
        system_turn::finish_failed(self, waiter->token, why);
      } else if (status.state != task_state::succeeded) {
        self.finish_failed(waiter->token, status.error.reason, status.error.message);
      } else {
        payload answer{"null", content_type::json};
        if (mem.result && mem.result->first == id) answer = mem.result->second;
        self.finish(waiter->token, std::move(answer));
      }
    }
    if (lent && mem.result && mem.result->first == id) mem.result.reset(); // kept where the task is
    put_report(id, status);
    if (!lent) emit(self, to_string(status.state), id, event_data(id, agent_name(mem, status.agent), status.state, &status.error, nullptr));
    mem.release(id);
    mem.progress.erase(id);
    mem.ended_since += 1;
  }
  for (const auto id : out.changed) {
    const auto* t = core.find(id);
    if (!t || ended(t->state)) continue;
    if (const auto born = mem.born.find(id); born != mem.born.end()) {
      put_born(born->second, *t);
      if (!t->error.reason.empty() || t->ending != task_state::queued) put_report(id, *t);
      continue;
    }
    put_report(id, *t);
    if (t->state == task_state::waiting && !mem.lent.contains(id) && t->not_before != wall_time{})
      emit(self, "waiting", id, event_data(id, agent_name(mem, t->agent_of()), t->state, &t->error, nullptr));
  }
  for (const auto id : mem.told) {
    const auto* t = core.find(id);
    if (!t) continue;
    if (std::find(out.changed.begin(), out.changed.end(), id) == out.changed.end()) put_report(id, *t);
    emit(self, "progress", id, event_data(id, agent_name(mem, t->agent_of()), t->state, nullptr, &mem.progress[id]));
  }

  // The timer that wakes the queue: moved when something is due before it; one that fires too early does no harm.
  auto wake = core.next_wake();
  for (const auto& [name, s] : mem.schedules) wake = std::min(wake, s.fire_at);
  const bool begins_sweep = !mem.sweeping && !out.ended.empty();
  const bool may_move = wake != wall_time::max() || mem.ended_since >= 256 || begins_sweep;
  if (!may_move) co_return;
  auto state = self.state<queue_state>();
  bool moved = false;
  if (begins_sweep) {
    sweep_after(self, settings_.keep.tasks + std::chrono::milliseconds{1});
    mem.sweeping = state.sweeping = moved = true;
  }
  if (wake != wall_time::max() && (state.alarm.empty() || millis(wake) < state.alarm_at)) {
    if (!state.alarm.empty()) self.cancel_timer(state.alarm);
    const auto at = std::max(wake, now + std::chrono::milliseconds{1});
    payload nothing{"null", content_type::json};
    state.alarm = self.at(at, "hive.queue.wake", std::move(nothing));
    state.alarm_at = millis(at);
    moved = true;
  }
  if (moved || mem.ended_since >= 256) {
    mem.ended_since = 0;
    state.stragglers.clear();
    state.floor = core.next_id(now).value();
    for (const auto id : core.oldest(64)) {
      const auto* t = core.find(id);
      state.floor = id.value();
      if (t->group != fan_in::none || t->parent != task_id{} || state.stragglers.size() == 32) break;
      state.stragglers.push_back(id.value());
      state.floor = id.value() + 1;
    }
    self.set_state(state);
  }
}

/// Forgets tasks that ended longer ago than their retention, a page a turn. @param from where to go on, and whether some were
/// left: then it comes again, until the next end of a task begins it anew.
task<> queue_behaviour::sweep(turn& self, json from) const {
  constexpr std::size_t page = 200;
  const auto who = system_turn::host(self).of->who;
  const auto queue = system_turn::id(self);
  const auto after = task_id_from(from.value("after", "")).value_or(task_id{});
  auto page_read = system_turn::read<std::vector<stored_task>>(self, [who, queue, after](auto& store) { return list_tasks(store, who, queue, after, page); });
  const auto tasks = co_await page_read;
  auto& mem = memory_of(self);
  const auto oldest = self.now() - settings_.keep.tasks;
  bool more = tasks.size() == page;
  bool left = from.value("left", false);
  for (const auto& t : tasks) {
    if (t.record.spec.submitted > oldest) {
      more = false;
      left = true;
      break;
    }
    const auto& s = t.report.status;
    if (!ended(s.state) || s.ended > oldest || mem.core.find(t.record.spec.id)) {
      left = true;
      continue;
    }
    self.erase_row(spec_key(t.record.spec.id));
    self.erase_row(state_key(t.record.spec.id));
  }
  if (more) system_turn::send_to(self, queue, "hive.task.sweep", json_payload({{"after", to_text(tasks.back().record.spec.id)}, {"left", left}}));
  else if (left) sweep_after(self, std::max<std::chrono::milliseconds>(settings_.keep.tasks / 16, std::chrono::seconds{1}));
  else {
    auto state = self.state<queue_state>();
    mem.sweeping = state.sweeping = false;
    self.set_state(state);
  }
}

void queue_behaviour::sweep_after(turn& self, std::chrono::milliseconds wait) const {
  auto nothing = json_payload(json::object());
  self.at(self.now() + wait, "hive.task.sweep", std::move(nothing));
}

void add_system_behaviours(behaviour_registry& to, const behaviour_registry& agents, const config::settings& settings) {
  to.add("hive.tenant", std::make_unique<tenant_behaviour>(agents, settings));
  to.add("hive.system", std::make_unique<hive_behaviour>(agents, settings));
  to.add("hive.queue", std::make_unique<queue_behaviour>(settings));
  to.add("hive.context", std::make_unique<context_behaviour>(settings));
}

const char* system_behaviour_of(entity_id id) noexcept {
  switch (id.serial()) {
  case tenant_serial: return id.tenant() == system_tenant ? "hive.system" : "hive.tenant";
  case root_supervisor_serial: return "";
  default: return is_queue(id) ? "hive.queue" : nullptr;
  }
}

} // namespace hive::actors
