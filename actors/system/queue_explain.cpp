#include "actors/system/queue_explain.hpp"

#include "actors/directory.hpp"

namespace hive::actors {

using nlohmann::json;
using namespace scheduling;

namespace {

constexpr std::size_t agents_shown = 20;
constexpr std::size_t tasks_named = 20;
constexpr std::size_t schedules_named = 20;
constexpr std::size_t positions_max = 100'000; ///< Tasks of a queue that says how many go before one: they are counted.

json because(std::string what) { return json{{"for", std::move(what)}}; }

json breaker_of(const agent_entry& a) {
  const bool open = a.breaker.now_is() == circuit_breaker::state::open;
  json b{{"state", open ? "open" : "half open"}, {"error_rate", a.breaker.error_rate()}};
  if (open) b["until"] = millis(a.breaker.until());
  return b;
}

/// Of a queued task that names its agent.
json wait_for_agent(const agent_entry& a, wall_time now) {
  const std::string address = "agent/" + a.name;
  if (a.paused) return because(address + ", to which this queue is paused; `hivectl queue resume " + a.name + "` goes on");
  if (!a.breaker.allows(now)) {
    auto wait = because("the circuit breaker of " + address + ", which failed too often in a row");
    wait["breaker"] = breaker_of(a);
    return wait;
  }
  if (a.in_flight >= a.concurrency)
    return because(address + ", which has " + std::to_string(a.in_flight) + " of the " + std::to_string(a.concurrency) +
                   " tasks that it may have at a time; `hivectl queue limit " + a.name + " N` changes that");
  return because("its turn at " + address);
}

/// Of a queued task that names a capability.
json wait_for_able(const task_queue& queue, const task_entry& t, wall_time now) {
  std::size_t able = 0, paused = 0, broken = 0, busy = 0;
  for (const auto& [id, a] : queue.agents()) {
    const bool can = std::any_of(a.can.begin(), a.can.end(), [&](const capability& c) { return c.name == t.capability && c.up_to >= t.complexity; });
    if (!can) continue;
    ++able;
    if (a.paused) ++paused;
    else if (!a.breaker.allows(now)) ++broken;
    else if (a.in_flight >= a.concurrency) ++busy;
  }
  auto wait = because(able == 0 ? "an agent with the capability \"" + t.capability + "\" up to complexity " + std::to_string(t.complexity) + ": there is none"
                                : "an agent with the capability \"" + t.capability + "\" that is free");
  wait["able"] = able;
  wait["paused"] = paused;
  wait["breaker_open"] = broken;
  wait["busy"] = busy;
  return wait;
}

json name_some(const std::vector<task_id>& ids) {
  json list = json::array();
  for (std::size_t i = 0; i < ids.size() && i < tasks_named; ++i) list.push_back(to_text(ids[i]));
  return list;
}

json waits_of(const task_queue& queue, const task_entry& t, wall_time now) {
  if (t.ending != task_state::queued) return because(std::string("the end of what is under way of it: it is being ended as ") + to_string(t.ending));
  if (t.group != fan_in::none && t.state == task_state::running) {
    std::vector<task_id> open;
    for (const auto id : t.children)
      if (const auto* child = queue.find(id); child && !ended(child->state)) open.push_back(id);
    auto wait = because(std::to_string(t.open) + " of its tasks, which have not ended");
    wait["tasks"] = name_some(open);
    return wait;
  }
  const auto* a = t.agent_of() && queue.agents().contains(t.agent_of()) ? &queue.agents().at(t.agent_of()) : nullptr;
  if (t.lent != 0 && t.held_up) return because("its agent, in another partition of the queue: `hivectl explain queue/" + queue_name(t.lent - 1U) + "` tells of that");
  if (t.leaving) return because("its way to the partition of the queue that its agent belongs to");
  if (t.state == task_state::running) return because(a ? "the answer of agent/" + a->name : std::string("the answer of its agent"));
  if (t.state == task_state::waiting && t.not_before != wall_time{}) {
    auto wait = because("its next attempt, after its backoff and when the queue's budget for retries allows");
    wait["until"] = millis(t.not_before);
    return wait;
  }
  if (t.state == task_state::waiting) {
    std::vector<task_id> open;
    for (const auto& need : t.needs)
      if (const auto* other = queue.find(need.on); other && !ended(other->state)) open.push_back(need.on);
    auto wait = because("tasks that must succeed first");
    wait["tasks"] = name_some(open);
    return wait;
  }
  if (queue.is_arriving()) return because("the partitions of the queue that had its agents, which have not said yet what those still do");
  if (queue.paused()) return because("the queue, which is paused; `hivectl queue resume` goes on");
  if (!t.task_spec::agent) return wait_for_able(queue, t, now);
  const auto named = queue.agents().find(t.task_spec::agent);
  return named == queue.agents().end() ? because("its agent") : wait_for_agent(named->second, now);
}

} // namespace

json explain_queue(const queue_memory& queue, wall_time now) {
  std::vector<const agent_entry*> busiest;
  std::size_t at_agents = 0, queued = 0;
  for (const auto& [id, a] : queue.core.agents()) {
    at_agents += a.in_flight;
    queued += a.ready.size();
    if (a.partition != queue.core.self()) continue;
    if (a.in_flight != 0 || !a.ready.empty() || a.paused || !a.breaker.allows(now)) busiest.push_back(&a);
  }
  const auto shown = std::min(agents_shown, busiest.size());
  std::partial_sort(busiest.begin(), busiest.begin() + static_cast<std::ptrdiff_t>(shown), busiest.end(), [](const auto* a, const auto* b) {
    return std::pair(a->ready.size() + a->in_flight, b->name) > std::pair(b->ready.size() + b->in_flight, a->name);
  });
  json agents = json::array();
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& a = *busiest[i];
    json one{{"agent", a.name}, {"tasks", a.in_flight}, {"concurrency", a.concurrency}, {"queued", a.ready.size()}};
    if (a.paused) one["paused"] = true;
    if (a.breaker.now_is() != circuit_breaker::state::closed) one["breaker"] = breaker_of(a);
    agents.push_back(std::move(one));
  }
  json failing = json::array(); // whose last task was refused
  for (auto s = queue.schedules.begin(); s != queue.schedules.end() && failing.size() < schedules_named; ++s)
    if (s->second.failing()) failing.push_back({{"schedule", s->first}, {"failed", s->second.failed}, {"error", s->second.last_error.message}});
  return {{"partition", queue.core.self()}, {"partitions", queue.core.parts()}, {"lent_by_others", queue.lent.size()}, {"paused", queue.core.paused()}, {"tasks", queue.core.size()}, {"tasks_at_agents", at_agents}, {"tasks_queued_for_named_agents", queued},
          {"schedules", queue.schedules.size()}, {"schedules_failing", std::move(failing)}, {"agents", std::move(agents)}};
}

json explain_task(const queue_memory& queue, task_id id, wall_time now, entity_id& agent) {
  const auto* t = queue.core.find(id);
  if (!t || ended(t->state)) return nullptr;
  agent = t->agent_of() ? t->agent_of() : t->task_spec::agent;
  json e{{"waits", waits_of(queue.core, *t, now)}};
  if (const auto at = queue.core.agents().find(agent); at != queue.core.agents().end()) e["agent"] = at->second.name;
  if (t->state != task_state::queued) return e;
  if (queue.core.size() > positions_max) e["tasks_in_queue"] = queue.core.size();
  else if (const auto before = queue.core.position(id)) e["position"] = *before + 1;
  return e;
}

} // namespace hive::actors
