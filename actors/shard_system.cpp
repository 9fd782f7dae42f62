// Desired states by a person's hand, deletion, and messages that do harm.
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

#include <algorithm>

namespace hive::actors {

using persistence::desired_state;

/// Messages of the hive's own entities: their types start with "hive.".
void shard_core::system_message(activation& a, std::unique_ptr<envelope> e) {
  if (handled_before(a, *e)) return;
  if (e->type == "hive.task.cancel") return recall(a, std::move(e));
  auto r = make_record(a, e->who);
  r->writes = true;
  r->position = services_.allot(id_);
  mark(a, *r, *e);
  const std::string kind = a.spec ? to_string(a.spec->kind) : "entity";

  const auto own = a.more->above_down ? a.more->own_desired : a.desired;
  if (e->type == "hive.spec_changed") {
    a.spec_stale = true;
    if (own == desired_state::quarantined) start_by_hand(a, *r); // applied again: released
    else if (a.doing == activity::crashed && !a.more->supervises) a.doing = activity::idle;
  } else if (e->type == "hive.start") {
    if (own == desired_state::stopped || own == desired_state::quarantined) start_by_hand(a, *r);
  } else if (e->type == "hive.stop") {
    if (own == desired_state::running) {
      set_desired(a, *r, desired_state::stopped);
      r->events.push_back({kind + ".stopped", kind + "/" + a.name, json{{"by", e->who.principal()}}.dump()});
      stop_by_hand(a, false);
    }
  } else if (e->type == "hive.restart") {
    const auto body = json::parse(e->body.bytes, nullptr, false);
    const bool reset = body.is_object() && body.value("reset", false);
    if (reset) abandon_turn(a, *r, {errc::application, "reset", "the agent was restarted with an empty state while the ask waited"}, "receiver_reset");
    if (own != desired_state::deleted) {
      if (reset) { // on disk with this message: whoever has the shard by then goes on with it
        a.resetting = true;
        r->state = encode_state(a);
      }
      if (own != desired_state::running) set_desired(a, *r, desired_state::running);
      if (!a.more->above_down) stop_by_hand(a, true);
    }
  } else if (e->type == "hive.deleted") {
    a.more->above_down = false;
    a.desired = desired_state::deleted;
    r->desired = a.desired;
    a.resetting = false;
    a.state.clear();
    a.logs.clear();
    r->state = std::string{};
    return_awaiting(a); // to hear that it is gone
    abandon_turn(a, *r, {errc::not_found, "deleted", "the entity was deleted while the ask waited"}, "receiver_deleted");
    a.more->supervises.reset();
    a.more->memory.reset();
    a.generation += 1;
    a.doing = activity::idle;
    // Its name is not in the directory any more: the order says it.
    const json body = json::parse(e->body.bytes, nullptr, false);
    const std::string address = body.is_object() ? body.value("address", kind + "/" + a.name) : kind + "/" + a.name;
    r->events.push_back({address.substr(0, address.find('/')) + ".deleted", address, "{}"});
    purge_later(*r, settings_.purge.after);
  } else {
    log::warn("unknown system message", {{"type", e->type}, {"entity", to_string(a.id)}});
  }
  r->generation = a.generation;
  r->message = std::move(e);
  submit(a, std::move(r));
}

// -- the rows of what was deleted: a bounded number in each commit, and between two a timer on the disk, which neither a crash
// nor a new owner forgets. The entity's own row stays, and what it handled of whom: ids are never used again, and nobody who
// repeats a message is taken for new.

void shard_core::purge_later(actor_record& r, std::chrono::milliseconds wait) {
  const auto number = chance_.next() >> 1U; // stores order it as a signed number
  r.timers.push_back({services_.clock().wall_now() + wait, number, {}, {}, purge_message, payload{"null", content_type::json}});
}

void shard_core::purge_rows(activation& a, std::unique_ptr<envelope> e) {
  auto r = make_record(a, e->who);
  r->writes = true;
  r->position = services_.allot(id_);
  mark(a, *r, *e);
  r->purge = settings_.purge.rows;
  purge_later(*r, settings_.purge.every);
  r->message = std::move(e);
  submit(a, std::move(r));
}

/// Fewer than there might have been: these were the last, and the timer that this commit set is not needed.
void shard_core::purged(activation& a, const actor_record& r) {
  if (!r.purged || *r.purged >= r.purge || r.timers.empty()) return;
  auto last = make_record(a, r.who);
  last->writes = true;
  last->position = services_.allot(id_);
  last->timers_gone.push_back({r.timers.back().due, r.timers.back().number});
  submit(a, std::move(last));
}

/// From stopped or quarantined to running; the new life begins when this is on its way to the disk.
void shard_core::start_by_hand(activation& a, actor_record& r) {
  set_desired(a, r, desired_state::running);
  if (a.suspected) { // a clean sheet
    a.suspected = false;
    a.more->suspects.clear();
    r.state = encode_state(a);
  }
  const bool below_down = a.more->above_down;
  const entity_id supervisor = a.spec && a.spec->supervisor ? a.spec->supervisor : entity_id{a.id.tenant(), root_supervisor_serial};
  services_.post(supervisor, std::make_unique<answer_op>(answer_op::news::began, supervisor, supervised_child{a.id}, a.life, 0));
  if (!below_down) stop_by_hand(a, true);
  else if (a.spec && a.spec->kind == entity_kind::supervisor) take_down(a, a.more->above); // no more with it, but with the one above
}

void shard_core::stop_by_hand(activation& a, bool restart) {
  auto stop = std::make_unique<stop_under_way>();
  stop->by_person = true;
  stop->restart = restart;
  stop->number = ++stops_;
  if (a.more->stop) { // by its supervisor: a person's wish comes first, and answers the supervisor too
    stop->supervisor = a.more->stop->supervisor;
    stop->ticket = a.more->stop->ticket;
    a.more->stop.reset();
  }
  if (a.spec && a.spec->shutdown)
    timers_.push({services_.clock().steady_now() + *a.spec->shutdown, a.id, stop_timer, stop->number});
  a.stopping = true;
  a.more->stop = std::move(stop);
  // It is complete when this message's record is on disk, and nothing of the old life runs any more.
  if (a.spec && a.spec->kind == entity_kind::supervisor && (!restart || a.more->supervises)) end_group(a);
}

/// The turn that waits is over, and so is what was put off; who asked hears why, and a message that nobody waits for becomes
/// a dead letter. The caller stores the state.
void shard_core::abandon_turn(activation& a, actor_record& r, const error& why, const char* reason) {
  for (const auto& open : std::exchange(a.more->open_replies, {})) {
    envelope asked(a.who, a.id, envelope::origin::send);
    asked.reply_to = open.to;
    add_reply(a, r, asked, {}, &why);
  }
  if (!a.more->turn) return;
  services_.gauges().waiting.fetch_sub(1, std::memory_order_relaxed);
  const auto host = std::move(a.more->turn);
  if (host->accepted) r.ended = host->number;
  take_mark(a, r, std::move(host->reply));
  if (host->in && host->in->lasting()) {
    mark(a, r, *host->in);
    if (!host->in->reply_to) r.dead_letters.push_back({reason, encode_message(*host->in), "{}"});
  }
  if (host->in && host->in->ticket) host->in->ticket->fail(error(why));
  if (host->in && host->in->reply_to) add_reply(a, r, *host->in, {}, &why);
  a.more->read_wanted = false;
  a.generation += 1;
  a.doing = activity::idle;
  return_awaiting(a); // whatever was looked up for the old generation is void
}

void shard_core::record_event(activation& a, const char* what, json data) {
  auto r = make_record(a, a.who);
  r->writes = true;
  r->position = services_.allot(id_);
  const std::string kind = a.spec ? to_string(a.spec->kind) : "entity";
  r->events.push_back({kind + "." + what, kind + "/" + a.name, data.dump()});
  if (a.suspected) r->state = encode_state(a);
  submit(a, std::move(r));
}

// -- poison: messages that the agent, or the whole process, dies of

std::uint64_t message_of(const envelope& e) noexcept {
  switch (e.from_where) {
  case envelope::origin::ask: return e.key_hash();
  case envelope::origin::send: return (e.sender.bits() * 0x9E3779B97F4A7C15ULL) ^ (e.sequence * 4 + static_cast<std::uint64_t>(e.on) + 1);
  case envelope::origin::timer: return (e.to.bits() * 0x9E3779B97F4A7C15ULL) ^ (e.sequence * 2 + 1);
  case envelope::origin::tell:
  case envelope::origin::reply: return 0;
  }
  return 0;
}

const suspect_message* shard_core::known_suspect(const activation& a, const envelope& e) const noexcept {
  const auto message = message_of(e);
  for (const auto& s : a.more->suspects)
    if (message != 0 && s.message == message) return &s;
  return nullptr;
}

bool shard_core::poisonous(const activation& a, const envelope& e) const noexcept {
  const auto* known = known_suspect(a, e);
  return known && known->deaths >= limits_.process_deaths;
}

/// The newest is at the back; the oldest of too many is forgotten.
suspect_message& shard_core::suspect_of(activation& a, std::uint64_t message) {
  constexpr std::size_t kept = 16;
  auto& list = a.extra().suspects;
  a.suspected = true;
  const auto known = std::find_if(list.begin(), list.end(), [&](const suspect_message& s) { return s.message == message; });
  if (known != list.end()) std::rotate(known, known + 1, list.end());
  else {
    if (list.size() >= kept) list.erase(list.begin());
    list.push_back({message});
  }
  return list.back();
}

/// It ended well, or as a dead letter: either way it does not run again.
void shard_core::forget_suspect(activation& a, actor_record& r, const envelope& e) {
  const auto message = message_of(e);
  if (message == 0) return; // another tell than the one that did harm
  if (std::erase_if(a.more->suspects, [&](const suspect_message& s) { return s.message == message; }) == 0) return;
  a.suspected = !a.more->suspects.empty();
  r.state = encode_state(a);
}

/// Counted on disk before the message can run again: the entity loads once more when it is. An agent that is to blame for
/// too many deaths, whatever the messages, is quarantined itself.
void shard_core::suspect(activation& a, const suspect_op& op) {
  if (!a.spec || a.desired == desired_state::deleted) return;
  std::uint32_t deaths_of_message = 0;
  if (op.message != 0) deaths_of_message = ++suspect_of(a, op.message).deaths;
  std::uint32_t deaths_of_agent = 0;
  if (op.blamed) deaths_of_agent = ++suspect_of(a, 0).deaths;
  a.more->last_error = "the process died while it ran this agent: " + op.how;
  a.more->last_error_at = services_.clock().wall_now();
  const std::string kind = to_string(a.spec->kind);
  log::error("the process died while it ran this entity", {{"entity", kind + "/" + a.name}, {"tenant", a.id.tenant().value()}, {"how", op.how},
                                                          {"message", op.message}, {"deaths_of_message", deaths_of_message}});
  auto r = make_record(a, a.who);
  r->writes = true;
  r->position = services_.allot(id_);
  r->state = encode_state(a);
  r->events.push_back({kind + ".suspected", kind + "/" + a.name, json{{"how", op.how}, {"deaths_of_message", deaths_of_message}}.dump()});
  if (deaths_of_agent > limits_.process_deaths + 1 && a.spec->kind == entity_kind::agent) {
    set_desired(a, *r, desired_state::quarantined);
    r->events.push_back({kind + ".quarantined", kind + "/" + a.name, json{{"error", a.more->last_error}}.dump()});
  }
  submit(a, std::move(r));
  a.doing = activity::reloading;
  a.generation += 1;
}

void shard_core::note(activation& a, note_op& op) {
  auto r = make_record(a, a.who);
  r->writes = true;
  r->position = services_.allot(id_);
  r->events.push_back(std::move(op.event));
  submit(a, std::move(r));
}

} // namespace hive::actors
