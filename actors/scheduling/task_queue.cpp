#include "actors/scheduling/task_queue.hpp"

#include "actors/scheduling/task_rows.hpp"

#include <utility>

namespace hive::actors::scheduling {
namespace {

/// A waiting task gains on one of the next higher priority by this: after four of these it goes before any new one.
constexpr std::int64_t ageing_millis = 10'000;
/// Lent at a time: the rest follows in the next turns.
constexpr std::size_t lent_at_once = 256;

std::chrono::milliseconds backoff_of(const retry_policy& p, std::uint32_t attempt, random_source& chance) {
  auto wait = p.backoff * (std::int64_t{1} << std::min(attempt - 1, 20U));
  wait = std::min(wait, p.backoff_max);
  const auto half = static_cast<std::uint64_t>(wait.count() / 2);
  return wait - std::chrono::milliseconds{half} + std::chrono::milliseconds{chance.below(half + 1)};
}

} // namespace

const char* to_string(task_state s) noexcept {
  switch (s) {
  case task_state::queued: return "queued";
  case task_state::running: return "running";
  case task_state::succeeded: return "succeeded";
  case task_state::failed: return "failed";
  case task_state::cancelled: return "cancelled";
  case task_state::waiting: return "waiting";
  case task_state::dead: return "dead";
  }
  return "unknown";
}

/// Ageing at a steady rate never changes the order of two tasks: it is a number that stays.
std::int64_t task_entry::rank() const noexcept { return submitted.time_since_epoch().count() + priority * ageing_millis; }

task_id task_queue::next_id(wall_time now) noexcept {
  last_id_ = next_task_id(last_id_, self_, now);
  return task_id{last_id_};
}

const task_entry* task_queue::find(task_id id) const {
  const auto found = tasks_.find(id);
  return found == tasks_.end() ? nullptr : &found->second;
}

task_entry* task_queue::entry(task_id id) {
  const auto found = tasks_.find(id);
  return found == tasks_.end() ? nullptr : &found->second;
}

task_entry* task_queue::live(task_id id) {
  auto* t = entry(id);
  return t && !ended(t->state) ? t : nullptr;
}

// -- agents

agent_entry& task_queue::agent(entity_id id, std::string_view name) {
  auto [at, made] = agents_.try_emplace(id);
  if (made) {
    at->second.id = id;
    at->second.concurrency = limits_.concurrency;
    at->second.retries = retry_budget(limits_.retry);
    at->second.retries.share(parts_);
    at->second.partition = self_; // until its name is known
  }
  if (at->second.name.empty() && !name.empty()) {
    at->second.name = name;
    place(at->second);
  }
  return at->second;
}

agent_entry* task_queue::find_agent(entity_id id) {
  const auto found = agents_.find(id);
  return found == agents_.end() ? nullptr : &found->second;
}

void task_queue::describe_agent(entity_id id, std::string_view name, std::vector<capability> can, std::uint32_t weight, wall_time now, random_source& chance) {
  auto& a = agent(id, name);
  a.weight = std::max(1U, weight);
  std::sort(can.begin(), can.end(), [](const auto& x, const auto& y) { return std::pair(x.name, -x.up_to) < std::pair(y.name, -y.up_to); });
  can.erase(std::unique(can.begin(), can.end(), [](const auto& x, const auto& y) { return x.name == y.name; }), can.end());
  if (a.can != can) {
    count_able(a, -1);
    if (a.partition == self_) choice_.describe(a, std::move(can));
    else a.can = std::move(can);
    count_able(a, 1);
    if (a.partition != self_) offer_at_ = std::min(offer_at_, now); // tasks that wait here may be for it
  }
  pump(a, now, chance);
}

bool task_queue::can_take(const agent_entry& a, wall_time now) const noexcept {
  return !paused_ && !arriving_ && a.partition == self_ && !a.paused && a.in_flight < a.concurrency && a.breaker.allows(now);
}

/// Gives the agent work while it can take some: the best of what names it and of what it is able to do.
void task_queue::pump(agent_entry& a, wall_time now, random_source&) {
  while (can_take(a, now)) {
    const ready_set* best = a.ready.empty() ? nullptr : &a.ready;
    for (std::size_t i = 0; i < a.can.size(); ++i) {
      auto& pool = *a.places[i].pool;
      if (pool.waiting == 0) continue;
      for (std::uint8_t level = 0; level <= a.can[i].up_to; ++level)
        if (const auto& line = pool.ready[level]; !line.empty() && (!best || *line.begin() < *best->begin())) best = &line;
    }
    if (!best) break;
    assign(a, tasks_.at(best->begin()->second), now);
  }
  relist(a, now);
  if (a.breaker.now_is() == circuit_breaker::state::open && a.breaker.until() > now) breakers_.emplace(a.breaker.until(), a.id);
}

void task_queue::pump_all(wall_time now, random_source& chance) {
  for (auto& [id, a] : agents_) pump(a, now, chance);
}

void task_queue::assign(agent_entry& a, task_entry& t, wall_time now) {
  leave_line(t);
  t.state = task_state::running;
  t.attempt += 1;
  t.task_status::agent = a.id;
  t.not_before = {};
  if (t.started == wall_time{}) t.started = now;
  if (t.attempt == 1) a.retries.first_attempt();
  a.in_flight += 1;
  a.breaker.started(now);
  out_.messages.push_back({t.id, a.id, t.attempt, false});
  changed(t);
}

ready_set& task_queue::line_of(const task_entry& t) {
  if (t.leaving) return leaving_;
  if (t.task_spec::agent) return agents_.at(t.task_spec::agent).ready;
  return choice_.pool(t.capability).ready[t.complexity];
}

void task_queue::leave_line(task_entry& t) {
  if (t.state == task_state::waiting) delayed_.erase({t.not_before, t.id});
  if (t.state != task_state::queued) return;
  const auto gone = line_of(t).erase({t.rank(), t.id});
  if (!t.task_spec::agent && !t.leaving) choice_.pool(t.capability).waiting -= gone;
  t.leaving = false;
}

/// Nothing is in its way any more but that an agent be free.
void task_queue::make_ready(task_entry& t, wall_time now, random_source& chance) {
  t.state = task_state::queued;
  changed(t);
  if (borrower(t) != self_) {
    t.leaving = true;
    leaving_.emplace(t.rank(), t.id);
    return;
  }
  line_of(t).emplace(t.rank(), t.id);
  if (t.task_spec::agent) return pump(agents_.at(t.task_spec::agent), now, chance);
  choice_.pool(t.capability).waiting += 1;
  while (t.state == task_state::queued) {
    auto* a = choice_.choose(t.capability, t.complexity, chance);
    if (!a) {
      if (parts_ > 1) offer_at_ = std::min(offer_at_, now + limits_.pass_on);
      return;
    }
    pump(*a, now, chance);
    if (t.state == task_state::queued && a->listed) return;
  }
}

// -- tasks

void task_queue::submit(task_spec spec, wall_time now, random_source& chance) {
  const auto id = spec.id;
  auto& t = tasks_[id];
  order_.insert(id);
  static_cast<task_spec&>(t) = std::move(spec);
  if (t.deadline != wall_time::max()) deadlines_.emplace(t.deadline, id);
  for (const auto& d : t.needs)
    if (auto* on = live(d.on)) {
      on->dependents.push_back(id);
      t.unmet += 1;
    }
  t.state = task_state::waiting;
  changed(t);
  if (t.parent != task_id{}) {
    auto* parent = entry(t.parent);
    if (parent) {
      parent->children.push_back(id);
      parent->open += 1;
    }
    if (!parent || ended(parent->state) || parent->ending != task_state::queued) {
      begin_ending(t, task_state::cancelled, {"parent_ended", "the task that it belongs to has ended", {}}, now);
      return settle(now, chance);
    }
  }
  if (t.group != fan_in::none) t.state = task_state::running; // until its children end
  else if (t.unmet == 0) make_ready(t, now, chance);
  settle(now, chance);
}

namespace {
void remember_attempt(task_status& t, const agent_entry* by, wall_time now) {
  if (t.past.size() == past_attempts_max) t.past.erase(t.past.begin());
  auto error = t.error;
  if (auto n = past_message_max; error.message.size() > n) {
    while (n != 0 && (static_cast<unsigned char>(error.message[n]) & 0xC0U) == 0x80U) --n; // not within a character
    error.message.resize(n);
  }
  t.past.push_back({t.attempt, by ? by->name : std::string{}, now, std::move(error)});
}
} // namespace

bool task_queue::answer(task_id id, std::uint32_t attempt, const verdict& v, wall_time now, random_source& chance) {
  auto* t = live(id);
  if (!t || t->state != task_state::running || t->attempt != attempt || t->group != fan_in::none) return false;
  agent_entry* a = t->lent == 0 ? &agents_.at(t->task_status::agent) : nullptr;
  if (a) {
    a->in_flight -= 1;
    switch (v.what) {
    case verdict::kind::succeeded: a->breaker.succeeded(); break;
    case verdict::kind::failed:
      if (v.final) a->breaker.dropped(now); // the task's fault, not the agent's
      else a->breaker.failed(limits_.breaker, now, chance);
      break;
    case verdict::kind::cancelled: a->breaker.dropped(now); break;
    case verdict::kind::refused: a->breaker.refused(limits_.breaker, now, chance); break;
    }
    if (a->partition != self_) out_.freed.push_back(a->id);
  }
  t->lent = 0;
  t->held_up = false;
  t->state = task_state::waiting;
  changed(*t);
  if (v.what == verdict::kind::succeeded) {
    t->error = {};
    end(*t, task_state::succeeded, now);
  } else if (t->ending != task_state::queued) {
    if (!t->busy()) end(*t, t->ending, now);
  } else if (v.what == verdict::kind::refused && !t->task_spec::agent) {
    t->error = v.error;
    t->refused += 1;
    remember_attempt(*t, find_agent(t->task_status::agent), now);
    if (a) relist(*a, now);
    make_ready(*t, now, chance);
  } else {
    t->error = v.error;
    const auto tried = t->attempt - t->refused;
    const bool again = v.what != verdict::kind::cancelled && !v.final && tried < t->retry.attempts;
    if (again) {
      remember_attempt(*t, find_agent(t->task_status::agent), now);
      t->not_before = now + backoff_of(t->retry, tried, chance) + (a ? a->retries : lent_retries_).take(now);
      delayed_.emplace(t->not_before, id);
    } else end(*t, t->retry.attempts > 1 && !v.final ? task_state::dead : task_state::failed, now);
  }
  settle(now, chance);
  if (a) pump(*a, now, chance);
  return true;
}

/// Everything of it ends as `as`: at once what has not begun, by its agent's acknowledgement what has.
void task_queue::begin_ending(task_entry& t, task_state as, task_error why, wall_time now) {
  std::vector<task_entry*> all{&t};
  const auto add_children = [&](const task_entry& of, bool only_live) {
    for (const auto child : of.children)
      if (auto* c = entry(child); c && (!only_live || !ended(c->state))) all.push_back(c);
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto& one = *all[i];
    if (ended(one.state)) {
      add_children(one, false);
      continue;
    }
    if (one.ending != task_state::queued) continue;
    one.ending = i == 0 ? as : task_state::cancelled;
    one.error = i == 0 ? why : task_error{"parent_ended", "the task that it belongs to ended", {}};
    changed(one);
    add_children(one, as == task_state::succeeded && i == 0);
    if (one.state == task_state::running && one.group == fan_in::none) {
      out_.messages.push_back({one.id, one.task_status::agent, one.attempt, true, one.lent});
      continue;
    }
    leave_line(one);
    one.state = one.group == fan_in::none ? task_state::waiting : task_state::running;
    one.not_before = {};
    if (one.busy()) continue;
    if (one.group == fan_in::none) end(one, one.ending, now);
    else finish_group(one, now);
  }
}

bool task_queue::cancel(task_id id, wall_time now, random_source& chance) {
  auto* t = live(id);
  if (!t) return false;
  begin_ending(*t, task_state::cancelled, {"cancelled", "it was cancelled", {}}, now);
  settle(now, chance);
  return true;
}

void task_queue::end(task_entry& t, task_state as, wall_time now) {
  deadlines_.erase({t.deadline, t.id});
  t.state = as;
  t.task_status::ended = now;
  t.not_before = {};
  changed(t);
  ends_.push_back(t.id);
}

/// What follows from the ends: dependents, groups, parents. A list and no recursion: chains may be long.
void task_queue::settle(wall_time now, random_source& chance) {
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    auto& t = tasks_.at(ends_[i]);
    t.settled = true;
    for (const auto id : std::exchange(t.dependents, {})) {
      auto* d = live(id);
      if (!d || d->unmet == 0) continue;
      const auto on = std::find_if(d->needs.begin(), d->needs.end(), [&](const dependency& n) { return n.on == t.id; });
      if (t.state != task_state::succeeded && !on->any_end) {
        if (d->ending == task_state::queued)
          begin_ending(*d, task_state::failed, {"dependency_failed", "a task that it depends on did not succeed", {}}, now);
      } else if (--d->unmet == 0 && d->ending == task_state::queued) make_ready(*d, now, chance);
    }
    if (!t.foreign) out_.ended.emplace_back(t.id, static_cast<const task_status&>(t));
    if (auto* parent = t.parent != task_id{} ? entry(t.parent) : nullptr) {
      if (!t.over() && t.undo_of == task_id{}) { // what an undo step leads to is not part of what is ended
        t.lingers = true;
        parent->lingering += 1;
      }
      parent->open -= 1;
      if (!ended(parent->state)) child_ended(*parent, t, now);
    }
    if (t.group != fan_in::none) {
      for (const auto child : std::exchange(t.children, {})) { // kept for its sake
        const auto* c = entry(child);
        if (c && !c->over()) {
          t.children.push_back(child);
        } else if (c) {
          tasks_.erase(child);
          order_.erase(child);
        }
      }
    }
    let_go(t.id, now);
  }
  ends_.clear();
}

