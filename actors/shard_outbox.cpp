// Durable messages between entities: written with the turn that sends them, delivered in order, deleted when handled.
#include "actors/recall.hpp"
#include "actors/shard_core.hpp"

namespace hive::actors {

void shard_core::add_outbox(activation& a, actor_record& r, entity_id to, lane on, std::string type, payload body, const envelope& extra) {
  persistence::outbox_row row;
  row.sender = a.id;
  row.receiver = to;
  row.sequence = ++a.sent;
  row.lane = static_cast<std::uint8_t>(on);
  row.principal = std::string(extra.who.principal());
  row.type = std::move(type);
  row.body = std::move(body);
  row.envelope = encode_extra(extra);
  r.bytes += row.body.bytes.size() + row.envelope.size() + 96;
  a.extra().outbox_size += 1;
  services_.gauges().outbox.fetch_add(1, std::memory_order_relaxed);
  r.outbox.push_back(std::move(row));
}

/// Deadlines travel as time left.
void shard_core::count_deadline(envelope& e) const {
  if (e.due != wall_time{}) e.deadline = services_.clock().steady_now() + (e.due - services_.clock().wall_now());
}

void shard_core::enqueue_outbound(activation& a, std::unique_ptr<envelope> e) {
  auto& link = a.extra().links[e->to];
  count_deadline(*e);
  link.unsent.push_back(std::move(e));
  pump(a, link);
}

/// Keeps up to `outbox_window` messages under way to one receiver: that bounds its lane, above which they are admitted.
void shard_core::pump(activation&, outbound_link& link) {
  while (link.in_flight.size() < limits_.outbox_window && !link.unsent.empty()) {
    auto e = std::move(link.unsent.front());
    link.unsent.pop_front();
    if (services_.among_others()) {
      e->previous = link.last_of(e->on);
      if (is_recall(*e)) set_behind(*e, link.last_of(lane::user));
    }
    link.in_flight.push_back({e->sequence, e->on});
    const entity_id to = e->to;
    services_.post(to, std::move(e));
  }
}

void shard_core::acknowledge(entity_id sender, entity_id receiver, std::uint64_t sequence) {
  services_.post(sender, std::make_unique<handled_op>(sender, receiver, sequence));
}

/// @returns true for a repeat. Its sender, who had not heard, is told what is on disk; of what only ran it hears by the commit.
bool shard_core::handled_before(activation& a, const envelope& e) {
  if (!a.more) return false;
  const auto mark = a.more->marks.find(mark_key(e));
  if (mark == a.more->marks.end() || mark->second.handled < e.sequence) return false;
  if (mark->second.on_disk >= e.sequence) acknowledge(e.sender, a.id, e.sequence);
  return true;
}

void shard_core::handled(handled_op& op) {
  activation* a = find(op.sender);
  if (!a || !a->more) return;
  auto& more = *a->more;
  const auto link = more.links.find(op.receiver);
  if (link == more.links.end()) return;
  auto& waited = link->second.in_flight;
  const auto which = std::find_if(waited.begin(), waited.end(), [&](const auto& m) { return m.sequence == op.sequence; });
  if (which == waited.end()) return; // told before: both the turn's acceptance and its end say so
  waited.erase(which);
  if (more.outbox_size > 0) more.outbox_size -= 1;
  services_.gauges().outbox.fetch_sub(1, std::memory_order_relaxed);
  more.delivered.push_back(op.sequence);
  flush_later(op.sender);
  pump(*a, link->second);
  if (waited.empty() && link->second.unsent.empty()) more.links.erase(link);
  make_ready(*a);
}

/// Handled rows mostly go with the sender's next turn: they wait for it a little, because a record of their own costs as
/// much as a turn.
void shard_core::flush_later(entity_id sender) {
  if (to_flush_.empty()) flush_at_ = services_.clock().steady_now() + std::chrono::milliseconds{200};
  to_flush_.insert(sender);
}

/// The sender was quiet since its messages were handled: their rows go with a record of their own.
void shard_core::flush_delivered(activation& a) {
  if (!a.more || a.more->delivered.empty()) return;
  if (a.doing == activity::reloading) return flush_later(a.id);
  auto r = make_record(a, a.who);
  r->delivered = std::move(a.more->delivered);
  a.more->delivered.clear();
  r->bytes += r->delivered.size() * 8;
  submit(a, std::move(r));
}

void shard_core::recover(persistence::outbox_row&& row) {
  const auto who = services_.context_of(row.sender.tenant(), row.principal);
  activation& a = find_or_make(row.sender, who);
  a.extra().outbox_size += 1;
  a.sent = std::max(a.sent, row.sequence);
  services_.gauges().outbox.fetch_add(1, std::memory_order_relaxed);
  enqueue_outbound(a, envelope_of(row, services_.context_of(row.receiver.tenant(), row.principal)));
}

} // namespace hive::actors
