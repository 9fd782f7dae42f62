// How a message becomes a turn, and a turn a record.
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {
namespace {

using persistence::desired_state;

error not_running(const activation& a) {
  switch (a.desired) {
  case desired_state::stopped: return {errc::failed_precondition, "stopped", "the entity is stopped"};
  case desired_state::quarantined:
    return {errc::failed_precondition, "quarantined", "the entity is quarantined after repeated crashes; apply it again to release it"};
  case desired_state::running:
  case desired_state::deleted: break;
  }
  return {errc::not_found, "not_found", "no such entity"};
}

/// Numbers of turns that have not waited in a step yet: never stored, never equal to a stored one.
constexpr std::uint64_t provisional_turn = std::uint64_t{1} << 63U;

/// Stays until a turn has handled it: from an outbox, or a timer.
bool lasting(const envelope& e) noexcept { return e.from_where == envelope::origin::send || e.from_where == envelope::origin::timer; }

/// The same ask, for another look: a reader's job holds the first one and may be copied, so it gives up its parts.
std::unique_ptr<envelope> ask_again(envelope& held) {
  auto e = std::make_unique<envelope>(held.who, held.to, held.from_where);
  e->type = std::move(held.type);
  e->body = std::move(held.body);
  e->key = std::move(held.key);
  e->digest = held.digest;
  e->ticket = std::move(held.ticket);
  e->accepted_at = held.accepted_at;
  e->deadline = held.deadline;
  e->trace = held.trace;
  return e;
}

std::uint64_t mark_key(const envelope& e) noexcept { return e.sender.bits() * 4 + static_cast<std::uint64_t>(e.on); }

} // namespace

/// "Handled": in memory now, with the record on disk.
void shard_core::mark(activation& a, actor_record& r, const envelope& e) {
  if (e.from_where == envelope::origin::timer) { // its row goes
    r.timers_gone.push_back({e.due, e.sequence});
    return;
  }
  a.extra().marks[mark_key(e)] = e.sequence;
  r.marks.push_back({e.sender, static_cast<std::uint8_t>(e.on), e.sequence});
}

std::unique_ptr<actor_record> shard_core::make_record(const activation& a, tenant_context who) {
  auto r = std::make_unique<actor_record>(who, a.id, id_, fence_);
  r->generation = a.generation;
  return r;
}

void shard_core::begin(activation& a, std::unique_ptr<envelope> e) {
  if (e->ticket && e->ticket->settled()) return; // its asker already heard `unknown`
  if (e->deadline <= now_)
    return refuse(std::move(e), {errc::rejected, "expired", "the deadline passed before the message was handled; nothing was executed"});
  if (e->from_where == envelope::origin::send && a.more) {
    if (const auto mark = a.more->marks.find(mark_key(*e)); mark != a.more->marks.end() && mark->second >= e->sequence)
      return acknowledge(e->sender, a.id, e->sequence); // handled before; its sender had not heard
  }
  if (e->from_where == envelope::origin::timer && !still_wanted(*e)) return; // cancelled since it fired
  if (e->recall) return refuse_recalled(a, std::move(e));
  if (a.desired != desired_state::running) {
    if (!lasting(*e)) return refuse(std::move(e), not_running(a));
    return dead_letter(a, std::move(e), a.desired == desired_state::deleted ? "receiver_deleted" : "receiver_stopped", "{}");
  }
  if (!e->key.empty() && e->from_where == envelope::origin::ask && settle_by_key(a, e)) return;
  auto host = spare_ ? std::move(spare_) : std::make_unique<turn_host>(*this);
  host->of = &a;
  host->in = std::move(e);
  host->started = wall_now_;
  host->seed = chance_.next();
  host->number = provisional_turn | ++a.turns;
  run_turn(a, std::move(host));
}

// -- idempotency keys

/// @returns true when the ask needs no turn now: it was answered, refused, or waits for another one's answer.
bool shard_core::settle_by_key(activation& a, std::unique_ptr<envelope>& e) {
#ifdef HIVE_MUTATION_SKIP_DEDUP
  return false;
#endif
  auto& more = a.extra();
  const auto hash = e->key_hash();
  for (auto& running : more.running) {
    if (running.hash != hash) continue;
    if (!(running.digest == e->digest)) {
      refuse(std::move(e), {errc::already_exists, "key_reused", "this idempotency key belongs to another request", "idempotency_key"});
    } else running.waiters.push_back(std::move(e->ticket));
    return true;
  }
  if (!e->generated_key) {
    if (is_generated_key(e->key)) { // a client repeats with the key that the gateway made for it
      find_generated(a, std::move(e));
      return true;
    }
    if (!more.keys_loaded && a.keyed_on_disk != journal_position{}) {
      more.awaiting_keys.push_back(std::move(e));
      load_keys(a);
      return true;
    }
    more.keys_loaded = true;
    if (const auto known = more.keys.find(hash); known != more.keys.end()) {
      answer_from_row(a, std::move(e), known->second);
      return true;
    }
    if (more.keys.size() >= limits_.keys_kept) {
      refuse(std::move(e), {errc::resource_exhausted, "key_quota", "the entity keeps entity.keys_kept idempotency keys already; none is forgotten early",
                            "idempotency_key", std::chrono::seconds{60}});
      return true;
    }
  }
  more.running.push_back({hash, e->digest, {}});
  return false;
}

void shard_core::load_keys(activation& a) {
  auto& more = a.extra();
  if (std::exchange(more.keys_loading, true)) return;
  const auto oldest = services_.clock().wall_now() - settings_.keep.keys;
  services_.read([this, id = a.id, who = a.who, from = a.keyed_on_disk, limit = limits_.keys_kept, oldest, g = a.generation](auto& reader) {
    auto got = std::make_shared<result<std::vector<persistence::key_entry>>>(reader.keys(who, id, from, limit, oldest));
    services_.post(id, std::make_unique<call_op>([id, got, g](shard_core& shard) {
      activation* back = shard.find(id);
      if (!back || !back->more || back->generation != g) return;
      auto& held = *back->more;
      held.keys_loading = false;
      if (*got) {
        for (const auto& k : **got) held.keys.try_emplace(k.key_hash, k.position);
        held.keys_loaded = true;
      }
      for (auto& e : std::exchange(held.awaiting_keys, {})) {
        if (!*got) shard.refuse(std::move(e), got->error());
        else {
          shard.queued_change_ += 1;
          back->box.push_front(std::move(e));
        }
      }
      shard.make_ready(*back);
    }));
  });
}

void shard_core::answer_from_row(activation& a, std::unique_ptr<envelope> e, journal_position row) {
  std::shared_ptr<envelope> held(std::move(e));
  services_.read([this, id = a.id, who = a.who, row, held, g = a.generation](auto& reader) {
    auto got = reader.answer(who, id, row);
    if (!got) {
      if (got.error().code != errc::not_found) return held->ticket->fail(error(got.error()));
      // Trimmed: older than its retention, so the key is free again.
      services_.post(id, std::make_unique<call_op>([id, held, g](shard_core& shard) {
        if (auto* back = shard.find(id); back && back->more && back->generation == g) back->more->keys.erase(held->key_hash());
        shard.deliver(ask_again(*held));
      }));
      return;
    }
    if (!(got->digest == held->digest)) {
      held->ticket->fail({errc::already_exists, "key_reused", "this idempotency key belongs to another request", "idempotency_key"});
    } else if (got->failed) held->ticket->fail(decode_failure(got->answer.bytes));
    else held->ticket->answer({std::move(got->answer), {}, true});
  });
}

/// A key that the gateway made names its time: its chain is walked back no further than that.
void shard_core::find_generated(activation& a, std::unique_ptr<envelope> e) {
  std::shared_ptr<envelope> held(std::move(e));
  services_.read([this, id = a.id, who = a.who, from = a.generated_on_disk, held, limit = limits_.keys_kept](auto& reader) {
    const auto made = generated_key_time(held->key) - std::chrono::seconds{60};
    auto chain = reader.keys(who, id, from, limit, made);
    std::optional<journal_position> row;
    if (chain)
      for (const auto& k : *chain)
        if (k.key_hash == held->key_hash()) row = k.position;
    if (!chain) return held->ticket->fail(error(chain.error()));
    services_.post(id, std::make_unique<call_op>([id, held, row](shard_core& shard) {
      auto again = ask_again(*held);
      again->generated_key = true; // looked up: it either has its answer, or is new
      activation* back = shard.find(id);
      if (row && back) shard.answer_from_row(*back, std::move(again), *row);
      else shard.deliver(std::move(again));
    }));
  });
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
  if (own.in->from_where == envelope::origin::tell) { // best effort: should its turn not be committed, it is not tried again
    m.type = std::move(own.in->type);
    m.body = std::move(own.in->body);
    m.from = std::move(own.in->from);
  } else {
    m.type = own.in->type;
    m.body = own.in->body;
    m.from = own.in->from;
  }
  m.wants_reply = own.in->ticket || own.in->reply_to || own.in->from_where == envelope::origin::ask;
  own.parked = {};
  try {
    own.code = a.spec->code->handle(own.face, std::move(m));
  } catch (const std::exception& e) { // a `handle` that is no coroutine may throw right here
    return crash(a, std::move(host), e.what());
  }
  constexpr std::uint64_t sampled = 16; // a clock read costs as much as a small turn
  const bool timed = own.seed % sampled == 0;
  const auto began = timed ? services_.clock().steady_now() : steady_time{};
  own.code.start();
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
    services_.resolve(who, entity_kind::agent, name, [this, id = a.id, number, name, g = a.generation](result<entity_id> found) {
      auto shared = std::make_shared<result<entity_id>>(std::move(found));
      services_.post(id, std::make_unique<call_op>([id, number, name, g, shared](shard_core& shard) {
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

void shard_core::finish(activation& a, std::unique_ptr<turn_host> host) {
  auto& own = *host;
  const envelope& in = *own.in;
  bool durable = false;

  std::size_t outgoing = 0;
  for (const auto& o : own.out) outgoing += o.durable ? 1 : 0;
  // A queue bounds itself: it gives each agent so many tasks and no more.
  if (outgoing != 0 && a.id.serial() != default_queue_serial && (a.more ? a.more->outbox_size : 0U) + outgoing > limits_.outbox_messages)
    return refuse_turn(a, std::move(host), {errc::resource_exhausted, "outbox_full",
                                            "the agent has entity.outbox_messages messages on their way; its receivers are behind", {},
                                            std::chrono::milliseconds{100}});
  durable = outgoing != 0;
  if (own.record) durable = durable || !own.record->timers.empty() || !own.record->timers_gone.empty() || !own.record->logs.empty() || !own.record->items.empty() || !own.record->directory.empty() ||
                            !own.record->tenants.empty() || !own.record->api_keys.empty() || !own.record->audit.empty() ||
                            !own.record->events.empty();

  if (own.new_state && *own.new_state != a.state) {
    durable = true;
    own.effects();
  } else own.new_state.reset();

  const bool ask = in.from_where == envelope::origin::ask;
  if (durable || ask || a.run_ahead != 0 || lasting(in) || in.reply_to || own.accepted) stage_sends(a, own);

  if (in.reply_to && !own.deferred) { // an agent or a queue waits: the answer travels by outbox
    durable = true;
    payload answer = own.answer ? std::move(*own.answer) : payload{"null", content_type::json};
    add_reply(a, own.effects(), in, std::move(answer), own.failure ? &*own.failure : nullptr);
  }
  if (lasting(in)) {
    durable = true;
    mark(a, own.effects(), in);
  }
  if (own.reply) {
    durable = true;
    mark(a, own.effects(), *own.reply);
    own.effects().reply = std::move(own.reply);
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
    own.reset();
    spare_ = std::move(host);
    return;
  }

  auto r = own.record ? std::move(own.record) : make_record(a, in.who);
  r->writes = durable;
  if (durable) {
    r->position = services_.allot(id_);
    if (own.new_state) a.state = std::move(*own.new_state);
    const bool generated = r->keyed && r->keyed->generated;
    if (r->keyed) {
      r->previous_keyed = generated ? a.last_generated : a.last_keyed;
      (generated ? a.last_generated : a.last_keyed) = r->position;
      if (!generated) a.extra().keys.insert_or_assign(in.key_hash(), r->position);
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
    if (own.new_state.has_value() || generated || !r->logs.empty()) r->state = encode_state(a);
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
  submit(a, std::move(r));
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
  if (r->writes && a.more && !a.more->delivered.empty()) {
    r->delivered = std::move(a.more->delivered);
    a.more->delivered.clear();
    to_flush_.erase(a.id);
  }
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
  if (lasting(*in) && !in->reply_to) {
    const bool passing = why.code == errc::unavailable || why.code == errc::resource_exhausted;
    if (passing) return retry_later(a, std::move(in), accepted ? std::optional(number) : std::nullopt);
    return dead_letter(a, std::move(in), why.reason, json{{"error", why.message}}.dump(), accepted ? std::optional(number) : std::nullopt);
  }
  if (!accepted && in->from_where != envelope::origin::send) return refuse(std::move(in), std::move(why));
  auto r = make_record(a, in->who);
  r->writes = true;
  r->position = services_.allot(id_);
  if (accepted) r->ended = number;
  if (in->from_where == envelope::origin::send) mark(a, *r, *in);
  if (reply) {
    mark(a, *r, *reply);
    r->reply = std::move(reply);
  }
  if (in->reply_to) add_reply(a, *r, *in, {}, &why);
  r->failure = std::move(why);
  r->message = std::move(in);
  submit(a, std::move(r));
}

/// A durable message that cannot be handled just now goes back to the front of its lane; the entity pauses for a moment.
void shard_core::retry_later(activation& a, std::unique_ptr<envelope> e, std::optional<std::uint64_t> ended) {
  if (ended) end_waiting(a, e->who, *ended);
  queued_change_ += 1;
  a.box.push_front(std::move(e));
  a.doing = activity::paused;
  timers_.push({services_.clock().steady_now() + std::chrono::milliseconds{20}, a.id, 0, 0});
}

/// The rows of a waiting turn go; its message lives on elsewhere.
void shard_core::end_waiting(activation& a, tenant_context who, std::uint64_t number) {
  auto r = make_record(a, who);
  r->writes = true;
  r->position = services_.allot(id_);
  r->ended = number;
  submit(a, std::move(r));
}

void shard_core::dead_letter(activation& a, std::unique_ptr<envelope> e, std::string reason, std::string detail,
                             std::optional<std::uint64_t> ended) {
  add(services_.metrics(a.id.tenant()).mine().dead_letters);
  if (!lasting(*e)) return;
  auto r = make_record(a, e->who);
  r->writes = true;
  r->position = services_.allot(id_);
  r->ended = ended;
  mark(a, *r, *e);
  r->events.push_back({"message.dead_letter", "agent/" + a.name, json{{"type", e->type}, {"from", e->from}, {"reason", reason}}.dump()});
  if (e->reply_to) {
    const error why{errc::application, reason, "the receiver could not handle the message"};
    add_reply(a, *r, *e, {}, &why);
  }
  r->dead_letters.push_back({std::move(reason), encode_message(*e), std::move(detail)});
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
  const auto ended = accepted ? std::optional(host->number) : std::nullopt;
  if (lasting(*in) && !in->reply_to) {
    host->reset();
    if (!spare_) spare_ = std::move(host);
    if (in->attempts < limits_.attempts) { // handled first when the entity is back: order is kept
      if (ended) end_waiting(a, in->who, *ended);
      queued_change_ += 1;
      a.box.push_front(std::move(in));
    } else dead_letter(a, std::move(in), "attempts_exhausted", json{{"error", what}, {"attempts", limits_.attempts}}.dump(), ended);
  } else {
    host->in = std::move(in);
    refuse_turn(a, std::move(host), std::move(why));
  }
  a.doing = activity::crashed;
  const entity_id supervisor = a.spec && a.spec->supervisor ? a.spec->supervisor : entity_id{a.id.tenant(), root_supervisor_serial};
  services_.post(supervisor, std::make_unique<exited_op>(supervisor, a.id, a.life, a.spec ? a.spec->restart : restart_type::permanent, std::move(what)));
}

} // namespace hive::actors