/// Forgets it when nothing needs it any more, and in turn what was kept for its sake.
void task_queue::let_go(task_id id, wall_time now) {
  while (auto* t = entry(id)) {
    if (!t->settled || !t->over()) return;
    auto* parent = t->parent != task_id{} ? entry(t->parent) : nullptr;
    const bool lingered = std::exchange(t->lingers, false);
    const bool kept = parent && parent->group != fan_in::none && !ended(parent->state);
    const auto above = t->parent;
    if (!kept) {
      tasks_.erase(id);
      order_.erase(id);
    }
    if (!parent) return;
    if (lingered) parent->lingering -= 1;
    if (!ended(parent->state)) return lingered ? end_if_free(*parent, now) : void();
    id = above;
  }
}

/// What is being ended ends when nothing under it is left.
void task_queue::end_if_free(task_entry& t, wall_time now) {
  if (t.ending == task_state::queued || t.busy()) return;
  if (t.group != fan_in::none) finish_group(t, now);
  else if (t.state == task_state::waiting) end(t, t.ending, now); // its own attempt has ended too
}

void task_queue::child_ended(task_entry& parent, task_entry& child, wall_time now) {
  if (parent.group == fan_in::none) return end_if_free(parent, now);
  const bool good = child.state == task_state::succeeded;
  if (child.undo_of == task_id{}) ++(good ? parent.good : parent.bad);
  if (parent.ending == task_state::queued) { // not decided yet
    const auto failed = [&](std::string why) {
      begin_ending(parent, task_state::failed, {"group_failed", std::move(why), {}}, now);
    };
    const bool over = parent.open == 0;
    switch (parent.group) {
    case fan_in::none: break;
    case fan_in::all:
      if (!good) return failed("one of its tasks " + std::string(child.state == task_state::cancelled ? "was cancelled" : "failed") + ": " + child.error.reason);
      if (over) return begin_ending(parent, task_state::succeeded, {}, now);
      return;
    case fan_in::first:
      if (good) return begin_ending(parent, task_state::succeeded, {}, now);
      if (over) return failed("none of its tasks succeeded");
      return;
    case fan_in::quorum:
      if (parent.good >= parent.quorum) return begin_ending(parent, task_state::succeeded, {}, now);
      if (parent.good + parent.open < parent.quorum) return failed("too few of its tasks can succeed");
      return;
    case fan_in::best_effort:
      if (over) return begin_ending(parent, task_state::succeeded, {}, now);
      return;
    }
  }
  if (child.undo_of != task_id{} && !good) {
    parent.error.reason = "undo_failed";
    if (parent.error.message.size() < 1'000) parent.error.message += "; not undone: " + to_text(child.undo_of) + " (" + child.error.reason + ")";
    changed(parent);
  }
  end_if_free(parent, now);
}

/// All its tasks have ended. What succeeded in vain is undone first, the last one first, one after the other.
void task_queue::finish_group(task_entry& group, wall_time now) {
  if (group.ending == task_state::succeeded || group.undoing) return end(group, group.ending, now);
  std::vector<const task_entry*> done;
  for (const auto id : group.children)
    if (const auto* c = find(id); c && c->state == task_state::succeeded && c->undo_agent) done.push_back(c);
  if (done.empty()) return end(group, group.ending, now);
  std::sort(done.begin(), done.end(), [](const auto* a, const auto* b) {
    return std::pair(a->task_status::ended, a->id) > std::pair(b->task_status::ended, b->id);
  });
  group.undoing = true;
  group.state = task_state::running;
  task_id before{};
  std::vector<task_spec> steps;
  for (const auto* c : done) {
    task_spec undo;
    undo.id = next_id(now);
    undo.parent = group.id;
    undo.undo_of = c->id;
    undo.agent = c->undo_agent;
    undo.priority = c->priority;
    undo.submitted = now;
    undo.retry = c->retry;
    undo.retry.attempts = std::max(5U, c->retry.attempts); // a step that is not undone is worse than a late one
    if (before != task_id{}) undo.needs.push_back({before, true});
    before = undo.id;
    steps.push_back(std::move(undo));
  }
  for (auto& undo : steps) {
    out_.created.push_back(undo);
    auto& t = tasks_[undo.id];
    order_.insert(undo.id);
    static_cast<task_spec&>(t) = std::move(undo);
    t.state = task_state::waiting;
    for (const auto& d : t.needs) {
      tasks_.at(d.on).dependents.push_back(t.id);
      t.unmet += 1;
    }
    if (t.unmet == 0) { // begun by the next `wake`, which is due at once: no agent is given work from inside an end
      t.not_before = now;
      delayed_.emplace(now, t.id);
    }
    changed(t);
    auto& g = tasks_.at(t.parent);
    g.children.push_back(t.id);
    g.open += 1;
  }
}

// -- partitions

/// Its partition, by its name. Only the own ones are in the pools.
void task_queue::place(agent_entry& a) {
  count_able(a, -1);
  const auto to = partition_for(a.name, parts_);
  const auto from = std::exchange(a.partition, to);
  if (from != to && (from == self_ || to == self_)) {
    auto can = a.can;
    choice_.describe(a, to == self_ ? std::move(can) : std::vector<capability>{});
    if (to != self_) a.can = std::move(can);
  }
  count_able(a, 1);
}

void task_queue::count_able(const agent_entry& a, int by) {
  if (parts_ == 1) return;
  for (const auto& c : a.can) able_[c.name][a.partition][c.up_to] += static_cast<std::uint32_t>(by);
}

bool task_queue::able_at(std::uint32_t partition, const std::string& name, std::uint8_t complexity) const {
  const auto found = able_.find(name);
  if (found == able_.end()) return false;
  const auto& levels = found->second[partition];
  return std::any_of(levels.begin() + complexity, levels.end(), [](std::uint32_t n) { return n != 0; });
}

bool task_queue::able_elsewhere(const std::string& name, std::uint8_t complexity) const {
  for (std::uint32_t p = 0; p < parts_; ++p)
    if (p != self_ && able_at(p, name, complexity)) return true;
  return false;
}

/// The partition whose agents are to do it: this one, when one of its own can.
std::uint32_t task_queue::borrower(const task_entry& t) const {
  if (parts_ == 1) return self_;
  if (t.task_spec::agent) return agents_.at(t.task_spec::agent).partition;
  if (able_at(self_, t.capability, t.complexity)) return self_;
  std::vector<std::uint32_t> able;
  for (std::uint32_t p = 0; p < parts_; ++p)
    if (able_at(p, t.capability, t.complexity)) able.push_back(p);
  return able.empty() ? self_ : able[t.id.value() % able.size()];
}

/// Queued as it is, it waits to be lent.
void task_queue::leave(task_entry& t) {
  leave_line(t);
  t.leaving = true;
  leaving_.emplace(t.rank(), t.id);
}

void task_queue::lend_one(task_entry& t, std::uint32_t to, wall_time now) {
  leave_line(t);
  t.state = task_state::running;
  t.attempt += 1;
  t.task_status::agent = t.task_spec::agent;
  t.lent = static_cast<std::uint8_t>(to + 1);
  t.not_before = {};
  if (t.started == wall_time{}) t.started = now;
  if (t.attempt == 1) lent_retries_.first_attempt();
  out_.messages.push_back({t.id, t.task_status::agent, t.attempt, false, t.lent});
  changed(t);
}

void task_queue::divide(std::uint32_t self, std::uint32_t parts, wall_time now, random_source& chance) {
  if (self == self_ && parts == parts_) return;
  self_ = self;
  parts_ = std::max(parts_, parts);
  lent_retries_.share(parts_);
  for (auto& [id, a] : agents_) a.retries.share(parts_);
  able_.clear();
  for (auto& [id, a] : agents_) count_able(a, 1);
  std::vector<task_id> moved;
  for (auto& [id, a] : agents_) {
    if (!a.name.empty()) place(a);
    if (a.partition != self_)
      for (const auto& [rank, task] : a.ready) moved.push_back(task);
  }
  for (auto& [name, pool] : choice_.pools())
    for (std::uint8_t level = 0; level <= complexity_max; ++level)
      if (!pool.ready[level].empty() && !able_at(self_, name, level) && able_elsewhere(name, level))
        for (const auto& [rank, task] : pool.ready[level]) moved.push_back(task);
  for (const auto id : moved) leave(tasks_.at(id));
  if (parts_ > 1) offer_at_ = std::min(offer_at_, now + limits_.pass_on);
  pump_all(now, chance);
}

void task_queue::arriving(bool still, wall_time now, random_source& chance) {
  arriving_ = still;
  pump_all(now, chance);
}

void task_queue::began_elsewhere(entity_id id, std::uint32_t n) {
  auto& a = agent(id, {});
  a.in_flight += n;
  a.elsewhere += n;
}

void task_queue::ended_elsewhere(entity_id id, std::uint32_t n, wall_time now, random_source& chance) {
  auto* a = find_agent(id);
  if (!a) return;
  n = std::min(n, a->elsewhere);
  a->elsewhere -= n;
  a->in_flight -= n;
  pump(*a, now, chance);
}

by_complexity task_queue::spare(const std::string& name, by_complexity waiting) {
  by_complexity taken{};
  auto* pool = choice_.find(name);
  if (!pool) return taken;
  by_complexity places{};
  for (std::uint8_t level = 0; level <= complexity_max; ++level)
    for (const auto* a : pool->free[level]) places[level] += a->concurrency - a->in_flight;
  for (std::uint8_t level = complexity_max + 1; level-- > 0;)
    for (std::uint8_t able = level; able <= complexity_max; ++able) { // the least able that are able enough
      const auto n = std::min(waiting[level] - taken[level], places[able]);
      taken[level] += n;
      places[able] -= n;
    }
  return taken;
}

void task_queue::lend(const std::string& name, const by_complexity& places, std::uint32_t to, wall_time now) {
  auto* pool = choice_.find(name);
  if (!pool) return;
  for (std::uint8_t level = 0; level <= complexity_max; ++level)
    for (std::uint32_t n = 0; n < places[level] && !pool->ready[level].empty(); ++n)
      lend_one(tasks_.at(pool->ready[level].begin()->second), to, now);
}

/// Of what waits for a capability: to those who could do it. What nobody here is able to do goes where somebody is.
void task_queue::offer_waiting(wall_time now) {
  offer_at_ = wall_time::max();
  if (paused_) return; // looked at again when it goes on
  std::vector<task_id> moved;
  for (auto& [name, pool] : choice_.pools()) {
    if (pool.waiting == 0) continue;
    by_complexity waiting{};
    for (std::uint8_t level = 0; level <= complexity_max; ++level) {
      const auto& line = pool.ready[level];
      if (line.empty() || !able_elsewhere(name, level)) continue;
      waiting[level] = static_cast<std::uint32_t>(line.size());
      if (able_at(self_, name, level)) continue;
      for (const auto& [rank, task] : line) moved.push_back(task);
      waiting[level] = 0;
    }
    for (std::uint32_t p = 0; p < parts_; ++p) {
      if (p == self_) continue;
      auto theirs = waiting;
      for (std::uint8_t level = 0; level <= complexity_max; ++level)
        if (!able_at(p, name, level)) theirs[level] = 0;
      if (theirs == by_complexity{}) continue;
      out_.offers.push_back({p, name, theirs});
      offer_at_ = now + limits_.pass_on;
    }
  }
  for (const auto id : moved) leave(tasks_.at(id));
}

bool task_queue::placed(task_id id, std::uint32_t attempt, entity_id agent, bool held_up, wall_time now) {
  auto* t = live(id);
  if (!t || t->state != task_state::running || t->attempt != attempt || t->lent == 0) return false;
  if (agent) t->task_status::agent = agent;
  if (t->held_up && !held_up) t->started = now;
  t->held_up = held_up;
  changed(*t);
  return true;
}

void task_queue::foreign(task_id id) {
  auto& t = tasks_[id];
  if (t.foreign) return;
  t.id = id;
  t.foreign = true;
  t.state = task_state::running;
}

void task_queue::foreign_ended(task_id id, bool succeeded, wall_time now, random_source& chance) {
  auto* t = live(id);
  if (!t || !t->foreign) return;
  t->state = succeeded ? task_state::succeeded : task_state::failed;
  ends_.push_back(id);
  settle(now, chance);
}

void task_queue::pause_agent(entity_id id, bool paused, wall_time now, random_source& chance) {
  auto& a = agent(id, {});
  a.paused = paused;
  pump(a, now, chance);
}

void task_queue::pause(bool paused, wall_time now, random_source& chance) {
  paused_ = paused;
  if (!paused && parts_ > 1) offer_at_ = std::min(offer_at_, now + limits_.pass_on);
  pump_all(now, chance);
}

// -- time

void task_queue::wake(wall_time now, random_source& chance) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    auto* t = live(deadlines_.begin()->second);
    deadlines_.erase(deadlines_.begin());
    if (t && t->ending == task_state::queued)
      begin_ending(*t, task_state::failed, {"deadline_passed", "its deadline passed before it ended", {}}, now);
  }
  settle(now, chance);
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    auto* t = live(delayed_.begin()->second);
    delayed_.erase(delayed_.begin());
    if (!t) continue;
    t->not_before = {};
    make_ready(*t, now, chance);
  }
  while (!breakers_.empty() && breakers_.begin()->first <= now) {
    const auto id = breakers_.begin()->second;
    breakers_.erase(breakers_.begin());
    if (auto* a = find_agent(id)) pump(*a, now, chance);
  }
  for (std::size_t i = 0; i < lent_at_once && !leaving_.empty(); ++i) {
    auto& t = tasks_.at(leaving_.begin()->second);
    if (const auto to = borrower(t); to != self_) lend_one(t, to, now);
    else { // whoever was able elsewhere is no more
      leave_line(t);
      make_ready(t, now, chance);
    }
  }
  if (offer_at_ <= now) offer_waiting(now);
}

