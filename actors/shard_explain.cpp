// What a shard tells about its entities.
#include "actors/shard_core.hpp"
#include "actors/stored_status.hpp"

namespace hive::actors {

using persistence::desired_state;

namespace {

desired_state own_desired(const activation& a) noexcept { return a.more && a.more->above_down ? a.more->own_desired : a.desired; }

const char* word_of(desired_state desired) noexcept {
  switch (desired) {
  case desired_state::running: return "running";
  case desired_state::stopped: return "stopped";
  case desired_state::quarantined: return "quarantined";
  case desired_state::deleted: return "deleted";
  }
  return "unknown";
}

const char* word_of(supervisor_core::phase doing) noexcept {
  switch (doing) {
  case supervisor_core::phase::running: return "running";
  case supervisor_core::phase::restarting: return "restarting";
  case supervisor_core::phase::ending: return "stopping";
  case supervisor_core::phase::ended: return "stopped";
  }
  return "unknown";
}

const char* status_word(const activation& a) {
  if (const auto own = own_desired(a); own != desired_state::running) return word_of(own);
  if (a.stopping) return "stopping";
  if (a.more && a.more->above_down) return "stopped";
  if (!a.spec || a.spec->kind != entity_kind::supervisor) return to_string(a.doing);
  if (a.doing == activity::crashed || a.doing == activity::held) return "restarting";
  return a.more && a.more->supervises ? word_of(a.more->supervises->core.doing()) : "running";
}

/// What a turn waits for that has begun.
json wait_of(const turn_host& t) {
  json waits{{"message", t.in ? t.in->type : ""}, {"since", millis(t.started)}, {"steps_done", t.next_step == 0 ? 0 : t.next_step - 1}};
  if (t.waits == wait_kind::read) waits["for"] = "its own rows, or vectors";
  else if (t.waits != wait_kind::step) waits["for"] = "a name to be looked up";
  else {
    const auto& s = t.steps[t.waiting_step];
    const auto target = s.target.substr(0, s.target.find('\n'));
    switch (s.what) {
    case step_state::kind::ask: waits["for"] = "the answer of agent/" + target; break;
    case step_state::kind::run: waits["for"] = "the executor " + target; break;
    case step_state::kind::sleep: waits["for"] = "the time to come"; break;
    default: waits["for"] = "the end of a task that it submitted"; break;
    }
    waits["step"] = t.waiting_step;
    waits["until"] = millis(s.due);
  }
  return waits;
}

} // namespace

json shard_core::status_of(entity_id id) {
  const auto trouble = [](json& into, const std::string& what, wall_time at) {
    if (what.empty()) return;
    into["last_error"] = what;
    into["last_error_at"] = millis(at);
  };
  const activation* a = find(id);
  if (!a) {
    const auto kept = kept_.find(id);
    if (kept == kept_.end()) return nullptr;
    json past{{"restarts", kept->second.restarts}};
    trouble(past, kept->second.last_error, kept->second.last_error_at);
    return past;
  }
  json s{{"status", status_word(*a)}, {"incarnation", a->life.value()}, {"restarts", a->restarts}, {"mailbox", a->box.count()}};
  if (a->more && a->more->above_down && a->more->own_desired == desired_state::running) s["stopped_by"] = "supervisor/" + a->more->above.supervisor;
  if (a->more) trouble(s, a->more->last_error, a->more->last_error_at);
  return s;
}

/// Null: nothing keeps it from working.
json shard_core::waits_of(const activation& a) const {
  const auto because = [](std::string what) { return json{{"for", std::move(what)}}; };
  if (own_desired(a) != desired_state::running) return because("a person who starts it");
  if (a.more && a.more->above_down) return because("supervisor/" + a.more->above.supervisor + ", which does not run");
  if (a.more && a.more->turn) return wait_of(*a.more->turn);
  if (a.stopping) return because("the end of its life: what it did is on its way to the disk, or its children stop");
  switch (a.doing) {
  case activity::loading:
  case activity::absent: return a.box.empty() ? json() : because("its rows from the store");
  case activity::reloading: return because("the turns that ran ahead of a failed commit; then it loads again");
  case activity::crashed: return because("its supervisor, which decides whether and when it begins a new life");
  case activity::held: return because("its supervisor, which starts its group again");
  case activity::paused: return because("a moment: a message that could not be handled just now is tried again");
  case activity::waiting:
  case activity::idle: break;
  }
  if (a.more && !a.more->awaiting_keys.empty()) return because("the idempotency keys that it answered, from the store");
  if (a.box.empty()) return nullptr;
  if (!runnable(a)) return because("its commits: as many turns ran ahead of the disk as entity.run_ahead_turns and entity.run_ahead_bytes allow");
  if (stalled_until_ != steady_time{}) return because("the node's commits: as much ran ahead of the disk as node.run_ahead_bytes allows");
  return because("its turn among the entities of its shard");
}

void shard_core::remember_turn(const activation& a, const envelope& in, wall_time began, const char* how, std::string_view why) {
  constexpr std::size_t most = 128;
  if (past_.size() < most) past_.emplace_back();
  auto& t = past_[next_past_++ % most];
  t.entity = a.id;
  t.began = began;
  t.ended = wall_now_;
  t.how = how;
  t.type.assign(in.type, 0, past_turn::text_bytes);
  t.why.assign(why.substr(0, past_turn::text_bytes));
}

json shard_core::past_of(entity_id id) const {
  constexpr std::size_t shown = 10;
  json list = json::array();
  for (std::size_t back = 1; back <= past_.size() && list.size() < shown; ++back) {
    const auto& t = past_[(next_past_ - back) % past_.size()];
    if (t.entity != id) continue;
    json turn{{"message", t.type}, {"began", millis(t.began)}, {"ended", millis(t.ended)}, {"how", t.how}};
    if (!t.why.empty()) turn["why"] = t.why;
    list.push_back(std::move(turn));
  }
  return list;
}

void shard_core::explain(entity_id id, std::function<void(result<json>)> done) {
  json e{{"id", to_string(id)}, {"shard", id_.value()}, {"epoch", fence_.value()}};
  activation* a = find(id);
  e["active"] = a != nullptr;
  if (const auto status = status_of(id); !status.is_null()) e.update(status);
  e["last_turns"] = past_of(id);
  if (!a) return done(std::move(e));
  e["desired"] = word_of(own_desired(*a));
  e["version"] = a->version;
  e["state_bytes"] = a->state.size();
  const auto in_lane = [&](lane which) {
    std::size_t n = 0;
    a->box.each(which, [&](envelope&) { return ++n, true; });
    return n;
  };
  e["lanes"] = {{"system", in_lane(lane::system)}, {"urgent", in_lane(lane::urgent)}, {"user", in_lane(lane::user)}, {"bytes", a->box.bytes()}};
  e["run_ahead"] = {{"turns", a->run_ahead}, {"bytes", a->run_ahead_bytes}};
  json logs = json::object();
  for (const auto& l : a->logs) logs[l.name] = l.size - l.floor;
  e["logs"] = logs;
  if (auto waits = waits_of(*a); !waits.is_null()) e["waits"] = std::move(waits);
  if (a->more) {
    e["outbox"] = a->more->outbox_size;
    json suspects = json::array();
    for (const auto& s : a->more->suspects) suspects.push_back({{"message", s.message}, {"deaths", s.deaths}, {"crashes", s.crashes}});
    if (!suspects.empty()) e["suspects"] = std::move(suspects);
  }
  if (a->spec && a->spec->kind == entity_kind::supervisor) {
    const auto now = services_.clock().steady_now();
    const auto* s = a->more ? a->more->supervises.get() : nullptr;
    supervisor_spec usual;
    if (id.serial() == root_supervisor_serial) {
      usual.intensity = settings_.supervisor.root_intensity;
      usual.period = settings_.supervisor.period;
    }
    const auto& spec = s ? s->core.spec() : a->spec->group ? *a->spec->group : usual;
    e["supervises"] = supervision_facts(spec, s ? s->core.recent_restarts(now) : 0, s ? s->core.in_backoff() : 0);
  }
  done(std::move(e));
}

} // namespace hive::actors
