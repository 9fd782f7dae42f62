// Taking a request back: "hive.task.cancel" on the system lane names an attempt of a task, or a step's ask made on its
// behalf. Once its answer is committed, nothing of the request takes effect any more.
#include "actors/recall.hpp"
#include "actors/shard_core.hpp"

#include <algorithm>

namespace hive::actors {

using persistence::desired_state;

namespace {

const error& taken_back() {
  static const error why{errc::application, "cancelled", "the request was cancelled by the one who sent it"};
  return why;
}

bool about(const reply_address& to, const envelope& recall) {
  const auto& wanted = recall.reply_to;
  return to && to.asker == recall.sender && to.task == wanted.task && to.turn == wanted.turn && to.step == wanted.step;
}
bool about(const envelope& request, const envelope& recall) { return about(request.reply_to, recall); }

/// Whether something that its sender sent here on the user lane before the recall was lost on its way: each such message names
/// the one before it, down to one that was handled. What is lost is sent again, and may be what the recall is about.
bool lost_before(activation& a, const envelope& recall) {
  std::uint64_t wanted = behind(recall);
  if (wanted == 0) return false;
  std::uint64_t handled = 0;
  std::unordered_map<std::uint64_t, std::uint64_t> previous; // of those that are here
  const auto look = [&](const envelope& e) {
    if (e.from_where != envelope::origin::send || e.sender != recall.sender) return true;
    const auto known = previous.try_emplace(e.sequence, e.previous).first;
    known->second = std::min(known->second, e.previous); // sent again, it may name an older one
    return true;
  };
  if (a.more) {
    const auto mark = a.more->marks.find(mark_key(recall.sender, static_cast<std::uint8_t>(lane::user)));
    if (mark != a.more->marks.end()) handled = mark->second.handled;
    if (a.more->turn && a.more->turn->in) look(*a.more->turn->in);
  }
  a.box.each(lane::user, look);
  while (wanted > handled) {
    const auto here = previous.find(wanted);
    if (here == previous.end()) return true;
    wanted = here->second;
  }
  return false;
}

} // namespace

/// The request waits in the mailbox, its turn waits, or it is over; or it was lost with a link, and then the recall is as if
/// it had been lost too: both come again, in order.
void shard_core::recall(activation& a, std::unique_ptr<envelope> e) {
  auto* turn = a.more && a.more->turn ? a.more->turn.get() : nullptr;
  if (turn && turn->in && about(*turn->in, *e)) {
    turn->recall = std::move(e);
    if (turn->waits == wait_kind::step && !turn->steps[turn->waiting_step].finished) {
      const auto& s = turn->steps[turn->waiting_step];
      if (s.what == step_state::kind::ask) return forward_recall(a, *turn);
      if (s.what == step_state::kind::task) return recall_task(a, *turn);
      if (s.what == step_state::kind::run) return; // it cannot be taken out of its thread: its end is waited for
    }
    return end_recalled(a);
  }
  bool another_before = turn && turn->in && turn->in->sender == e->sender;
  envelope* found = nullptr;
  a.box.each(lane::user, [&](envelope& queued) {
    if (about(queued, *e)) found = &queued;
    else if (!found && queued.from_where == envelope::origin::send && queued.sender == e->sender) another_before = true;
    return found == nullptr;
  });
  if (!found && lost_before(a, *e)) return;
  if (found && (another_before || came_too_early(a, *found))) { // refused when its turn comes: "handled" is said in order
    found->recall = std::move(e);
    return;
  }
  if (found) {
    auto request = a.box.take(lane::user, found);
    queued_change_ -= 1;
    request->recall = std::move(e);
    return refuse_recalled(a, std::move(request));
  }
  auto r = make_record(a, e->who);
  r->writes = true;
  r->position = services_.allot(id_);
  mark(a, *r, *e);
  if (!recall_later(a, *e, *r)) { // it is over
    e->reply_to.asker = e->sender;
    add_reply(a, *r, *e, {}, &taken_back());
  }
  r->message = std::move(e);
  submit(a, std::move(r));
}

/// Its answer was put off: its agent's work on it ends when the agent says so.
/// @returns false when nothing is put off, or the agent does not run and has to be asked nothing.
bool shard_core::recall_later(activation& a, const envelope& e, actor_record& r) {
  if (!a.more) return false;
  auto& all = a.more->open_replies;
  const auto open = std::find_if(all.begin(), all.end(), [&](const open_reply& o) { return about(o.to, e); });
  if (open == all.end()) return false;
  if (a.desired != desired_state::running) {
    all.erase(open);
    r.state = encode_state(a);
    return false;
  }
  if (open->on_cancel.empty()) return true;
  envelope extra(e.who, a.id, envelope::origin::send);
  extra.from = "agent/" + a.name;
  extra.trace = e.trace;
  add_outbox(a, r, a.id, lane::user, open->on_cancel, json_payload({{"token", token_of(open->to)}}), extra);
  return true;
}

/// The request has not begun.
void shard_core::refuse_recalled(activation& a, std::unique_ptr<envelope> request) {
  auto r = make_record(a, request->who);
  r->writes = true;
  r->position = services_.allot(id_);
  mark(a, *r, *request);
  mark(a, *r, *request->recall);
  add_reply(a, *r, *request, {}, &taken_back());
  r->message = std::move(request);
  submit(a, std::move(r));
}

/// What the turn waits for was asked on the same behalf.
void shard_core::forward_recall(activation& a, turn_host& host) {
  const auto k = static_cast<std::uint32_t>(host.waiting_step);
  const auto& s = host.steps[k];
  if (!host.accepted) return end_recalled(a); // never sent
  std::string name = s.target.substr(0, s.target.find('\n'));
  const auto kind = name.starts_with("context/") ? entity_kind::context : entity_kind::agent;
  if (kind == entity_kind::context) name.erase(0, 8);
  const auto target = services_.known(host.in->who, kind, name);
  if (!target) { // after a start, names have to be looked up again
    services_.resolve(host.in->who, kind, name, [services = &services_, id = a.id, number = host.number, g = a.generation](result<entity_id> found) {
      services->post(id, std::make_unique<call_op>([id, number, g, gone = !found && found.error().code == errc::not_found](shard_core& shard) {
        activation* back = shard.find(id);
        if (!back || back->generation != g || !back->more || !back->more->turn || back->more->turn->number != number) return;
        if (!gone) shard.forward_recall(*back, *back->more->turn);
        else shard.end_recalled(*back); // whom it asked is gone
        if (auto* still = shard.find(id)) shard.make_ready(*still);
      }));
    });
    return;
  }
  auto r = make_record(a, host.in->who);
  r->writes = true;
  r->position = services_.allot(id_);
  envelope extra(host.in->who, *target, envelope::origin::send);
  extra.reply_to = {a.id, host.number, k, {}};
  extra.trace = host.in->trace;
  add_outbox(a, *r, *target, lane::system, "hive.task.cancel", {}, extra);
  submit(a, std::move(r));
}

/// The queue ends the task that the turn waits for; that end comes as the step's answer.
void shard_core::recall_task(activation& a, turn_host& host) {
  const auto k = static_cast<std::uint32_t>(host.waiting_step);
  if (!host.accepted) return end_recalled(a); // never sent
  auto r = make_record(a, host.in->who);
  r->writes = true;
  r->position = services_.allot(id_);
  envelope extra(host.in->who, queue_of(a.id.tenant(), host.steps[k].queue), envelope::origin::send);
  extra.trace = host.in->trace;
  add_outbox(a, *r, extra.to, lane::user, "task.recall", {token_of({a.id, host.number, k, {}}), content_type::text}, extra);
  submit(a, std::move(r));
}

/// The waiting turn ends here; nothing of it is committed but that.
void shard_core::end_recalled(activation& a) {
  services_.gauges().waiting.fetch_sub(1, std::memory_order_relaxed);
  auto host = std::move(a.more->turn);
  auto r = make_record(a, host->in->who);
  r->writes = true;
  r->position = services_.allot(id_);
  if (host->accepted) r->ended = host->number;
  if (host->in->from_where == envelope::origin::send) mark(a, *r, *host->in);
  mark(a, *r, *host->recall);
  if (host->reply) {
    mark(a, *r, *host->reply);
    r->reply = std::move(host->reply);
  }
  add_reply(a, *r, *host->in, {}, &taken_back());
  r->message = std::move(host->in);
  r->message->recall = std::move(host->recall);
  a.more->read_wanted = false;
  a.doing = activity::idle;
  submit(a, std::move(r));
}

} // namespace hive::actors