wall_time task_queue::next_wake() const noexcept {
  if (!leaving_.empty()) return {};
  auto at = offer_at_;
  if (!deadlines_.empty()) at = std::min(at, deadlines_.begin()->first);
  if (!delayed_.empty()) at = std::min(at, delayed_.begin()->first);
  if (!breakers_.empty()) at = std::min(at, breakers_.begin()->first);
  return at;
}

// -- after a start

void task_queue::restore(task_spec spec, task_status status) {
  last_id_ = std::max(last_id_, spec.id.value());
  auto& t = tasks_[spec.id];
  order_.insert(spec.id);
  static_cast<task_spec&>(t) = std::move(spec);
  static_cast<task_status&>(t) = std::move(status);
}

void task_queue::restored(const std::unordered_map<task_id, task_state>& outcome, wall_time now, random_source& chance) {
  // From the newest: what is under a task comes before it. Ended ones are kept as children of live groups, and above what is live.
  std::vector<task_id> ids(order_.begin(), order_.end());
  for (auto at = ids.rbegin(); at != ids.rend(); ++at) {
    auto& t = tasks_.at(*at);
    auto* parent = t.parent != task_id{} ? entry(t.parent) : nullptr;
    if (t.over() && !(parent && !ended(parent->state) && parent->group != fan_in::none)) {
      order_.erase(*at);
      tasks_.erase(*at);
      continue;
    }
    t.settled = ended(t.state);
    if (!parent) continue;
    parent->children.push_back(t.id);
    t.lingers = ended(t.state) && !t.over() && t.undo_of == task_id{};
    if (t.lingers) parent->lingering += 1;
    if (!ended(t.state)) parent->open += 1;
    else if (t.undo_of == task_id{}) ++(t.state == task_state::succeeded ? parent->good : parent->bad);
    if (t.undo_of != task_id{}) parent->undoing = true;
  }
  std::vector<task_id> hopeless;
  for (const auto id : order_) {
    auto& t = tasks_.at(id);
    if (ended(t.state)) continue;
    if (t.deadline != wall_time::max()) deadlines_.emplace(t.deadline, id);
    bool lost = false;
    for (const auto& d : t.needs) {
      if (auto* on = live(d.on)) {
        on->dependents.push_back(id);
        t.unmet += 1;
        continue;
      }
      const auto known = tasks_.find(d.on);
      const auto other = outcome.find(d.on);
      const bool good = known != tasks_.end() ? known->second.state == task_state::succeeded
                                              : other != outcome.end() && other->second == task_state::succeeded;
      lost = lost || (!good && !d.any_end);
    }
    if (t.state == task_state::running && t.group == fan_in::none && t.lent == 0) agent(t.task_status::agent, {}).in_flight += 1;
    if (lost && t.state == task_state::waiting) hopeless.push_back(id);
  }
  for (const auto id : hopeless)
    if (auto* t = live(id); t && t->ending == task_state::queued)
      begin_ending(*t, task_state::failed, {"dependency_failed", "a task that it depends on did not succeed", {}}, now);
  settle(now, chance);
  std::vector<task_id> again;
  for (const auto id : order_) {
    const auto& t = tasks_.at(id);
    if (ended(t.state) || t.ending != task_state::queued || t.group != fan_in::none || t.state == task_state::running || t.unmet != 0) continue;
    again.push_back(id);
  }
  for (const auto id : again) {
    auto* t = live(id);
    if (!t) continue;
    if (t->state == task_state::waiting && t->not_before > now) delayed_.emplace(t->not_before, id);
    else make_ready(*t, now, chance);
  }
}

