// Moves of a shard between nodes: how it comes to rest and what it leaves behind, and how it reaches those who moved.
#include "actors/recall.hpp"
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {

shard_core::~shard_core() {
  auto& g = services_.gauges();
  std::int64_t queued = queued_change_;
  for (const auto& [id, a] : entities_) {
    queued -= static_cast<std::int64_t>(a->box.count());
    if (!a->more) continue;
    g.outbox.fetch_sub(a->more->outbox_size, std::memory_order_relaxed);
    if (a->more->turn && a->doing == activity::waiting) g.waiting.fetch_sub(1, std::memory_order_relaxed);
  }
  g.queued.fetch_add(queued, std::memory_order_relaxed);
  g.activations.fetch_sub(static_cast<std::int64_t>(entities_.size()), std::memory_order_relaxed);
  g.activation_bytes.fetch_sub(static_cast<std::int64_t>(bytes_told_), std::memory_order_relaxed);
}

void shard_core::close(std::function<void()> quiet) {
  closed_ = true;
  when_quiet_ = std::move(quiet);
  tell_if_quiet();
}

void shard_core::open() {
  closed_ = false;
  when_quiet_ = nullptr;
}

/// Waiting turns go on at the new owner, from their rows. A call that an executor is at is waited for: begun again
/// elsewhere, it would be made twice.
void shard_core::tell_if_quiet() {
  if (!when_quiet_ || records_out_ != 0) return;
  for (const auto& [id, a] : entities_) {
    if (!a->more || !a->more->turn) continue;
    for (const auto& s : a->more->turn->steps)
      if (s.what == step_state::kind::run && !s.finished) return;
  }
  std::exchange(when_quiet_, nullptr)();
}

std::vector<std::unique_ptr<shard_op>> shard_core::give_up() {
  closed_ = true;
  std::vector<std::unique_ptr<shard_op>> left;
  for (const auto& [id, a] : entities_) {
    for (const auto l : {lane::system, lane::urgent, lane::user})
      while (auto e = a->box.pop(l)) {
        queued_change_ -= 1;
        if (e->from_where == envelope::origin::ask || e->from_where == envelope::origin::tell) left.push_back(std::move(e));
      }
    if (!a->more) continue;
    for (auto& op : a->more->after_load) left.push_back(std::move(op));
    if (a->more->memory) services_.views().close(id);
  }
  return left;
}

void shard_core::send_again(const std::function<bool(entity_id)>& moved, bool new_owner) {
  std::unordered_map<entity_id, std::vector<std::uint64_t>> missing; // by sender, of those receivers
  for (const auto& [id, a] : entities_) {
    const bool ended = a->doing == activity::crashed || (a->doing == activity::held && !a->stopping);
    if (new_owner && ended && moved(supervisor_of(*a))) end_life(*a, false);
    if (!a->more) continue;
    for (const auto& [to, link] : a->more->links)
      if (!link.in_flight.empty() && moved(to))
        for (const auto& m : link.in_flight) missing[id].push_back(m.sequence);
  }
  send_rows_again(std::move(missing));
}

void shard_core::send_stuck_again() {
  constexpr std::uint32_t patience_max = 8;
  std::unordered_map<entity_id, std::vector<std::uint64_t>> missing;
  for (const auto& [id, a] : entities_) {
    if (!a->more) continue;
    for (auto& [to, link] : a->more->links) {
      if (link.in_flight.empty()) continue;
      if (link.in_flight.front().sequence != std::exchange(link.stuck_at, link.in_flight.front().sequence)) {
        link.patience = 1;
        link.looks_left = 1;
        continue;
      }
      if (link.looks_left-- != 0) continue;
      link.looks_left = link.patience = std::min(link.patience * 2, patience_max);
      for (const auto& m : link.in_flight) missing[id].push_back(m.sequence);
    }
  }
  send_rows_again(std::move(missing));
}

/// From their rows. @param wanted by sender.
void shard_core::send_rows_again(std::unordered_map<entity_id, std::vector<std::uint64_t>> missing) {
  if (missing.empty()) return;
  auto rows = std::make_shared<std::vector<persistence::outbox_row>>();
  auto wanted = std::make_shared<decltype(missing)>(std::move(missing));
  services_.read(system_tenant, [services = &services_, shard = id_, f = fence_, rows, wanted](persistence::store_reader& reader) {
    const auto got = reader.outbox_of(shard, [&](persistence::outbox_row&& row) {
      const auto of = wanted->find(row.sender);
      if (of != wanted->end() && std::find(of->second.begin(), of->second.end(), row.sequence) != of->second.end()) rows->push_back(std::move(row));
      return true;
    });
    if (!got) return; // the next time
    services->post_to(shard, std::make_unique<call_op>([rows, f](shard_core& core) {
      if (core.fence_ != f) return;
      std::map<std::tuple<entity_id, entity_id, std::uint8_t>, std::uint64_t> before; // sender, receiver, lane -> last sent
      for (const auto& row : *rows) {
        activation* a = core.find(row.sender);
        if (!a || !a->more) continue;
        const auto link = a->more->links.find(row.receiver);
        if (link == a->more->links.end()) continue;
        const auto& waited = link->second.in_flight;
        if (std::none_of(waited.begin(), waited.end(), [&](const auto& m) { return m.sequence == row.sequence; })) continue; // handled by now
        auto e = envelope_of(row, core.services_.context_of(row.receiver.tenant(), row.principal));
        core.count_deadline(*e);
        e->again = true;
        e->previous = std::exchange(before[{row.sender, row.receiver, row.lane}], row.sequence);
        if (is_recall(*e)) {
          const auto user = before.find({row.sender, row.receiver, static_cast<std::uint8_t>(lane::user)});
          set_behind(*e, user == before.end() ? 0 : user->second);
        }
        core.services_.post(row.receiver, std::move(e));
      }
    }));
  });
}

/// A receiver may wait for hours: what is sent to it again is in its lane, and would fill it. Those of the same sender that came
/// without it, because a link had lost it, are behind it on their way once more.
bool shard_core::is_here(activation& a, const envelope& again) {
  const auto same_way = [&](const envelope& e) { return e.from_where == envelope::origin::send && e.sender == again.sender; };
  if (const auto* turn = a.more ? a.more->turn.get() : nullptr; turn && turn->in && turn->in->on == again.on && same_way(*turn->in) && turn->in->sequence == again.sequence)
    return true;
  envelope* earlier = nullptr;
  std::vector<envelope*> later;
  a.box.each(again.on, [&](envelope& e) {
    if (!same_way(e)) return true;
    if (e.sequence == again.sequence) earlier = &e;
    else if (e.sequence > again.sequence) later.push_back(&e);
    return earlier == nullptr;
  });
  if (earlier) {
    earlier->previous = std::min(earlier->previous, again.previous); // what it named may be handled by now
    return true;
  }
  for (auto* e : later) a.box.take(again.on, e);
  queued_change_ -= static_cast<std::int64_t>(later.size());
  return false;
}

/// What went before it by the same way was lost with a link or an owner. Its sender sends both again, in order; taken now, it would
/// leave a mark above the other one, which would then count as handled.
bool shard_core::came_too_early(activation& a, const envelope& e) {
  if (e.previous == 0) return false;
  if (!a.more) return true;
  const auto mark = a.more->marks.find(mark_key(e));
  return mark == a.more->marks.end() || mark->second.handled < e.previous;
}

} // namespace hive::actors
