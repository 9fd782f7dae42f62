// What became of the records that this shard submitted.
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {

using outcome = persistence::settlement::kind;

void shard_core::settled(settled_op& op) {
  auto& r = *op.record;
  auto& g = services_.gauges();
  g.run_ahead_turns.fetch_sub(1, std::memory_order_relaxed);
  g.run_ahead_bytes.fetch_sub(static_cast<std::int64_t>(r.bytes), std::memory_order_relaxed);
  if (r.fence != fence_) return; // of an earlier time here; its message's asker hears that it was dropped
  records_out_ -= 1;
  activation* a = find(r.entity);
  if (!a) return; // never: an activation with records under way is not unloaded
  a->run_ahead -= 1;
  a->run_ahead_bytes -= r.bytes;
  if (op.how == outcome::committed) committed(a, std::move(op.record));
  else failed(*a, op);
  if (a->doing == activity::reloading && a->run_ahead == 0) return reload(*a);
  if (a->run_ahead == 0 && a->more && a->more->read_wanted && a->more->turn) start_read(*a);
  if (a->spec_stale && a->run_ahead == 0 && a->doing == activity::idle && a->more && a->more->supervises) { // no turn of its own will
    a->spec_stale = false;
    a->doing = activity::absent;
    return start_loading(*a);
  }
  make_ready(*a);
}

void shard_core::committed(activation* a, std::unique_ptr<actor_record> r) {
  for (auto& t : r->tells) {
    const entity_id to = t->to;
    services_.post(to, std::move(t));
  }
  for (auto& row : r->outbox) {
    const bool same = row.receiver.tenant() == r->who.tenant();
    auto e = envelope_of(row, same ? r->who : services_.context_of(row.receiver.tenant(), row.principal));
    enqueue_outbound(*a, std::move(e));
  }
  for (const auto& m : r->marks) {
    if (a->more)
      if (const auto known = a->more->marks.find(mark_key(m.sender, m.lane)); known != a->more->marks.end())
        known->second.on_disk = std::max(known->second.on_disk, m.sequence);
    acknowledge(m.sender, r->entity, m.sequence);
  }
  if (!r->timers.empty() || !r->timers_gone.empty()) timers_committed(*r);
  if (r->purge != 0) purged(*a, *r);
  if (r->keyed) (r->keyed->generated ? a->generated_on_disk : a->keyed_on_disk) = r->position;
  if (r->keyed && r->keyed->generated && a->more && a->more->lookups != 0) a->more->answered_meanwhile.emplace(r->answered_key, r->position);
  if (r->answered_key != 0) settle_waiters(*a, r->answered_key, *r);
  if (!r->start_steps.empty() && a->more && a->more->turn && a->generation == r->generation)
    for (const auto step : r->start_steps)
      if (step < a->more->turn->steps.size() && !a->more->turn->steps[step].finished) start_step(*a, *a->more->turn, step);
}

/// Repeats of a keyed ask that came while it ran hear what it heard.
void shard_core::settle_waiters(activation& a, std::uint64_t key, const actor_record& r) {
  if (!a.more) return;
  auto& running = a.more->running;
  for (std::size_t i = 0; i < running.size(); ++i) {
    if (running[i].hash != key) continue;
    for (auto& w : running[i].waiters) {
      if (r.keyed && r.keyed->failed) w->fail(decode_failure(r.keyed->answer.bytes));
      else if (r.keyed) w->answer({r.keyed->answer, {}, true});
      else if (r.answer) w->answer({r.answer->body, {}, true});
      else w->fail(r.failure ? error(*r.failure) : error{errc::unavailable, "dropped", "ask again with the same key"});
    }
    running[i] = std::move(running.back());
    running.pop_back();
    return;
  }
}

/// The turn is not on disk, and neither is what ran ahead on top of it. The guilty one's asker hears why; the messages of
/// the others go back to their lanes, in order, and run again on what is really there.
void shard_core::failed(activation& a, settled_op& op) {
  auto r = std::move(op.record);
  auto& more = a.extra();
  if (a.doing != activity::reloading) {
    a.doing = activity::reloading;
    a.generation += 1;
    more.read_wanted = false;
  }
  more.pause_after_reload = more.pause_after_reload || op.how == outcome::unavailable;
  more.outbox_size -= std::min<std::uint32_t>(more.outbox_size, static_cast<std::uint32_t>(r->outbox.size()));
  services_.gauges().outbox.fetch_sub(static_cast<std::int64_t>(r->outbox.size()), std::memory_order_relaxed);
  // Rows that the record was to delete are still there: delete them with a later one.
  for (const auto n : r->delivered) more.delivered.push_back(n);
  if (r->reply) more.returned.push_back(std::move(r->reply));
  if (!r->timers_gone.empty()) timers_failed(*r);
  if (r->message && r->message->recall) more.returned.push_back(std::move(r->message->recall));
  if (r->message && r->message->from_where == envelope::origin::timer && !r->ended) return; // its row is there, and fires again
  if (!r->message) {
    if (r->ended) more.unended.push_back(*r->ended);
    return;
  }
  if (r->ended) { // whether its waiting row is there, only the store knows
    more.uncertain.emplace_back(*r->ended, std::move(r->message));
    return;
  }
  if (r->message->from_where == envelope::origin::tell) return; // at most once
  const bool guilty = op.how == outcome::refused || op.how == outcome::fenced ||
                      (op.how == outcome::unavailable && r->message->from_where != envelope::origin::send);
  if (!guilty) {
    more.returned.push_back(std::move(r->message));
    return;
  }
  error why = op.why;
  if (op.how == outcome::fenced) why = {errc::unavailable, "moved", "the entity's shard has another owner now; ask again with the same key"};
  log::warn("turn not committed", {{"entity", to_string(a.id)}, {"why", why.message}});
  if (r->answered_key != 0) {
    r->keyed.reset();
    r->answer.reset();
    r->failure = why;
    settle_waiters(a, r->answered_key, *r);
  }
  if (r->message->ticket) r->message->ticket->fail(std::move(why));
  else if (r->message->from_where == envelope::origin::send) {
    r->message->attempts = static_cast<std::uint8_t>(r->message->attempts + 1); // refused by the store: as good as a crash
    if (r->message->attempts < limits_.attempts) more.returned.push_back(std::move(r->message));
    else more.undeliverable.push_back(std::move(r->message));
  }
}

/// All that was under way has settled: start over from what the store holds.
void shard_core::reload(activation& a) {
  auto& more = *a.more;
  more.memory.reset();
  more.marks.clear();
  for (auto& k : more.running)
    for (auto& w : k.waiters) w->fail({errc::unavailable, "dropped", "the turn was not committed; ask again with the same key"});
  more.running.clear();
  return_awaiting(a);
  a.logs.clear();
  if (more.turn) {
    services_.gauges().waiting.fetch_sub(1, std::memory_order_relaxed);
    auto host = std::move(more.turn);
    if (host->reply) more.returned.push_back(std::move(host->reply));
    if (host->recall) more.returned.push_back(std::move(host->recall));
    if (!host->accepted && host->in->from_where == envelope::origin::timer) give_back_timer(*host->in);
    else if (host->accepted) more.uncertain.emplace_back(host->number, std::move(host->in));
    else if (host->in->from_where != envelope::origin::tell) more.returned.push_back(std::move(host->in));
  }
  auto back = std::exchange(more.returned, {});
  for (auto e = back.rbegin(); e != back.rend(); ++e) {
    queued_change_ += 1;
    a.box.push_front(std::move(*e));
  }
  a.doing = activity::absent;
  if (more.uncertain.empty()) return start_loading(a);

  // Turns whose acceptance may be on disk: if it is, they go on from there; if not, their messages are new.
  a.doing = activity::loading;
  auto rows = std::make_shared<std::vector<persistence::waiting_entity>>();
  services_.read(a.id.tenant(), [services = &services_, id = a.id, shard = id_, g = a.generation, rows](persistence::store_reader& reader) {
    const auto got = reader.waiting_of(shard, [&](persistence::waiting_entity&& w) {
      if (w.entity == id) rows->push_back(std::move(w));
      return true;
    });
    services->post(id, std::make_unique<call_op>([id, g, rows, ok = got.has_value()](shard_core& core) {
      activation* back_again = core.find(id);
      if (!back_again || back_again->generation != g) return;
      if (!ok) { // the store does not answer: until it does
        back_again->doing = activity::reloading;
        core.timers_.push({core.services_.clock().steady_now() + std::chrono::milliseconds{200}, id, 0, 0});
        return;
      }
      for (auto& [number, message] : std::exchange(back_again->more->uncertain, {})) {
        const auto row = std::find_if(rows->begin(), rows->end(), [n = number](const auto& w) { return w.turn.turn == n; });
        if (row == rows->end()) {
          if (message->from_where == envelope::origin::tell || message->from_where == envelope::origin::timer) continue; // a timer fires again
          core.queued_change_ += 1;
          back_again->box.push_front(std::move(message));
        } else {
          core.recover(std::move(*row));
          back_again->more->turn->in->ticket = std::move(message->ticket);
        }
      }
      core.start_loading(*back_again);
    }));
  });
}

} // namespace hive::actors
