// How the partitions of a tenant's queue work together. All of it is durable messages from one to another, each taken once
// and in order:
//
// | message            | from, to                                        | says |
// |--------------------|-------------------------------------------------|------|
// | hive.queue.grow    | the hive, to those that were there              | how many there are now |
// | hive.queue.claim   | a new one, to each before it                    | give up the agents that are mine now |
// | hive.queue.yield   | the answer                                      | what they still do for it, and what people set; it begins when all have said so |
// | hive.queue.freed   | their former one, to an agent's                 | an attempt of it ended there |
// | hive.task.lend     | a task's, to its agent's                        | one attempt; answered as by an agent (hive.task.done, hive.task.progress), taken back by task.recall |
// | hive.task.placed   | the agent's, to the task's                      | who has the attempt, or that it waits |
// | hive.queue.offer   | one whose tasks wait, to those with able agents | how many wait for a capability |
// | hive.queue.spare   | the answer, if there are any                    | how many could begin now |
// | hive.task.watch    | a task's, to that of one that it depends on     | tell me its end |
// | hive.task.watched  | the answer                                      | how it ended |
#include "actors/directory.hpp"
#include "actors/system/queue_behaviour.hpp"

namespace hive::actors {

using namespace scheduling;

namespace {

/// Agents in one message.
constexpr std::size_t agents_told_at_once = 1'000;

entity_id partition(turn& self, std::uint32_t p) { return queue_of(system_turn::id(self).tenant(), p); }
void tell(turn& self, std::uint32_t to, std::string type, const json& body) {
  system_turn::send_to(self, partition(self, to), std::move(type), json_payload(body));
}
std::string elsewhere_key(entity_id agent) { return "elsewhere/" + std::to_string(agent.bits()); }
std::string watch_key(task_id id, std::uint32_t by) { return "watch/" + to_text(id) + "/" + std::to_string(by); }

void put_elsewhere(turn& self, const agent_entry& a) {
  if (a.elsewhere == 0) self.erase_row(elsewhere_key(a.id));
  else self.put_row(elsewhere_key(a.id), json{{"name", a.name}, {"tasks", a.elsewhere}}.dump());
}

} // namespace

/// @returns whether it is a message between partitions.
task<bool> queue_behaviour::handle_partition(turn& self, const message& m) const {
  auto& core = memory_of(self).core;
  const auto now = self.now();
  auto& chance = self.random();
  if (m.type == "hive.task.lend") co_await borrow(self, m.body);
  else if (m.type == "hive.task.placed") placed(self, m.parse());
  else if (m.type == "hive.queue.offer") {
    const auto body = m.parse();
    const auto name = body.at("capability").get<std::string>();
    if (!memory_of(self).able_known) co_await know_able(self);
    const auto places = core.spare(name, body.at("waiting").get<by_complexity>());
    if (places != by_complexity{}) tell(self, body.at("from"), "hive.queue.spare", {{"from", core.self()}, {"capability", name}, {"places", places}});
  } else if (m.type == "hive.queue.spare") {
    const auto body = m.parse();
    core.lend(body.at("capability"), body.at("places").get<by_complexity>(), body.at("from"), now);
  } else if (m.type == "hive.queue.grow") core.divide(core.self(), m.parse().at("partitions"), now, chance);
  else if (m.type == "hive.queue.claim") give_up(self, m.parse());
  else if (m.type == "hive.queue.yield") co_await take_over(self, m.parse());
  else if (m.type == "hive.queue.freed") freed(self, m.parse());
  else if (m.type == "hive.task.watch") co_await watch(self, m.parse());
  else if (m.type == "hive.task.watched") {
    const auto body = m.parse();
    if (const auto id = task_id_from(body.at("id").get<std::string>())) core.foreign_ended(*id, body.at("succeeded"), now, chance);
  } else co_return false;
  co_return true;
}

// -- agents change hands

/// Its first turn: the partitions before it have had its agents.
void queue_behaviour::claim(turn& self) const {
  auto& mem = memory_of(self);
  mem.claims = false;
  for (const auto p : mem.owners.awaited) tell(self, p, "hive.queue.claim", {{"from", mem.core.self()}, {"partitions", mem.core.parts()}});
  self.put_row("owners", mem.owners.encode());
}

/// Its agents are given no work here from this turn on. What is under way is counted there until it ends.
void queue_behaviour::give_up(turn& self, const json& body) const {
  auto& mem = memory_of(self);
  auto& core = mem.core;
  const auto to = body.at("from").get<std::uint32_t>();
  core.divide(core.self(), body.at("partitions"), self.now(), self.random());
  mem.owners.told.insert(to);
  self.put_row("owners", mem.owners.encode());
  json agents = json::object();
  const auto say = [&](bool more) {
    tell(self, to, "hive.queue.yield", {{"from", core.self()}, {"partitions", core.parts()}, {"paused", mem.control.paused}, {"agents", std::exchange(agents, json::object())}, {"more", more}});
  };
  bool control_changed = false;
  for (const auto& [id, a] : core.agents()) {
    const auto tasks = a.in_flight - a.elsewhere;
    const auto set = mem.control.agents.find(id.bits());
    if (a.partition != to || (tasks == 0 && set == mem.control.agents.end())) continue;
    json one{{"name", a.name}, {"tasks", tasks}};
    if (set != mem.control.agents.end()) {
      one["paused"] = set->second.paused;
      one["concurrency"] = set->second.concurrency;
      mem.control.agents.erase(set);
      control_changed = true;
    }
    agents[std::to_string(id.bits())] = std::move(one);
    if (agents.size() == agents_told_at_once) say(true);
  }
  if (control_changed) self.put_row("control", mem.control.encode());
  say(false);
}

task<> queue_behaviour::take_over(turn& self, json body) const {
  auto& mem = memory_of(self);
  auto& core = mem.core;
  const auto now = self.now();
  auto& chance = self.random();
  core.divide(core.self(), body.at("partitions"), now, chance); // what goes further on than to here was not counted for it
  bool control_changed = false;
  const auto& agents = body.at("agents");
  for (const auto& [bits, given] : agents.items()) {
    const entity_id id{std::stoull(bits)};
    const auto& a = core.agent(id, given.at("name").get<std::string>());
    if (const auto tasks = given.at("tasks").get<std::uint32_t>(); tasks != 0) {
      core.began_elsewhere(id, tasks);
      put_elsewhere(self, a);
    }
    if (!given.contains("paused")) continue;
    auto& set = mem.control.agents[id.bits()];
    set = {given.at("paused"), given.at("concurrency"), a.name};
    if (set.concurrency != 0) core.agent(id, a.name).concurrency = set.concurrency;
    core.pause_agent(id, set.paused, now, chance);
    control_changed = true;
  }
  const auto from = body.at("from").get<std::uint32_t>();
  if (from == 0 && !mem.owners.pause_set && body.at("paused") != mem.control.paused) {
    mem.control.paused = body.at("paused");
    core.pause(mem.control.paused, now, chance);
    control_changed = true;
  }
  if (control_changed) self.put_row("control", mem.control.encode());
  if (body.at("more") == true) co_return;
  if (from == 0 && mem.able_known) { // from here on it tells of changes; one may have come in between
    std::vector<std::pair<entity_id, std::string>> known;
    for (const auto& [id, a] : core.agents())
      if (!a.can.empty()) known.emplace_back(id, a.name);
    for (const auto& [id, name] : known) core.describe_agent(id, name, {}, 1, now, chance);
    co_await know_able(self);
  }
  auto& after = memory_of(self);
  after.owners.awaited.erase(from);
  self.put_row("owners", after.owners.encode());
  if (after.owners.awaited.empty()) after.core.arriving(false, now, chance);
}

void queue_behaviour::freed(turn& self, const json& body) const {
  auto& core = memory_of(self).core;
  for (const auto& [bits, n] : body.at("agents").items()) {
    const entity_id id{std::stoull(bits)};
    core.ended_elsewhere(id, n.get<std::uint32_t>(), self.now(), self.random());
    if (const auto* a = core.find_agent(id)) put_elsewhere(self, *a);
  }
}

// -- attempts for tasks of another partition

void queue_behaviour::send_lent(turn& self, const queue_effects::assignment& m, queue_memory::work&& work, reply_address to) const {
  auto& mem = memory_of(self);
  const auto* t = mem.core.find(m.task);
  const auto* agent = t->task_spec::agent ? mem.core.find_agent(t->task_spec::agent) : nullptr;
  task_record r;
  r.spec.id = m.task;
  r.spec.agent = t->task_spec::agent;
  r.spec.capability = t->capability;
  r.spec.complexity = t->complexity;
  r.spec.priority = t->priority;
  r.spec.submitted = t->submitted; // its place in line is that of its task
  if (agent) r.agent = agent->name;
  r.type = std::move(work.type);
  r.body = std::move(work.body);
  r.principal = std::move(work.principal);
  r.chain = std::move(work.chain);
  const auto origin = mem.lent.find(m.task);
  r.lent_by = origin == mem.lent.end() ? m.task : origin->second;
  system_turn::send_to(self, partition(self, m.lent - 1U), "hive.task.lend", {encode(r), content_type::binary}, std::move(to));
}

/// Never refused: the partition that has the task bounds them.
task<> queue_behaviour::borrow(turn& self, payload body) const {
  auto record = decode_record(body.bytes);
  if (!record) throw bad_message("", "the lent task cannot be read");
  auto token = system_turn::defer_reply(self);
  if (!record->spec.capability.empty() && !memory_of(self).able_known) co_await know_able(self);
  auto& mem = memory_of(self);
  auto& r = *record;
  r.spec.id = mem.core.next_id(self.now());
  if (r.spec.agent) mem.core.agent(r.spec.agent, r.agent);
  r.waiter = token;
  mem.wait_for(r.spec.id, {std::move(token), false});
  mem.lent.emplace(r.spec.id, r.lent_by);
  mem.hold(r.spec.id, {r.type, r.body, r.principal, r.chain});
  auto spec = r.spec;
  mem.born.emplace(spec.id, std::move(r));
  mem.core.submit(std::move(spec), self.now(), self.random());
}

void queue_behaviour::placed(turn& self, const json& body) const {
  auto& core = memory_of(self).core;
  const auto id = task_id_from(body.at("task").get<std::string>());
  if (!id) return;
  const entity_id agent{body.at("agent").get<std::uint64_t>()};
  if (agent) core.agent(agent, body.at("name").get<std::string>());
  core.placed(*id, body.at("attempt"), agent, body.at("waits"), self.now());
}

// -- dependencies

task<> queue_behaviour::watch(turn& self, json body) const {
  const auto text = body.at("id").get<std::string>();
  const auto by = body.at("from").get<std::uint32_t>();
  const auto id = task_id_from(text);
  if (!id) co_return;
  auto& mem = memory_of(self);
  if (const auto* t = mem.core.find(*id); t && !ended(t->state)) {
    mem.watched[*id].insert(by);
    self.put_row(watch_key(*id, by), "");
    co_return;
  }
  const auto who = system_turn::host(self).of->who;
  const auto queue = system_turn::id(self);
  using maybe = std::optional<stored_task>;
  auto task_read = system_turn::read<maybe>(self, [who, queue, wanted = *id](auto& store) { return read_task(store, who, queue, wanted); });
  const auto found = co_await task_read;
  tell(self, by, "hive.task.watched", {{"id", text}, {"succeeded", found && found->report.status.state == task_state::succeeded}});
}

// -- what a turn leaves

void queue_behaviour::tell_partitions(turn& self, const queue_effects& out) const {
  auto& mem = memory_of(self);
  if (mem.core.parts() == 1) return;
  if (mem.claims) claim(self);
  for (const auto id : std::exchange(mem.watches, {})) tell(self, scheduling::partition_of(id), "hive.task.watch", {{"id", to_text(id)}, {"from", mem.core.self()}});
  for (const auto& o : out.offers) tell(self, o.partition, "hive.queue.offer", {{"from", mem.core.self()}, {"capability", o.capability}, {"waiting", o.waiting}});
  std::map<std::uint32_t, json> free;
  for (const auto id : out.freed) {
    const auto owner = mem.core.find_agent(id)->partition;
    if (!mem.owners.told.contains(owner)) continue; // it hears of what is left when it asks
    auto& count = free[owner]["agents"][std::to_string(id.bits())];
    count = count.is_null() ? 1U : count.get<std::uint32_t>() + 1;
  }
  for (const auto& [owner, body] : free) tell(self, owner, "hive.queue.freed", body);
  for (const auto& [id, status] : out.ended)
    if (const auto watched = mem.watched.find(id); watched != mem.watched.end()) {
      for (const auto by : watched->second) {
        tell(self, by, "hive.task.watched", {{"id", to_text(id)}, {"succeeded", status.state == task_state::succeeded}});
        self.erase_row(watch_key(id, by));
      }
      mem.watched.erase(watched);
    }
  // Whoever lent an attempt by name hears nothing when it begins at once: that is what it takes for granted.
  for (const auto id : out.changed) {
    const auto* t = mem.lent.contains(id) ? mem.core.find(id) : nullptr;
    if (!t || ended(t->state) || t->ending != task_state::queued) continue;
    const bool waits = t->shown() != task_state::running;
    if (mem.born.contains(id) && !waits && t->task_spec::agent) continue;
    const auto to = system_turn::address_of(mem.waiters.at(id).token);
    const auto agent = t->agent_of();
    const auto* known = agent ? mem.core.find_agent(agent) : nullptr;
    system_turn::send_to(self, to.asker, "hive.task.placed",
                         json_payload({{"task", to.task}, {"attempt", to.turn}, {"agent", agent.bits()}, {"name", known ? known->name : ""}, {"waits", waits}}));
  }
}

} // namespace hive::actors
