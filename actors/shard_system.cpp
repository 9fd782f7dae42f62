// Supervision, desired states, and what a shard tells about its entities.
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {

using persistence::desired_state;

/// Messages of the hive's own entities: their types start with "hive.".
void shard_core::system_message(activation& a, std::unique_ptr<envelope> e) {
  if (a.more) {
    const auto mark = a.more->marks.find(e->sender.bits() * 4 + static_cast<std::uint64_t>(e->on));
    if (mark != a.more->marks.end() && mark->second >= e->sequence) return acknowledge(e->sender, a.id, e->sequence);
  }
  if (e->type == "hive.task.cancel") return recall(a, std::move(e));
  auto r = make_record(a, e->who);
  r->writes = true;
  r->position = services_.allot(id_);
  mark(a, *r, *e);

  if (e->type == "hive.spec_changed") {
    a.spec_stale = true;
    if (a.desired == desired_state::quarantined) { // applied again: released
      a.desired = desired_state::running;
      r->desired = a.desired;
    }
    if (a.doing == activity::crashed) a.doing = activity::idle;
  } else if (e->type == "hive.deleted") {
    a.desired = desired_state::deleted;
    r->desired = a.desired;
    a.state.clear();
    a.logs.clear();
    r->state = std::string{};
    return_awaiting(a); // to hear that it is gone
    if (a.more->turn) {
      services_.gauges().waiting.fetch_sub(1, std::memory_order_relaxed);
      auto host = std::move(a.more->turn);
      if (host->accepted) r->ended = host->number;
      take_mark(a, *r, std::move(host->reply));
      if (host->in && host->in->from_where == envelope::origin::send) {
        mark(a, *r, *host->in);
        if (!host->in->reply_to) r->dead_letters.push_back({"receiver_deleted", encode_message(*host->in), "{}"});
      }
      if (host->in && host->in->ticket) host->in->ticket->fail({errc::not_found, "deleted", "the entity was deleted while the ask waited"});
      if (host->in && host->in->reply_to) {
        const error gone{errc::not_found, "deleted", "the entity was deleted while the ask waited"};
        add_reply(a, *r, *host->in, {}, &gone);
      }
      a.more->read_wanted = false;
    }
    a.generation += 1;
    a.doing = activity::idle;
    const char* kind = a.spec ? to_string(a.spec->kind) : "entity";
    r->events.push_back({std::string(kind) + ".deleted", std::string(kind) + "/" + a.name, "{}"});
  } else {
    log::warn("unknown system message", {{"type", e->type}, {"entity", to_string(a.id)}});
  }
  r->generation = a.generation;
  r->message = std::move(e);
  submit(a, std::move(r));
}

// -- supervision: the child's shard tells the supervisor's shard, which decides. In memory: a restart does not wait for
//    the disk, and when the node dies every child begins a new life anyway.

void shard_core::exited(std::unique_ptr<exited_op> op) {
  const entity_id id = op->supervisor;
  auto& s = supervisors_[id];
  if (s.core) return decide(id, *op);
  s.pending.push_back(std::move(op));
  if (std::exchange(s.loading, true)) return;
  const auto who = services_.context_of(id.tenant(), "system");
  const auto apply = [id](shard_core& shard, std::optional<supervisor_spec> spec, entity_id parent) {
    auto& mine = shard.supervisors_[id];
    if (!spec) {
      spec.emplace();
      spec->intensity = shard.settings_.supervisor.root_intensity;
      spec->period = shard.settings_.supervisor.period;
    }
    mine.core.emplace(std::move(*spec));
    mine.parent = parent;
    mine.loading = false;
    for (auto& p : std::exchange(mine.pending, {})) shard.decide(id, *p);
  };
  if (id.serial() == root_supervisor_serial) return apply(*this, std::nullopt, entity_id{});
  services_.read(id.tenant(), [this, id, who, apply](persistence::store_reader& reader) {
    std::optional<supervisor_spec> spec;
    entity_id parent{id.tenant(), root_supervisor_serial};
    if (auto row = reader.find(who, id)) {
      if (auto parsed = supervisor_spec_from(json::parse(row->spec, nullptr, false))) {
        spec = *parsed;
        if (!row->supervisor.empty())
          if (auto above = reader.find(who, entity_kind::supervisor, row->supervisor)) parent = above->id;
      }
    }
    services_.post(id, std::make_unique<call_op>([spec, parent, apply](shard_core& shard) { apply(shard, spec, parent); }));
  });
}

void shard_core::decide(entity_id supervisor, const exited_op& op) {
  auto& s = supervisors_[supervisor];
  using kind = supervisor_core::decision::kind;
  switch (s.core->on_exit(op.restart, false, services_.clock().steady_now()).what) {
  case kind::restart: services_.post(op.child, std::make_unique<restart_op>(op.child, op.life, false)); return;
  case kind::leave: services_.post(op.child, std::make_unique<restart_op>(op.child, op.life, true)); return;
  case kind::escalate:
    log::warn("supervisor over its restart intensity", {{"supervisor", to_string(supervisor)}, {"child", to_string(op.child)}});
    if (!s.parent) { // the root does not end a whole tenant: the child that crashed once too often is quarantined
      services_.post(op.child, std::make_unique<restart_op>(op.child, op.life, true));
      return;
    }
    // The supervisor's own life ends with its child's. Its parent restarts both, or quarantines the child at the root.
    s.core->restarted();
    services_.post(s.parent, std::make_unique<exited_op>(s.parent, op.child, op.life, restart_type::permanent, op.reason));
    return;
  }
}

void shard_core::restart(restart_op& op) {
  activation* a = find(op.child);
  if (!a || a->doing != activity::crashed || a->life != op.ended) return; // about an earlier life
  a->restarts += 1;
  if (op.quarantine) {
    a->desired = desired_state::quarantined;
    auto r = make_record(*a, a->who);
    r->writes = true;
    r->position = services_.allot(id_);
    r->desired = a->desired;
    r->events.push_back({"agent.quarantined", "agent/" + a->name, json{{"error", a->extra().last_error}}.dump()});
    submit(*a, std::move(r));
  } else {
    a->life = incarnation{a->life.value() + 1};
    record_event(*a, "agent.restarted", {{"incarnation", a->life.value()}, {"error", a->extra().last_error}});
  }
  a->doing = activity::idle;
  make_ready(*a);
}

void shard_core::record_event(activation& a, std::string type, json data) {
  auto r = make_record(a, a.who);
  r->writes = true;
  r->position = services_.allot(id_);
  r->events.push_back({std::move(type), "agent/" + a.name, data.dump()});
  submit(a, std::move(r));
}

// -- what it tells

json shard_core::status_of(entity_id id) {
  const activation* a = find(id);
  if (!a) return nullptr;
  json s{{"status", a->desired == desired_state::running ? to_string(a->doing)
                    : a->desired == desired_state::quarantined ? "quarantined"
                    : a->desired == desired_state::stopped ? "stopped" : "deleted"},
         {"incarnation", a->life.value()},
         {"restarts", a->restarts},
         {"mailbox", a->box.count()}};
  if (a->more && !a->more->last_error.empty()) {
    s["last_error"] = a->more->last_error;
    s["last_error_at"] = a->more->last_error_at.time_since_epoch().count();
  }
  return s;
}

void shard_core::explain(entity_id id, std::function<void(result<json>)> done) {
  json e{{"id", to_string(id)}, {"shard", id_.value()}, {"epoch", fence_.value()}};
  const activation* a = find(id);
  e["active"] = a != nullptr;
  if (a) {
    e.update(status_of(id));
    e["version"] = a->version;
    e["state_bytes"] = a->state.size();
    e["lanes"] = {{"waiting_messages", a->box.count()}, {"waiting_bytes", a->box.bytes()}};
    e["run_ahead"] = {{"turns", a->run_ahead}, {"bytes", a->run_ahead_bytes}};
    json logs = json::object();
    for (const auto& l : a->logs) logs[l.name] = l.size;
    e["logs"] = logs;
    if (a->more) {
      e["outbox"] = a->more->outbox_size;
      if (a->more->turn) {
        const auto& t = *a->more->turn;
        json waits{{"message", t.in ? t.in->type : ""}, {"since", t.started.time_since_epoch().count()}, {"steps_done", t.next_step == 0 ? 0 : t.next_step - 1}};
        if (t.waits == wait_kind::read) waits["for"] = "its own rows";
        else if (t.waits == wait_kind::step) {
          const auto& s = t.steps[t.waiting_step];
          const auto target = s.target.substr(0, s.target.find('\n'));
          waits["for"] = s.what == step_state::kind::ask ? "answer of agent/" + target : s.what == step_state::kind::run ? "executor " + target : "timer";
          waits["until"] = s.due.time_since_epoch().count();
        } else waits["for"] = "a name to be looked up";
        e["waits"] = waits;
      }
    }
  }
  done(std::move(e));
}

} // namespace hive::actors
