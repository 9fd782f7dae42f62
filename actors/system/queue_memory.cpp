#include "actors/system/queue_memory.hpp"

#include "actors/directory.hpp"
#include "actors/specs.hpp"

namespace hive::actors {

using namespace scheduling;

namespace {
constexpr std::uint64_t format = 1;
constexpr std::uint64_t held_max = 64 * 1024 * 1024; ///< Payloads that wait in memory for their first attempt.

queue_limits limits_of(const config::settings& s) {
  const auto& t = s.tasks;
  queue_limits l;
  l.breaker = {t.breaker_failures, t.breaker_open, t.breaker_open * 60};
  l.retry = {static_cast<double>(t.retry_burst), 0.1, static_cast<double>(t.retries_per_second)};
  l.tasks = t.live;
  l.concurrency = t.concurrency;
  l.pass_on = t.pass_on;
  return l;
}
} // namespace

std::string queue_state::encode() const {
  byte_writer out;
  out.varint(format).varint(floor).varint(stragglers.size());
  for (const auto id : stragglers) out.varint(id);
  out.text(alarm).varint(static_cast<std::uint64_t>(alarm_at)).varint(sweeping ? 1U : 0U);
  return out.take();
}

queue_state queue_state::decode(std::string_view bytes) {
  queue_state s;
  if (bytes.empty()) return s;
  byte_reader in(bytes);
  if (in.varint() != format) throw std::runtime_error("the stored state of a queue cannot be read");
  s.floor = in.varint();
  const auto n = in.varint();
  for (std::uint64_t i = 0; i < n && in.ok(); ++i) s.stragglers.push_back(in.varint());
  s.alarm = std::string(in.text());
  s.alarm_at = static_cast<std::int64_t>(in.varint());
  s.sweeping = in.varint() != 0;
  return s;
}

std::string queue_control::encode() const {
  auto list = nlohmann::json::object();
  for (const auto& [id, a] : agents) list[std::to_string(id)] = {{"paused", a.paused}, {"concurrency", a.concurrency}, {"name", a.name}};
  return nlohmann::json{{"paused", paused}, {"agents", std::move(list)}}.dump();
}

queue_control queue_control::decode(const std::string& text) {
  queue_control c;
  const auto j = nlohmann::json::parse(text);
  c.paused = j.value("paused", false);
  const auto& list = j.at("agents");
  for (const auto& [id, a] : list.items()) c.agents[std::stoull(id)] = {a.value("paused", false), a.value("concurrency", 0U), a.value("name", "")};
  return c;
}

std::string queue_owners::encode() const { return nlohmann::json{{"awaited", awaited}, {"told", told}, {"pause_set", pause_set}}.dump(); }

queue_owners queue_owners::decode(const std::string& text) {
  const auto j = nlohmann::json::parse(text);
  return {j.at("awaited").get<std::set<std::uint32_t>>(), j.at("told").get<std::set<std::uint32_t>>(), j.at("pause_set").get<bool>()};
}

result<std::vector<able_agent>> read_able(persistence::store_reader& store, tenant_context who) {
  constexpr std::size_t page = 1000;
  std::vector<able_agent> able;
  std::string after;
  for (;;) {
    auto rows = store.list(who, entity_kind::agent, after, page);
    if (!rows) return rows.error();
    for (const auto& row : *rows) {
      if (row.spec.find("\"capabilities\"") == std::string::npos) continue;
      auto spec = agent_spec_from(nlohmann::json::parse(row.spec, nullptr, false));
      if (!spec) continue;
      able_agent a{row.id, row.name, {}, spec->weight};
      for (const auto& c : spec->capabilities) a.can.push_back(capability_from(c));
      able.push_back(std::move(a));
    }
    if (rows->size() < page) return able;
    after = rows->back().name;
  }
}

namespace {

/// What other partitions and this one owe each other.
result<void> read_division(persistence::store_reader& store, tenant_context who, entity_id queue, queue_rows& found) {
  if (auto tenant = store.find_tenant(who.tenant())) found.partitions = queue_division::from_spec(std::string_view(tenant->spec)).partitions;
  else if (tenant.error().code != errc::not_found) return tenant.error();
  if (found.partitions == 1 && partition_of(queue) == 0) return {};
  auto owners = store.item(who, queue, "owners");
  if (!owners) return owners.error();
  if (*owners) found.owners = queue_owners::decode(**owners);
  auto counts = store.items(who, queue, "elsewhere/", "", 1'000'000);
  if (!counts) return counts.error();
  for (const auto& [key, text] : *counts) {
    const auto j = nlohmann::json::parse(text);
    found.begun_elsewhere.push_back({entity_id{std::stoull(key.substr(10))}, j.at("name"), j.at("tasks")});
  }
  auto watched = store.items(who, queue, "watch/", "", 1'000'000);
  if (!watched) return watched.error();
  for (const auto& [key, text] : *watched)
    if (const auto id = task_id_from(std::string_view(key).substr(6, 17))) found.watched.emplace_back(*id, static_cast<std::uint32_t>(std::stoul(key.substr(24))));
  return {};
}

} // namespace

result<queue_rows> read_queue(persistence::store_reader& store, tenant_context who, entity_id queue, const queue_state& state) {
  constexpr std::size_t page = 1000;
  queue_rows found;
  bool choosing = false;
  const auto keep = [&](stored_task&& t) {
    choosing = choosing || !t.record.spec.capability.empty();
    t.record.body = {}; // read again for its next attempt
    t.record.undo_body = {};
    found.tasks.push_back(std::move(t));
  };
  for (const auto id : state.stragglers) {
    auto t = read_task(store, who, queue, task_id{id});
    if (!t) return t.error();
    if (*t) keep(std::move(**t));
  }
  task_id after{state.floor == 0 ? 0 : state.floor - 1};
  for (;;) {
    auto some = list_tasks(store, who, queue, after, page);
    if (!some) return some.error();
    for (auto& t : *some) {
      after = t.record.spec.id;
      // Ended ones count as children of live groups, and above what is live.
      if (!ended(t.report.status.state) || t.record.spec.parent != task_id{}) keep(std::move(t));
      else if (t.record.spec.group == fan_in::none) found.outcome[t.record.spec.id] = t.report.status.state;
    }
    if (some->size() < page) break;
  }
  found.newest = after;
  std::unordered_map<task_id, task_id> here; // and its parent
  std::vector<task_id> above;
  for (const auto& t : found.tasks) {
    here[t.record.spec.id] = t.record.spec.parent;
    if (!ended(t.report.status.state)) above.push_back(t.record.spec.parent);
  }
  for (std::unordered_set<task_id> seen{task_id{}}; !above.empty();) {
    const auto id = above.back();
    above.pop_back();
    if (!seen.insert(id).second) continue;
    if (const auto known = here.find(id); known != here.end()) {
      above.push_back(known->second);
      continue;
    }
    auto t = read_task(store, who, queue, id);
    if (!t) return t.error();
    if (!*t) continue;
    above.push_back((*t)->record.spec.parent);
    here[id] = (*t)->record.spec.parent;
    keep(std::move(**t));
  }
  for (const auto& t : found.tasks)
    for (const auto& n : t.record.spec.needs) {
      if (here.contains(n.on) || found.outcome.contains(n.on)) continue;
      auto other = read_task(store, who, queue_of(queue.tenant(), n.on), n.on);
      if (!other) return other.error();
      if (!*other) continue;
      const auto there = (*other)->report.status.state;
      found.outcome[n.on] = there;
      if (!ended(there) && queue_of(queue.tenant(), n.on) != queue) found.foreign.push_back(n.on);
    }
  if (choosing) {
    auto able = read_able(store, who);
    if (!able) return able.error();
    found.able = std::move(*able);
    found.able_read = true;
  }
  // Whoever has an attempt that a capability chose is not named in the task's first row.
  for (auto& t : found.tasks)
    if (t.report.status.agent && t.report.agent.empty())
      if (auto row = store.find(who, t.report.status.agent)) t.report.agent = row->name;
  if (auto ok = read_division(store, who, queue, found); !ok) return ok.error();
  auto control = store.item(who, queue, "control");
  if (!control) return control.error();
  if (*control) found.control = queue_control::decode(**control);
  auto schedules = store.items(who, queue, "schedule/", "", 100'000);
  if (!schedules) return schedules.error();
  found.schedules = std::move(*schedules);
  return found;
}

queue_memory::queue_memory(const config::settings& settings, wall_time now) : core(limits_of(settings), now) {}

void queue_memory::hold(task_id id, work w) {
  if (held_bytes + w.body.bytes.size() > held_max) return;
  held_bytes += w.body.bytes.size();
  held[id] = std::move(w);
}

std::optional<queue_memory::work> queue_memory::release(task_id id) {
  const auto found = held.find(id);
  if (found == held.end()) return std::nullopt;
  auto w = std::move(found->second);
  held.erase(found);
  held_bytes -= w.body.bytes.size();
  return w;
}

void queue_memory::wait_for(task_id id, waiter w) {
  waited[w.token] = id;
  waiters[id] = std::move(w);
}

std::optional<queue_memory::waiter> queue_memory::waiter_of(task_id id) {
  const auto found = waiters.find(id);
  if (found == waiters.end()) return std::nullopt;
  auto w = std::move(found->second);
  waiters.erase(found);
  waited.erase(w.token);
  return w;
}

} // namespace hive::actors
