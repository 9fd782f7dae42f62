// Supervision. The child's shard tells the supervisor's shard that a life ended; the supervisor decides (supervisor_core)
// and orders. In memory: a restart does not wait for the disk, and when the node dies every child begins a new life
// anyway, which eats no intensity. Durable are the specs, the desired states and the incarnations.
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {

using persistence::desired_state;
using order = order_op::order;
using news = answer_op::news;

namespace {

supervised_child child_of(const activation& a) noexcept {
  supervised_child c{a.id};
  if (!a.spec) return c;
  c.restart = a.spec->restart;
  c.significant = a.spec->significant;
  c.shutdown = a.spec->shutdown;
  return c;
}

bool is_supervisor(const activation& a) noexcept { return a.spec && a.spec->kind == entity_kind::supervisor; }

desired_state own_desired(const activation& a) noexcept { return a.more && a.more->above_down ? a.more->own_desired : a.desired; }

/// Everything below the supervisor `name`, with what its supervisor must know; never a part of it. On a reader thread.
result<std::vector<supervised_child>> children_of(persistence::store_reader& reader, tenant_context who, const std::string& name) {
  std::vector<supervised_child> all;
  for (const auto kind : {entity_kind::agent, entity_kind::supervisor}) {
    std::string after;
    for (bool more = true; more;) {
      const auto page = reader.list(who, kind, after, 1000, &name);
      if (!page) return page.error();
      more = page->size() == 1000;
      for (const auto& row : *page) {
        after = row.name;
        supervised_child c{row.id};
        const auto spec = json::parse(row.spec, nullptr, false);
        if (kind == entity_kind::agent) {
          if (const auto s = agent_spec_from(spec)) {
            c.restart = s->restart;
            c.significant = s->significant;
            c.shutdown = s->shutdown;
          }
        } else if (const auto s = supervisor_spec_from(spec)) {
          c.restart = s->restart;
          c.significant = s->significant;
          c.shutdown = s->shutdown;
        }
        if (c.significant) {
          const auto its = reader.load_entity(who, row.id);
          if (!its && its.error().code != errc::not_found) return its.error();
          if (its) c.alive = its->desired == desired_state::running;
        }
        all.push_back(c);
      }
    }
  }
  return all;
}

} // namespace

/// To an entity that must be in memory for it: what comes while it is loaded waits.
void shard_core::to_loaded(entity_id id, std::unique_ptr<shard_op> op) {
  activation& a = find_or_make(id, services_.context_of(id.tenant(), "system"));
  if (a.doing == activity::absent || a.doing == activity::loading || a.doing == activity::reloading) {
    a.extra().after_load.push_back(std::move(op));
    if (a.doing == activity::absent) start_loading(a);
    return;
  }
  take_loaded(a, *op);
  make_ready(a);
}

void shard_core::take_loaded(activation& a, shard_op& op) {
  switch (op.what) {
  case shard_op::kind::order: obey(a, static_cast<order_op&>(op)); break;
  case shard_op::kind::suspect: suspect(a, static_cast<suspect_op&>(op)); break;
  case shard_op::kind::note: note(a, static_cast<note_op&>(op)); break;
  default: supervise(a, op); break;
  }
}

void shard_core::take_orders(activation& a) {
  if (a.more->supervises && a.spec && a.spec->group) a.more->supervises->core.change(*a.spec->group);
  for (auto& op : std::exchange(a.more->after_load, {})) {
    if (a.doing == activity::reloading) a.more->after_load.push_back(std::move(op)); // the one before it had to
    else take_loaded(a, *op);
  }
}

// -- the supervisor's side

supervision& shard_core::supervision_of(activation& a) {
  auto& s = a.extra().supervises;
  if (!s) {
    const bool root = a.id.serial() == root_supervisor_serial;
    supervisor_spec spec;
    if (a.spec && a.spec->group) spec = *a.spec->group;
    if (root) {
      spec.intensity = settings_.supervisor.root_intensity;
      spec.period = settings_.supervisor.period;
    }
    s = std::make_unique<supervision>(supervision{supervisor_core(std::move(spec), root, services_.new_seed()), {}, 0, 0});
  }
  return *s;
}

void shard_core::supervise(activation& a, shard_op& op) {
  const auto now = services_.clock().steady_now();
  if (!a.spec) { // deleted meanwhile: its children are the root's
    if (op.what != shard_op::kind::exited) return;
    const auto& e = static_cast<exited_op&>(op);
    const entity_id root{a.id.tenant(), root_supervisor_serial};
    return services_.post(root, std::make_unique<exited_op>(root, e.child, e.life, e.normal));
  }
  auto& core = supervision_of(a).core;
  if (op.what == shard_op::kind::exited) {
    const auto& e = static_cast<exited_op&>(op);
    core.exited(e.child, e.life, e.normal, now);
  } else {
    const auto& n = static_cast<answer_op&>(op);
    switch (n.what) {
    case news::stopped: core.stopped(n.ticket, n.life, now); break;
    case news::started: core.started(n.ticket, n.life, now); break;
    case news::start_failed: core.start_failed(n.child, n.life, n.ticket, now); break;
    case news::began: core.began(n.child.id); break;
    }
  }
  act(a);
}

/// Carries out what the supervisor decided.
void shard_core::act(activation& a) {
  using kind = supervisor_command::kind;
  auto& s = *a.more->supervises;
  a.restarts += static_cast<std::uint32_t>(s.core.restarts() - std::exchange(s.counted, s.core.restarts()));
  for (auto commands = s.core.take(); !commands.empty(); commands = s.core.take())
    for (const auto& c : commands) {
      const auto send = [&](order what) { services_.post(c.child, std::make_unique<order_op>(what, c.child, a.id, c.life, c.ticket)); };
      switch (c.what) {
      case kind::start: send(order::start); break;
      case kind::stop: send(order::stop); break;
      case kind::kill:
        if (services_.here(c.child)) services_.revoked().add(c.child); // its shard may be busy with the very turn that does not end
        send(order::kill);
        break;
      case kind::leave: send(order::leave); break;
      case kind::remove: send(order::remove); break;
      case kind::quarantine:
        log::warn("child over the restart intensity", {{"supervisor", to_string(a.id)}, {"child", to_string(c.child)}});
        send(order::quarantine);
        break;
      case kind::list:
        list_children(a, [id = a.id](shard_core& shard, std::vector<supervised_child> children) {
          activation* back = shard.find(id);
          if (!back || !back->more || !back->more->supervises) return;
          back->more->supervises->core.listed(std::move(children), shard.services_.clock().steady_now());
          shard.act(*back);
          shard.make_ready(*back);
        });
        break;
      case kind::ended: life_over(a, c); break;
      }
    }
  if (s.start_ticket != 0 && s.core.doing() == supervisor_core::phase::running)
    answer(a, supervisor_of(a), news::started, std::exchange(s.start_ticket, 0));
  const auto due = s.core.next_due();
  if (due && (!s.armed || *due < *s.armed)) {
    s.armed = due;
    timers_.push({*due, a.id, supervision_timer, 0});
  }
}

void shard_core::supervision_due(activation& a) {
  if (!a.more || !a.more->supervises) return;
  a.more->supervises->armed.reset();
  a.more->supervises->core.tick(services_.clock().steady_now());
  act(a);
  make_ready(a);
}

void shard_core::list_children(activation& a, children_listed then) { read_children({a.id, a.who, a.name, std::move(then)}); }

void shard_core::read_children(listing wanted) {
  auto shared = std::make_shared<listing>(std::move(wanted));
  services_.read(shared->supervisor.tenant(), [services = &services_, shared](persistence::store_reader& reader) {
    auto found = std::make_shared<result<std::vector<supervised_child>>>(children_of(reader, shared->who, shared->name));
    services->post(shared->supervisor, std::make_unique<call_op>([found, shared](shard_core& shard) {
      if (*found) return shared->then(shard, std::move(**found));
      log::error("cannot list the children of a supervisor", {{"supervisor", shared->name}, {"why", found->error().message}});
      shard.list_again(std::move(*shared));
    }));
  });
}

/// The store does not answer: a part of a group must not be taken for all of it.
void shard_core::list_again(listing wanted) {
  constexpr std::chrono::milliseconds pause_max{5'000};
  const auto number = ++listings_made_;
  timers_.push({services_.clock().steady_now() + wanted.pause, wanted.supervisor, listing_timer, number});
  wanted.pause = std::min(wanted.pause * 2, pause_max);
  listings_.emplace(number, std::move(wanted));
}

/// What stands below it is down with it, or with one above it.
void shard_core::take_down(activation& a, down_cause why) {
  list_children(a, [id = a.id, why = std::move(why)](shard_core& shard, const std::vector<supervised_child>& children) {
    if (const auto* back = shard.find(id); back && back->desired == desired_state::running) return; // started again meanwhile
    for (const auto& c : children) {
      auto down = std::make_unique<order_op>(order::down, c.id, id, std::nullopt, 0);
      down->cause = why;
      shard.services_.post(c.id, std::move(down));
    }
  });
}

/// All its children are stopped: the supervisor's life is over. Its parent decides, unless it was the parent's wish.
void shard_core::life_over(activation& a, const supervisor_command& c) {
  if (c.wanted) return; // `try_stop` goes on from here
  log::warn("supervisor ended", {{"supervisor", a.name}, {"tenant", a.id.tenant().value()}, {"failed", c.failed}});
  record_event(a, "ended", {{"reason", c.failed ? "start_failed" : "shutdown"}});
  if (const auto ticket = std::exchange(a.more->supervises->start_ticket, 0); ticket != 0) {
    if (c.failed) {
      a.doing = activity::crashed;
      return answer(a, supervisor_of(a), news::start_failed, ticket);
    }
    answer(a, supervisor_of(a), news::started, ticket); // it had started, and one of its children crashed too often already
  }
  end_life(a, !c.failed); // "shutdown" is no error: a transient supervisor stays ended
}

// -- the child's side

entity_id shard_core::supervisor_of(const activation& a) noexcept {
  if (a.spec && a.spec->supervisor) return a.spec->supervisor;
  return {a.id.tenant(), root_supervisor_serial};
}

void shard_core::answer(activation& a, entity_id supervisor, news what, std::uint64_t ticket) {
  services_.post(supervisor, std::make_unique<answer_op>(what, supervisor, child_of(a), a.life, ticket));
}

void shard_core::end_life(activation& a, bool normal) {
  a.doing = activity::crashed;
  const entity_id supervisor = supervisor_of(a);
  services_.post(supervisor, std::make_unique<exited_op>(supervisor, child_of(a), a.life, normal));
}

void shard_core::obey(activation& a, order_op& op) {
  const auto say = [&](news what) {
    if (op.ticket != 0) answer(a, op.supervisor, what, op.ticket);
  };
  if (op.what == order::kill) services_.revoked().remove(a.id);
  const bool stale = op.life && *op.life != a.life;
  const bool gone = !a.spec || own_desired(a) == desired_state::deleted;
  switch (op.what) {
  case order::stop:
    if (gone || own_desired(a) != desired_state::running) return say(news::stopped); // a person stopped it before
    if (a.doing == activity::held) return say(news::stopped);
    // Loaded when those above were down already: then nothing of an agent runs, but children of a supervisor may.
    if (a.desired != desired_state::running && !is_supervisor(a)) return say(news::stopped);
    {
      auto stop = std::make_unique<stop_under_way>();
      stop->supervisor = op.supervisor;
      stop->ticket = op.ticket;
      return begin_stop(a, std::move(stop));
    }
  case order::kill:
    if (gone || own_desired(a) != desired_state::running) return;
    if (a.doing == activity::held) {
      if (!a.more || !a.more->stop) a.stopping = false; // its turn had found out by itself that it was revoked
      return;
    }
    if (!a.stopping || !a.more->stop) begin_stop(a, std::make_unique<stop_under_way>());
    if (a.stopping) drop_turn(a);
    return;
  case order::start: {
    const bool was_down = a.more && a.more->above_down;
    if (was_down) {
      a.more->above_down = false;
      a.desired = a.more->own_desired;
    }
    if (gone || stale || a.desired != desired_state::running) return say(news::started); // not the supervisor's to start
    if (a.stopping && a.more->stop) { // its supervisor waited no longer: as soon as the old life is over
      a.more->stop->next = std::make_unique<order_op>(op.what, op.child, op.supervisor, std::nullopt, op.ticket);
      return;
    }
    // A supervisor that is just loaded may have children in memory that were down with those above it.
    const bool over = a.doing == activity::crashed || a.doing == activity::held || was_down || is_supervisor(a);
    if (!over) return say(news::started); // it lives
    return begin_life(a, op.ticket);
  }
  case order::leave:
    if (!gone && !stale) settle_down(a, desired_state::stopped, "stopped", false);
    return;
  case order::remove:
    if (!gone && !stale) settle_down(a, desired_state::stopped, "stopped", true);
    return;
  case order::quarantine:
    if (!gone && !stale) settle_down(a, desired_state::quarantined, "quarantined", false);
    return;
  case order::down:
    if (gone || own_desired(a) != desired_state::running) return; // down by itself, and so is what stands below it
    if (!a.extra().above_down) {
      a.more->above_down = true;
      a.more->own_desired = a.desired;
      a.desired = desired_state::stopped;
    }
    a.more->above = op.cause;
    if (a.doing == activity::held || a.doing == activity::crashed) a.doing = activity::idle; // its messages are refused now
    if (is_supervisor(a)) take_down(a, op.cause);
    return;
  }
}

/// No new turn begins; one that waits may take its shutdown time.
void shard_core::begin_stop(activation& a, std::unique_ptr<stop_under_way> stop) {
  auto& more = a.extra();
  if (more.stop) { // one is under way: its end answers both
    more.stop->supervisor = stop->supervisor;
    more.stop->ticket = stop->ticket;
  } else more.stop = std::move(stop);
  a.stopping = true;
  if (is_supervisor(a)) end_group(a);
  try_stop(a);
}

/// Its children are stopped with it.
void shard_core::end_group(activation& a) {
  supervision_of(a).core.end(services_.clock().steady_now());
  act(a);
}

/// A stop is complete when nothing of the old life runs and all of it is on disk.
void shard_core::try_stop(activation& a) {
  if (!a.more || !a.more->stop || a.run_ahead != 0) return;
  if (a.doing == activity::waiting || a.doing == activity::loading || a.doing == activity::reloading || a.doing == activity::absent) return;
  if (a.more->supervises && a.more->supervises->core.doing() != supervisor_core::phase::ended) return;
  const auto stop = std::move(a.more->stop);
  a.stopping = false;
  a.doing = activity::held;
  if (stop->ticket != 0) answer(a, stop->supervisor, news::stopped, stop->ticket);
  if (stop->by_person) {
    if (stop->restart) return begin_life(a, 0);
    a.doing = activity::idle; // its desired state refuses what comes
    if (is_supervisor(a)) take_down(a, {a.name, desired_state::stopped});
    return;
  }
  if (stop->next) obey(a, static_cast<order_op&>(*stop->next));
}

/// The end of the shutdown time that a person's stop allows. (Supervisors count their own.)
void shard_core::stop_overdue(activation& a, std::uint32_t number) {
  if (!a.stopping || !a.more || !a.more->stop || a.more->stop->number != number) return;
  drop_turn(a);
  make_ready(a);
}

/// Ends the turn that waits, without its effects. Its message stays: the next life takes it up, and answers finished steps
/// from their rows.
void shard_core::drop_turn(activation& a) {
  if (!a.more || !a.more->turn) return;
  services_.gauges().waiting.fetch_sub(1, std::memory_order_relaxed);
  a.generation += 1;
  a.more->read_wanted = false;
  a.doing = activity::held;
  return_awaiting(a); // whatever was looked up for the old generation is void
  auto& host = *a.more->turn;
  if (host.accepted) {
    auto fresh = std::make_unique<turn_host>(*this);
    fresh->of = &a;
    fresh->in = std::move(host.in);
    fresh->number = host.number;
    fresh->started = host.started;
    fresh->seed = host.seed;
    fresh->accepted = true;
    fresh->steps = std::move(host.steps);
    fresh->reply = std::move(host.reply);
    a.more->turn = std::move(fresh);
    return;
  }
  const auto old = std::move(a.more->turn);
  const auto hash = old->in->from_where == envelope::origin::ask ? old->in->key_hash() : 0;
  auto& running = a.more->running;
  for (std::size_t i = 0; i < running.size(); ++i)
    if (hash != 0 && running[i].hash == hash) {
      for (auto& w : running[i].waiters) w->fail({errc::unavailable, "dropped", "the agent was stopped; ask again with the same key"});
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
  if (old->in->from_where == envelope::origin::tell) return; // at most once
  queued_change_ += 1;
  a.box.push_front(std::move(old->in));
}

void shard_core::begin_life(activation& a, std::uint64_t ticket) {
  if (a.resetting) {
    if (ticket != 0) answer(a, supervisor_of(a), news::started, ticket);
    return reset_then_begin(a);
  }
  const bool after_crash = a.doing == activity::crashed;
  if (!is_supervisor(a)) a.restarts += 1;
  a.life = incarnation{a.life.value() + 1};
  json data{{"incarnation", a.life.value()}};
  if (after_crash) data["error"] = a.extra().last_error;
  record_event(a, "restarted", std::move(data));
  a.doing = activity::idle;
  if (is_supervisor(a)) {
    auto& s = supervision_of(a);
    s.start_ticket = ticket;
    s.core.begin(services_.clock().steady_now());
    return act(a);
  }
  if (ticket != 0) answer(a, supervisor_of(a), news::started, ticket);
  if (a.more && a.more->turn) { // the old life left it: again, up to where it was
    const entity_id id = a.id;
    run_turn(a, std::move(a.more->turn));
    if (auto* still = find(id)) make_ready(*still);
    return;
  }
  make_ready(a);
}

/// The new life begins with nothing: state, logs and rows go. Rows page by page, each page a commit; the last one takes the
/// mark away with which any load goes on here.
void shard_core::reset_then_begin(activation& a) {
  constexpr std::size_t page = 1000;
  a.doing = activity::held;
  if (a.run_ahead != 0) return begin_when_settled(a); // it may have rows too
  using rows = std::vector<std::pair<std::string, std::string>>;
  services_.read(a.id.tenant(), [services = &services_, id = a.id, who = a.who, g = a.generation](persistence::store_reader& reader) {
    auto found = std::make_shared<result<rows>>(reader.items(who, id, "", "", page));
    services->post(id, std::make_unique<call_op>([id, g, found](shard_core& shard) {
      activation* back = shard.find(id);
      if (!back || back->generation != g || back->doing != activity::held || !back->resetting) return;
      if (!*found) { // the store does not answer: until it does
        back->doing = activity::reloading;
        back->generation += 1;
        shard.timers_.push({shard.services_.clock().steady_now() + std::chrono::milliseconds{200}, id, 0, 0});
        return;
      }
      auto r = shard.make_record(*back, back->who);
      r->writes = true;
      r->position = shard.services_.allot(shard.id_);
      for (auto& row : **found) r->items.push_back({std::move(row.first), std::nullopt});
      if (r->items.size() == page) {
        shard.submit(*back, std::move(r));
        return shard.begin_when_settled(*back);
      }
      back->resetting = false;
      back->state.clear();
      for (auto& l : back->logs) l.floor = l.size; // the store goes on counting
      r->state = encode_state(*back);
      shard.submit(*back, std::move(r));
      shard.begin_life(*back, 0);
    }));
  });
}

/// As after a person's stop: what is under way goes to the disk, then the new life begins, or the reset before it goes on.
void shard_core::begin_when_settled(activation& a) {
  auto stop = std::make_unique<stop_under_way>();
  stop->by_person = stop->restart = true;
  a.extra().stop = std::move(stop);
  a.stopping = true;
}

void shard_core::set_desired(activation& a, actor_record& r, desired_state wanted) {
  if (a.more && a.more->above_down) a.more->own_desired = wanted;
  else a.desired = wanted;
  r.desired = wanted;
}

/// Its life ended and no other follows. @param with_spec the tenant's directory forgets it too.
void shard_core::settle_down(activation& a, desired_state as, const char* event, bool with_spec) {
  auto r = make_record(a, a.who);
  r->writes = true;
  r->position = services_.allot(id_);
  set_desired(a, *r, as);
  const std::string kind = a.spec ? to_string(a.spec->kind) : "entity";
  json data = json::object();
  if (a.more && !a.more->last_error.empty()) data["error"] = a.more->last_error;
  r->events.push_back({kind + "." + event, kind + "/" + a.name, data.dump()});
  if (with_spec) {
    const entity_id tenant = entity_id::of_tenant(a.id.tenant());
    const envelope extra(a.who, tenant, envelope::origin::send);
    add_outbox(a, *r, tenant, lane::user, "hive.child_ended", json_payload({{"kind", kind}, {"name", a.name}}), extra);
  }
  submit(a, std::move(r));
  if (a.doing != activity::waiting) a.doing = activity::idle;
  if (is_supervisor(a)) take_down(a, {a.name, as});
}

} // namespace hive::actors
