#include "actors/supervisor.hpp"

#include <algorithm>

namespace hive::actors {

using std::chrono::milliseconds;

void supervisor_core::exited(const supervised_child& child, incarnation life, bool normal, steady_time now) {
  if (ended_ || (plan_ && plan_->what == plan::aim::end)) return; // its end is part of ours
  if (plan_) {
    const auto is_it = [&](const supervised_child& c) { return c.id == child.id; };
    const bool to_be_stopped = std::any_of(plan_->to_stop.begin(), plan_->to_stop.end(), is_it) ||
                               std::any_of(plan_->stopping.begin(), plan_->stopping.end(), [&](const pending& p) { return is_it(p.child); });
    if (!to_be_stopped) waiting_.push_back({child, life, normal}); // one that is stopped anyway ends with its group
    return;
  }
  forget_quiet(now);
  if (const auto known = exits_.find(child.id); known != exits_.end() && life <= known->second.life) return; // stale
  const bool again = child.restart == restart_type::permanent || (child.restart == restart_type::transient && !normal);
  if (!again) return leave(child, life, now);
  auto& exit = exits_[child.id];
  exit.child = child;
  exit.life = life;
  if (!count(now)) return give_up(child.id, life, now);
  restart(exit, now);
}

/// @returns false when this one is one too many.
bool supervisor_core::count(steady_time now) {
  while (!window_.empty() && now - window_.front() > spec_.period) window_.pop_front();
  if (window_.size() >= spec_.intensity) return false;
  window_.push_back(now);
  ++restarts_;
  return true;
}

void supervisor_core::give_up(entity_id child, incarnation life, steady_time now) {
  window_.clear();
  if (!root_) {
    end_wanted_ = false;
    begin_plan(plan::aim::end);
    return;
  }
  emit({kind::quarantine, child, life});
  exits_[child].due.reset();
  quiet_after_.emplace_back(now, child);
  if (!plan_) return;
  std::erase_if(plan_->starting, [&](const pending& p) { return p.child.id == child; });
  advance(now); // the others are started without it
}

void supervisor_core::restart(past_exit& exit, steady_time now) {
  if (in_groups()) {
    const auto wait = backoff(group_level_, group_exit_, now);
    group_exit_ = now;
    begin_plan(plan::aim::restart, exit.child.id);
    if (wait.count() > 0) plan_->not_before = now + wait;
    return;
  }
  const auto wait = backoff(exit.level, exit.at, now);
  exit.at = now;
  quiet_after_.emplace_back(now, exit.child.id);
  if (wait.count() > 0) exit.due = now + wait;
  else emit({kind::start, exit.child.id, exit.life});
}

/// Not started again. Ends the supervisor too when the child was significant enough.
void supervisor_core::leave(const supervised_child& child, incarnation life, steady_time now) {
  exits_[child.id] = {life, now, 0, {}, child};
  quiet_after_.emplace_back(now, child.id);
  emit({child.restart == restart_type::temporary ? kind::remove : kind::leave, child.id, life});
  if (!child.significant || spec_.ends_with == auto_shutdown::never || root_) return;
  end_wanted_ = false;
  if (spec_.ends_with == auto_shutdown::any_significant) return begin_plan(plan::aim::end);
  left_.insert(child.id); // its stop may not be on disk yet when the list is read
  begin_plan(plan::aim::count_significant);
}

milliseconds supervisor_core::backoff(std::uint32_t& level, steady_time last, steady_time now) {
  if (spec_.backoff.count() == 0) return {};
  if (last != steady_time{} && now - last > spec_.backoff_reset) level = 0;
  const auto full = std::min(spec_.backoff_max, spec_.backoff * (std::int64_t{1} << std::min(level, 24U)));
  level += 1;
  // Between half and all of it: children that crashed together do not come back together.
  const auto half = full.count() / 2;
  return milliseconds{half + static_cast<std::int64_t>(chance_.below(static_cast<std::uint64_t>(full.count() - half) + 1))};
}

/// Children that have run for a while need no memory.
void supervisor_core::forget_quiet(steady_time now) {
  const auto keep = std::max(spec_.period, spec_.backoff.count() == 0 ? milliseconds{0} : spec_.backoff_reset);
  while (!quiet_after_.empty() && now - quiet_after_.front().first > keep) {
    const auto [at, id] = quiet_after_.front();
    quiet_after_.pop_front();
    const auto found = exits_.find(id);
    if (found != exits_.end() && found->second.at <= at && !found->second.due) exits_.erase(found);
  }
}

// -- rows of stops and starts

void supervisor_core::begin_plan(plan::aim what, entity_id failed) {
  plan_.emplace();
  plan_->what = what;
  plan_->failed = failed;
  if (what == plan::aim::end) {
    waiting_.clear();
    for (auto& [id, exit] : exits_) exit.due.reset();
  }
  emit({kind::list});
}

void supervisor_core::begin(steady_time) {
  ended_ = false;
  begin_failed_ = false;
  window_.clear();
  exits_.clear();
  quiet_after_.clear();
  left_.clear();
  waiting_.clear();
  begin_plan(plan::aim::begin);
}

void supervisor_core::end(steady_time) {
  if (ended_) return emit({kind::ended, {}, {}, 0, true, false});
  end_wanted_ = true;
  if (plan_ && plan_->what == plan::aim::end) return; // under way: it now ends because it was asked to
  begin_plan(plan::aim::end);
}

void supervisor_core::listed(std::vector<supervised_child> children, steady_time now) {
  if (!plan_ || !plan_->listing) return;
  auto& p = *plan_;
  p.listing = false;
  std::sort(children.begin(), children.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  switch (p.what) {
  case plan::aim::begin: p.to_start = std::move(children); break;
  case plan::aim::end: p.to_stop = std::move(children); break;
  case plan::aim::restart:
    for (auto& c : children) {
      if (spec_.strategy == restart_strategy::rest_for_one && c.id < p.failed) continue;
      if (c.id != p.failed) p.to_stop.push_back(c);
      if (c.id == p.failed || c.restart != restart_type::temporary) p.to_start.push_back(c); // a temporary one is never restarted
    }
    break;
  case plan::aim::count_significant:
    for (const auto& c : children)
      if (c.significant && c.alive && !left_.contains(c.id)) return finish_plan(now);
    return begin_plan(plan::aim::end);
  }
  advance(now);
}

void supervisor_core::advance(steady_time now) {
  auto& p = *plan_;
  if (p.listing) return;
  const bool all_at_once = spec_.strategy == restart_strategy::simple_one_for_one;
  while (!p.to_stop.empty() && (all_at_once || p.stopping.empty())) {
    const auto child = p.to_stop.back();
    p.to_stop.pop_back();
    if (child.shutdown && child.shutdown->count() == 0) {
      emit({kind::kill, child.id});
      p.killed.insert(child.id);
      if (child.restart == restart_type::temporary) emit({kind::remove, child.id});
      continue;
    }
    const auto ticket = ++tickets_;
    p.stopping.push_back({ticket, child, child.shutdown ? now + *child.shutdown : steady_time::max()});
    emit({kind::stop, child.id, {}, ticket});
  }
  if (!p.stopping.empty()) return;
  if (p.what == plan::aim::end) {
    plan_.reset();
    ended_ = true;
    window_.clear();
    return emit({kind::ended, {}, {}, 0, std::exchange(end_wanted_, false), std::exchange(begin_failed_, false)});
  }
  if (p.not_before && now < *p.not_before) return;
  while (p.next < p.to_start.size() && p.starting.empty()) {
    const auto child = p.to_start[p.next++];
    std::optional<incarnation> life;
    if (const auto known = p.lives.find(child.id); known != p.lives.end()) life = known->second;
    else if (const auto exit = exits_.find(child.id); child.id == p.failed && exit != exits_.end()) life = exit->second.life;
    if (p.killed.contains(child.id)) { // its shard may be busy for ever: the others do not wait for it
      emit({kind::start, child.id, life});
      continue;
    }
    const auto ticket = ++tickets_;
    p.starting.push_back({ticket, child, {}});
    emit({kind::start, child.id, life, ticket});
  }
  if (p.starting.empty()) finish_plan(now);
}

/// Back to normal: what happened meanwhile is decided now.
void supervisor_core::finish_plan(steady_time now) {
  plan_.reset();
  while (!plan_ && !waiting_.empty()) {
    const auto next = waiting_.front();
    waiting_.pop_front();
    exited(next.child, next.life, next.normal, now);
  }
}

void supervisor_core::stopped(std::uint64_t ticket, incarnation life, steady_time now) {
  if (!plan_) return;
  auto& stopping = plan_->stopping;
  const auto found = std::find_if(stopping.begin(), stopping.end(), [&](const pending& p) { return p.ticket == ticket; });
  if (found == stopping.end()) return; // about an earlier plan, or too late
  const auto child = found->child;
  stopping.erase(found);
  plan_->lives[child.id] = life;
  exits_[child.id] = {life, now, exits_[child.id].level, {}, child}; // an exit of that life is stale from now on
  quiet_after_.emplace_back(now, child.id);
  if (child.restart == restart_type::temporary) emit({kind::remove, child.id, life});
  advance(now);
}

void supervisor_core::started(std::uint64_t ticket, incarnation, steady_time now) {
  if (!plan_) return;
  auto& starting = plan_->starting;
  const auto found = std::find_if(starting.begin(), starting.end(), [&](const pending& p) { return p.ticket == ticket; });
  if (found == starting.end()) return;
  starting.erase(found);
  advance(now);
}

void supervisor_core::start_failed(const supervised_child& child, incarnation life, std::uint64_t ticket, steady_time now) {
  if (ended_ || (plan_ && plan_->what == plan::aim::end)) return;
  if (ticket != 0) {
    if (!plan_ || std::none_of(plan_->starting.begin(), plan_->starting.end(), [&](const pending& p) { return p.ticket == ticket; })) return;
    if (plan_->what == plan::aim::begin) { // those that were started are stopped again, and the supervisor fails
      begin_failed_ = true;
      end_wanted_ = false;
      return begin_plan(plan::aim::end);
    }
  } else if (plan_) return; // the plan starts it again, or ends it
  auto& exit = exits_[child.id];
  exit.child = child;
  exit.life = life;
  if (!count(now)) return give_up(child.id, life, now);
  restart(exit, now);
}

// -- time

void supervisor_core::tick(steady_time now) {
  if (plan_) {
    auto& p = *plan_;
    bool late = false;
    for (std::size_t i = 0; i < p.stopping.size();) {
      const auto one = p.stopping[i];
      if (now < one.deadline) {
        ++i;
        continue;
      }
      p.stopping.erase(p.stopping.begin() + static_cast<std::ptrdiff_t>(i));
      p.killed.insert(one.child.id);
      emit({kind::kill, one.child.id});
      if (one.child.restart == restart_type::temporary) emit({kind::remove, one.child.id});
      late = true;
    }
    if (late || (p.not_before && now >= *p.not_before && !p.listing && p.starting.empty())) advance(now);
    return;
  }
  for (auto& [id, exit] : exits_)
    if (exit.due && *exit.due <= now) {
      exit.due.reset();
      emit({kind::start, id, exit.life});
    }
}

std::optional<steady_time> supervisor_core::next_due() const {
  std::optional<steady_time> due;
  const auto at_least = [&](steady_time t) {
    if (t != steady_time::max()) due = due ? std::min(*due, t) : t;
  };
  if (plan_) {
    for (const auto& one : plan_->stopping) at_least(one.deadline);
    if (plan_->not_before && !plan_->listing && plan_->stopping.empty() && plan_->starting.empty() && plan_->next == 0) at_least(*plan_->not_before);
    return due;
  }
  if (spec_.backoff.count() != 0)
    for (const auto& [id, exit] : exits_)
      if (exit.due) at_least(*exit.due);
  return due;
}

supervisor_core::phase supervisor_core::doing() const noexcept {
  if (ended_) return phase::ended;
  if (!plan_) return phase::running;
  return plan_->what == plan::aim::end ? phase::ending : phase::restarting;
}

bool supervisor_core::forgettable(steady_time now) {
  forget_quiet(now);
  while (!window_.empty() && now - window_.front() > spec_.period) window_.pop_front();
  return !plan_ && !ended_ && window_.empty() && exits_.empty() && waiting_.empty() && out_.empty();
}

} // namespace hive::actors