// -- what it tells

std::optional<std::size_t> task_queue::position(task_id id) const {
  const auto* t = find(id);
  if (!t || t->state != task_state::queued) return std::nullopt;
  const auto& line = const_cast<task_queue*>(this)->line_of(*t);
  return static_cast<std::size_t>(std::distance(line.begin(), line.find({t->rank(), id})));
}

queue_effects task_queue::take() {
  out_.changed.assign(changed_.begin(), changed_.end());
  changed_.clear();
  return std::exchange(out_, {});
}

std::vector<task_id> task_queue::oldest(std::size_t n) const {
  std::vector<task_id> first;
  for (const auto id : order_) {
    if (first.size() == n) break;
    first.push_back(id);
  }
  return first;
}

std::vector<std::size_t> in_order(const std::vector<std::vector<std::size_t>>& needs) {
  std::vector<std::size_t> waits_for(needs.size());
  std::vector<std::vector<std::size_t>> needed_by(needs.size());
  for (std::size_t i = 0; i < needs.size(); ++i)
    for (const auto on : needs[i]) {
      needed_by[on].push_back(i);
      waits_for[i] += 1;
    }
  std::vector<std::size_t> free;
  for (std::size_t i = 0; i < needs.size(); ++i)
    if (waits_for[i] == 0) free.push_back(i);
  for (std::size_t i = 0; i < free.size(); ++i)
    for (const auto next : needed_by[free[i]])
      if (--waits_for[next] == 0) free.push_back(next);
  return free;
}

} // namespace hive::actors::scheduling
