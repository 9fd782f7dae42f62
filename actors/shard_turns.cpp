// How a message becomes a turn, and a turn a record.
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {
namespace {

using persistence::desired_state;

/// Why it takes no messages, by whose will, and what makes it take them again.
error not_running(const activation& a) {
  const std::string address = std::string(a.spec ? to_string(a.spec->kind) : "entity") + "/" + a.name;
  const bool below_down = a.more && a.more->above_down && a.more->own_desired == desired_state::running;
  if (below_down) {
    const std::string above = "supervisor/" + a.more->above.supervisor;
    const bool quarantined = a.more->above.state == desired_state::quarantined;
    return {errc::failed_precondition, "stopped",
            address + " is stopped, because " + above + " above it is " + (quarantined ? "quarantined after repeated crashes" : "stopped") +
              "; `hivectl start " + above + "` starts it again"};
  }
  switch (a.more && a.more->above_down ? a.more->own_desired : a.desired) {
  case desired_state::stopped: return {errc::failed_precondition, "stopped", address + " is stopped; `hivectl start " + address + "` starts it again"};
  case desired_state::quarantined:
    return {errc::failed_precondition, "quarantined", address + " is quarantined after repeated crashes; `hivectl start " + address + "` releases it"};
  case desired_state::running:
  case desired_state::deleted: break;
  }
  return {errc::not_found, "not_found", "no such entity"};
}

/// Numbers of turns that have not waited in a step yet: never stored, never equal to a stored one.
constexpr std::uint64_t provisional_turn = std::uint64_t{1} << 63U;

} // namespace

/// "Handled": in memory now, with the record on disk.
void shard_core::mark(activation& a, actor_record& r, const envelope& e) {
  if (e.from_where == envelope::origin::timer) { // its row goes
    r.timers_gone.push_back({e.fires_at, e.sequence});
    return;
  }
  auto& known = a.extra().marks[mark_key(e)].handled;
  known = std::max(known, e.sequence);
  r.marks.push_back({e.sender, static_cast<std::uint8_t>(e.on), e.sequence});
}

void shard_core::take_mark(activation& a, actor_record& r, std::unique_ptr<envelope> reply) {
  if (!reply) return;
  mark(a, r, *reply);
  r.reply = std::move(reply);
}

std::unique_ptr<actor_record> shard_core::make_record(const activation& a, tenant_context who) {
  auto r = std::make_unique<actor_record>(who, a.id, id_, fence_);
  r->generation = a.generation;
  return r;
}

void shard_core::begin(activation& a, std::unique_ptr<envelope> e) {
  if (e->looked_up && answered_since(a, e)) return;
  if (e->ticket && e->ticket->settled()) return; // its asker has heard something else already
  if (e->ticket && !e->ticket->begin()) return e->ticket->expire();
  if (e->from_where == envelope::origin::send && handled_before(a, *e)) return;
  if (e->from_where == envelope::origin::timer && !still_wanted(*e)) return; // cancelled since it fired
  if (e->recall) return refuse_recalled(a, std::move(e));
  if (e->deadline <= now_) {
    const error late{errc::rejected, "expired", "the deadline passed before the message was handled; nothing was executed"};
    if (e->from_where == envelope::origin::send) return refuse_sent(a, std::move(e), late);
    return refuse(std::move(e), late);
  }
  if (a.desired != desired_state::running) {
    const bool own_timer = e->from_where == envelope::origin::timer && e->type.starts_with("hive."); // nobody's message
    if (a.desired == desired_state::deleted && own_timer && e->type == purge_message) return purge_rows(a, std::move(e));
    auto why = not_running(a);
    if (a.desired == desired_state::deleted && own_timer) return refuse_sent(a, std::move(e), why);
    if (!e->lasting()) return refuse(std::move(e), std::move(why));
    if (a.desired == desired_state::deleted) return dead_letter(a, std::move(e), "receiver_deleted", "the receiver was deleted");
    return dead_letter(a, std::move(e), "receiver_" + why.reason, std::move(why.message));
  }
  if (a.suspected) {
    if (const auto* known = known_suspect(a, *e)) e->attempts = std::max(e->attempts, static_cast<std::uint8_t>(std::min(known->crashes, 255U)));
  }
  if (a.suspected && poisonous(a, *e)) {
    if (e->lasting()) return dead_letter(a, std::move(e), "poison", a.more->last_error);
    return refuse(std::move(e), {errc::failed_precondition, "poison", "the process died more than once while it ran this message; it is not run again", "idempotency_key"});
  }
  if (e->from_where == envelope::origin::ask && !e->key.empty() && settle_by_key(a, e)) return;
  if (e->attempts != 0 && a.run_ahead != 0) { // its count goes to the disk before it runs again
    queued_change_ += 1;
    a.box.push_front(std::move(e));
    a.doing = activity::paused;
    timers_.push({services_.clock().steady_now() + std::chrono::milliseconds{1}, a.id, 0, 0});
    return;
  }
  auto host = spare_ ? std::move(spare_) : std::make_unique<turn_host>(*this);
  host->of = &a;
  host->in = std::move(e);
  host->started = wall_now_;
  host->seed = chance_.next();
  host->number = provisional_turn | ++a.turns;
  run_turn(a, std::move(host));
}

// -- running

void shard_core::run_turn(activation& a, std::unique_ptr<turn_host> host) {
  auto& own = *host;
  own.chance = random_source{own.seed};
  own.next_step = 0;
  if (!a.spec || !a.spec->code) {
    auto why = error{errc::failed_precondition, "unknown_behaviour",
                     "no behaviour named \"" + (a.spec ? a.spec->behaviour_name : std::string{}) + "\" in this node"};
    return refuse_turn(a, std::move(host), std::move(why));
  }
  message m;
  m.type = own.in->type; // copies: the turn may wait, and then its message goes to the disk
  m.body = own.in->body;
  m.from = own.in->from;
  m.wants_reply = own.in->wants_reply();
  own.parked = {};
  auto recorded = std::make_optional<turn_recorder::running>(services_.recorder(), a.id, message_of(*own.in));
  try {
    own.code = a.spec->code->handle(own.face, std::move(m));
  } catch (const std::exception& e) { // a `handle` that is no coroutine may throw right here
    return crash(a, std::move(host), e.what());
  }
  constexpr std::uint64_t sampled = 16; // a clock read costs as much as a small turn
  const bool timed = own.seed % sampled == 0;
  const auto began = timed ? services_.clock().steady_now() : steady_time{};
  own.code.start();
  recorded.reset();
  if (timed) add(services_.metrics(a.id.tenant()).mine().turn_micros[tenant_metrics::bucket(services_.clock().steady_now() - began)], sampled);
  proceed(a, std::move(host));
}

void shard_core::proceed(activation& a, std::unique_ptr<turn_host> host) {
  if (host->code.done()) end_turn(a, std::move(host));
  else wait(a, std::move(host));
}

void shard_core::end_turn(activation& a, std::unique_ptr<turn_host> host) {
  auto& m = services_.metrics(a.id.tenant()).mine();
  add(m.turns);
  if (services_.revoked().contains(a.id)) { // its life ended while it ran: nothing of it counts
    a.stopping = true;
    a.extra().turn = std::move(host);
    services_.gauges().waiting.fetch_add(1, std::memory_order_relaxed);
    return drop_turn(a);
  }
  try {
    host->code.take();
  } catch (const bad_message& e) {
    return refuse_turn(a, std::move(host), invalid(e.field, e.what()));
  } catch (const read_failed& e) {
    return refuse_turn(a, std::move(host), e.why);
  } catch (const std::exception& e) {
    return crash(a, std::move(host), e.what());
  } catch (...) {
    return crash(a, std::move(host), "something that is not a std::exception was thrown");
  }
  if (resolve_sends(a, host)) finish(a, std::move(host));
}

/// @returns false when names have to be looked up first: the turn comes back here by itself.
bool shard_core::resolve_sends(activation& a, std::unique_ptr<turn_host>& host) {
  for (auto& o : host->out) {
    if (o.to) continue;
    if (const auto id = services_.known(host->in->who, entity_kind::agent, o.agent)) {
      o.to = *id;
      continue;
    }
    // The turn has run and must not run again: it is parked as a read that only looks the name up.
    const std::string name = o.agent;
    const auto who = host->in->who;
    const auto number = host->number;
    host->waits = wait_kind::none;
    host->parked = {};
    a.doing = activity::waiting;
    a.extra().turn = std::move(host);
    services_.resolve(who, entity_kind::agent, name, [services = &services_, id = a.id, number, name, g = a.generation](result<entity_id> found) {
      auto shared = std::make_shared<result<entity_id>>(std::move(found));
      services->post(id, std::make_unique<call_op>([id, number, name, g, shared](shard_core& shard) {
        activation* back = shard.find(id);
        if (!back || back->generation != g || !back->more || !back->more->turn || back->more->turn->number != number) return;
        auto turn_back = std::move(back->more->turn);
        back->doing = activity::idle;
        if (!*shared) {
          auto why = shared->error();
          if (why.code == errc::not_found) why = {errc::application, "no_such_agent", "the agent sent a message to \"" + name + "\", which does not exist"};
          shard.refuse_turn(*back, std::move(turn_back), std::move(why));
        } else {
          for (auto& out : turn_back->out)
            if (!out.to && out.agent == name) out.to = **shared;
          if (shard.resolve_sends(*back, turn_back)) shard.finish(*back, std::move(turn_back));
        }
        if (auto* still = shard.find(id)) shard.make_ready(*still);
      }));
    });
    return false;
  }
  return true;
}

/// Moves the turn's messages into its record: durable ones as outbox rows, the others to leave after the commit.
void shard_core::stage_sends(activation& a, turn_host& host) {
  for (auto& o : host.out) {
    if (o.durable) {
      auto& r = host.effects();
      const lane on = o.message->on;
      add_outbox(a, r, o.to, on, std::move(o.message->type), std::move(o.message->body), *o.message);
    } else {
      o.message->to = o.to;
      host.effects().tells.push_back(std::move(o.message));
    }
  }
  host.out.clear();
}

void shard_core::add_reply(activation& a, actor_record& r, const envelope& to, payload answer, const error* failure) {
  envelope extra(to.who, to.reply_to.asker, to.reply_to.task.empty() ? envelope::origin::reply : envelope::origin::send);
  extra.reply_to = to.reply_to;
  if (!to.reply_to.task.empty()) extra.reply_to.asker = {}; // names the task; asks for no reply itself
  extra.trace = to.trace;
  extra.from = "agent/" + a.name;
  extra.failed = failure != nullptr;
  if (failure) answer = {encode_failure(*failure), content_type::binary};
  const bool task = !to.reply_to.task.empty();
  add_outbox(a, r, to.reply_to.asker, task ? lane::user : lane::system, task ? "hive.task.done" : "reply", std::move(answer), extra);
}

/// @returns whether the answers that the entity has put off are others now.
bool shard_core::note_replies(activation& a, const turn_host& own, const envelope& in) {
  if (own.on_cancel) a.extra().open_replies.push_back({in.reply_to, *own.on_cancel});
  if (!a.more || own.given_later.empty()) return own.on_cancel.has_value();
  const auto given = [&](const open_reply& open) { return std::find(own.given_later.begin(), own.given_later.end(), open.to) != own.given_later.end(); };
  return std::erase_if(a.more->open_replies, given) != 0 || own.on_cancel;
}

void shard_core::finish(activation& a, std::unique_ptr<turn_host> host) {
  auto& own = *host;
  const envelope& in = *own.in;
  bool durable = false;

  std::size_t outgoing = 0;
  for (const auto& o : own.out) outgoing += o.durable ? 1 : 0;
  // A queue bounds itself: it gives each agent so many tasks and no more. A tenant may have one manifest's notices beyond the
  // bound (api.manifest_entities): they are one commit, and refused they would be refused for ever.
  const bool is_tenant = a.id == entity_id::of_tenant(a.id.tenant());
  const std::size_t outbox = (a.more ? a.more->outbox_size : 0U) + (is_tenant ? 0 : outgoing);
  if (outgoing != 0 && !is_queue(a.id) && outbox > limits_.outbox_messages)
    return refuse_turn(a, std::move(host), {errc::resource_exhausted, "outbox_full",
                                            "the agent has entity.outbox_messages messages on their way; its receivers are behind", {},
                                            std::chrono::milliseconds{100}});
  durable = outgoing != 0;
  if (own.record) durable = durable || !own.record->timers.empty() || !own.record->timers_gone.empty() || !own.record->logs.empty() || !own.record->items.empty() || !own.record->directory.empty() ||
                            !own.record->tenants.empty() || !own.record->api_keys.empty() || !own.record->letters_gone.empty() || !own.record->audit.empty() ||
                            !own.record->events.empty();

  if (own.new_state && *own.new_state != a.state) {
    durable = true;
    own.effects();
  } else own.new_state.reset();

  const bool ask = in.from_where == envelope::origin::ask;
  const bool told = in.from_where == envelope::origin::tell;
  if (durable || !told || a.run_ahead != 0 || own.accepted) stage_sends(a, own);

  if (!told && in.reply_to && !own.deferred) { // an agent or a queue waits: the answer travels by outbox
    durable = true;
    payload answer = own.answer ? std::move(*own.answer) : payload{"null", content_type::json};
    add_reply(a, own.effects(), in, std::move(answer), own.failure ? &*own.failure : nullptr);
  }
  if (in.lasting()) {
    durable = true;
    mark(a, own.effects(), in);
  }
  if (own.reply) {
    durable = true;
    take_mark(a, own.effects(), std::move(own.reply));
  }
  if (own.accepted) {
    durable = true;
    own.effects().ended = own.number;
  }

  if (ask && !in.key.empty() && (durable || !in.generated_key)) {
    durable = true;
    persistence::keyed_answer k;
    k.key = in.key;
    k.caller = in.who.principal_hash();
    k.digest = in.digest;
    k.generated = in.generated_key;
    k.failed = own.failure.has_value();
    if (own.failure) k.answer = {encode_failure(*own.failure), content_type::binary};
    else if (own.answer) k.answer = *own.answer;
    else k.answer = {"null", content_type::json};
    own.effects().bytes += k.answer.bytes.size() + k.key.size();
    own.effects().keyed = std::move(k);
  }

  if (!durable && !ask && a.run_ahead == 0) { // a tell that changed nothing, behind nothing: nothing to wait for
    for (auto& o : own.out) {
      o.message->to = o.to;
      services_.post(o.to, std::move(o.message));
    }
    if (own.stops) end_life(a, true);
    own.reset();
    spare_ = std::move(host);
    return;
  }

  remember_turn(a, in, own.started, own.failure ? "failed" : "done", own.failure ? std::string_view(own.failure->reason) : std::string_view());
  const bool stops = own.stops;
  auto r = own.record ? std::move(own.record) : make_record(a, in.who);
  r->writes = durable;
  if (durable) {
    r->position = services_.allot(id_);
    if (own.new_state) a.state = std::move(*own.new_state);
    const bool generated = r->keyed && r->keyed->generated;
    if (r->keyed) {
      r->previous_keyed = generated ? a.last_generated : a.last_keyed;
      (generated ? a.last_generated : a.last_keyed) = r->position;
      if (!generated) a.extra().keys.add(in.key_hash(), r->position, own.started);
    }
    if (!r->logs.empty()) {
      for (const auto& entry : r->logs) {
        log_head* head = nullptr;
        for (auto& l : a.logs)
          if (l.name == entry.log) head = &l;
        if (!head) head = &a.logs.emplace_back(log_head{entry.log, 0});
        head->size = entry.index + 1;
      }
      a.log_tail = r->position;
    }
    const bool replies = note_replies(a, own, in);
    if (own.new_state.has_value() || generated || replies || !r->logs.empty()) r->state = encode_state(a);
    if (a.suspected) forget_suspect(a, *r, in);
  }
  if (ask) {
    r->answered_key = in.key_hash();
    if (own.failure) r->failure = std::move(own.failure);
    else r->answer = ask_answer{own.answer ? std::move(*own.answer) : payload{"null", content_type::json}, {}, false};
  }
  r->trace = in.trace;
  r->message = std::move(own.in);
  r->bytes += r->message->bytes() + (r->state ? r->state->size() : 0);
  own.reset();
  if (!spare_) spare_ = std::move(host);
  else host.reset();
  a.doing = activity::idle;
  count_bytes(a);
  submit(a, std::move(r));
  if (stops) end_life(a, true);
}

void shard_core::submit(activation& a, std::unique_ptr<actor_record> r) {
  r->base = a.version;
  if (!r->timers.empty() || !r->timers_gone.empty()) stage_timers(a, *r);
  if (r->writes && a.life != a.stored_life) {
    r->life = a.life;
    a.stored_life = a.life;
  }
  if (r->writes) ++a.version;
  r->sent = a.sent;
  r->log_tail = a.log_tail;
  r->at = services_.clock().wall_now();
  r->weight = services_.metrics(a.id.tenant()).weight.load(std::memory_order_relaxed);
  if (r->writes && a.more && !a.more->delivered.empty()) {
    r->delivered = std::move(a.more->delivered);
    a.more->delivered.clear();
    to_flush_.erase(a.id);
  }
  records_out_ += 1;
  a.run_ahead += 1;
  a.run_ahead_bytes += r->bytes;
  auto& g = services_.gauges();
  g.run_ahead_turns.fetch_add(1, std::memory_order_relaxed);
  g.run_ahead_bytes.fetch_add(static_cast<std::int64_t>(r->bytes), std::memory_order_relaxed);
  services_.submit(std::move(r));
}

// -- turns that end without effect

/// The message was wrong, or cannot be handled now: its asker hears why, and nothing the turn did remains. A turn whose
/// message is already on disk is ended there too.
void shard_core::refuse_turn(activation& a, std::unique_ptr<turn_host> host, error why) {
  auto in = std::move(host->in);
  const bool accepted = host->accepted;
  const auto number = host->number;
  auto reply = std::move(host->reply);
  remember_turn(a, *in, host->started, why.reason == "agent_crashed" ? "crashed" : "refused", why.reason == "agent_crashed" ? why.message : why.reason);
  if (a.more && (host->record || !host->out.empty())) a.more->memory.reset(); // it knows of effects that are dropped here
  host->reset();
  if (!spare_) spare_ = std::move(host);
  a.doing = activity::idle;
  const auto hash = in->from_where == envelope::origin::ask ? in->key_hash() : 0;
  if (a.more && hash != 0) {
    // Repeats of the key hear the same; nothing is stored, so the key can be used again.
    auto& running = a.more->running;
    for (std::size_t i = 0; i < running.size(); ++i)
      if (running[i].hash == hash) {
        for (auto& w : running[i].waiters) w->fail(error(why));
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      }
  }
  if (in->lasting() && !in->reply_to) {
    const bool passing = why.code == errc::unavailable || why.code == errc::resource_exhausted;
    if (passing && accepted && in->from_where == envelope::origin::timer) return fire_again(a, std::move(in), number, std::move(reply));
    if (accepted) end_waiting(a, in->who, number, std::move(reply));
    if (passing) return retry_later(a, std::move(in));
    return dead_letter(a, std::move(in), why.reason, why.message);
  }
  if (!accepted && in->from_where != envelope::origin::send) return refuse(std::move(in), std::move(why));
  auto r = make_record(a, in->who);
  r->writes = true;
  r->position = services_.allot(id_);
  if (accepted) r->ended = number;
  if (in->from_where == envelope::origin::send) mark(a, *r, *in);
  take_mark(a, *r, std::move(reply));
  if (in->reply_to) add_reply(a, *r, *in, {}, &why);
  r->failure = std::move(why);
  r->message = std::move(in);
  submit(a, std::move(r));
}

/// A durable message that cannot be handled just now goes back to the front of its lane; the entity pauses for a moment.
void shard_core::retry_later(activation& a, std::unique_ptr<envelope> e) {
  queued_change_ += 1;
  a.box.push_front(std::move(e));
  a.doing = activity::paused;
  timers_.push({services_.clock().steady_now() + std::chrono::milliseconds{20}, a.id, 0, 0});
}

/// The rows of a waiting turn go; its message lives on elsewhere. `reply` ended its last step, if anything did.
void shard_core::end_waiting(activation& a, tenant_context who, std::uint64_t number, std::unique_ptr<envelope> reply) {
  auto r = make_record(a, who);
  r->writes = true;
  r->position = services_.allot(id_);
  r->ended = number;
  take_mark(a, *r, std::move(reply));
  submit(a, std::move(r));
}

/// The same for a timer's, which has no sender to keep it: it is set anew in that very commit, and fires at once.
void shard_core::fire_again(activation& a, std::unique_ptr<envelope> e, std::uint64_t number, std::unique_ptr<envelope> reply) {
  auto r = make_record(a, e->who);
  r->writes = true;
  r->position = services_.allot(id_);
  r->ended = number;
  take_mark(a, *r, std::move(reply));
  r->timers.push_back({e->fires_at, e->sequence, {}, {}, e->type, e->body});
  stage_timers(a, *r);
  if (a.suspected) r->state = encode_state(a);
  r->message = std::move(e);
  submit(a, std::move(r));
}

/// A message of another entity's, or a timer, that is not executed: it is marked as handled, and whoever waits hears why.
void shard_core::refuse_sent(activation& a, std::unique_ptr<envelope> e, const error& why) {
  auto r = make_record(a, e->who);
  r->writes = true;
  r->position = services_.allot(id_);
  mark(a, *r, *e);
  if (e->reply_to) add_reply(a, *r, *e, {}, &why);
  r->message = std::move(e);
  submit(a, std::move(r));
}

/// @param what for whoever waits for the end, and for people. `detail`, an object, has it as "error".
/// An attempt of a task is the queue's, which hears the reason and does what follows: were it a dead letter too, somebody might
/// send again what was done by another attempt, or was cancelled.
void shard_core::dead_letter(activation& a, std::unique_ptr<envelope> e, std::string reason, std::string what, json detail) {
  const bool owned = !e->reply_to.task.empty();
  if (!owned) add(services_.metrics(a.id.tenant()).mine().dead_letters);
  if (!e->lasting()) return;
  auto r = make_record(a, e->who);
  r->writes = true;
  r->position = services_.allot(id_);
  mark(a, *r, *e);
  if (e->reply_to) {
    // Its queue must not take "the agent takes nothing now" for the agent's own word.
    const error why{owned && reason.starts_with("receiver_") ? errc::unavailable : errc::application, reason, what};
    add_reply(a, *r, *e, {}, &why);
  }
  if (a.suspected) forget_suspect(a, *r, *e);
  if (!owned) {
    r->events.push_back({"message.dead_letter", "agent/" + a.name, json{{"type", e->type}, {"from", e->from}, {"reason", reason}}.dump()});
    detail["error"] = std::move(what);
    r->dead_letters.push_back({std::move(reason), encode_message(*e), detail.dump(-1, ' ', false, json::error_handler_t::replace)});
  }
  r->message = std::move(e);
  submit(a, std::move(r));
}

/// The behaviour threw: one activation fails, not the shard. What the turn did is dropped; the entity goes on from the
/// state of its last turn once its supervisor says so.
void shard_core::crash(activation& a, std::unique_ptr<turn_host> host, std::string what) {
  add(services_.metrics(a.id.tenant()).mine().crashes);
  auto in = std::move(host->in);
  const bool accepted = host->accepted;
  auto& more = a.extra();
  more.memory.reset();
  more.last_error = what;
  more.last_error_at = services_.clock().wall_now();
  log::write(log::level::warn, "agent crashed",
             {{"agent", a.name}, {"tenant", a.id.tenant().value()}, {"message", in->type}, {"error", what}}, in->trace);
  error why{errc::application, "agent_crashed", "the agent crashed on this message: " + what};
  in->attempts += 1;
  if (in->lasting() && !in->reply_to) {
    const bool again = in->attempts < limits_.attempts;
    const auto number = host->number;
    auto reply = std::move(host->reply);
    remember_turn(a, *in, host->started, "crashed", what);
    host->reset();
    if (!spare_) spare_ = std::move(host);
    if (again) suspect_of(a, message_of(*in)).crashes = in->attempts;
    if (again && accepted && in->from_where == envelope::origin::timer) {
      fire_again(a, std::move(in), number, std::move(reply));
      return end_life(a, false);
    }
    if (accepted) end_waiting(a, in->who, number, std::move(reply));
    if (again) { // handled first when the entity is back: order is kept
      queued_change_ += 1;
      a.box.push_front(std::move(in));
    } else dead_letter(a, std::move(in), "attempts_exhausted", std::move(what), {{"attempts", limits_.attempts}});
  } else {
    host->in = std::move(in);
    refuse_turn(a, std::move(host), std::move(why));
  }
  end_life(a, false);
}

} // namespace hive::actors
