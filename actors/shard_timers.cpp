// Timers of entities: rows that become messages when their time has come, in one commit with what the message does.
#include "actors/shard_core.hpp"

#include "config/base/log.hpp"

namespace hive::actors {

using scheduling::timer_window;

void shard_core::load_timers(std::uint64_t count) {
  services_.gauges().timers.fetch_add(static_cast<std::int64_t>(count), std::memory_order_relaxed);
  alarms_.read_again();
  read_timers();
}

void shard_core::read_timers() {
  if (!alarms_.wants_page()) return;
  alarms_.reading();
  services_.read(system_tenant, [services = &services_, shard = id_, after = alarms_.last(), most = alarms_.page_size()](persistence::store_reader& reader) {
    auto rows = std::make_shared<std::vector<persistence::timer_row>>();
    bool complete = true;
    const auto got = reader.timers_of(shard, after, [&](persistence::timer_row&& row) {
      if (rows->size() == most) return complete = false;
      rows->push_back(std::move(row));
      return true;
    });
    // Any entity of the shard leads back to it: there is one for each row, and without rows the shard itself must do.
    services->post_to(shard, std::make_unique<call_op>([rows, complete, ok = got.has_value()](shard_core& core) {
      if (ok) core.alarms_.page(std::move(*rows), complete);
      else {
        core.alarms_.not_read();
        core.retry_timers_ = core.services_.clock().steady_now() + std::chrono::milliseconds{200};
        return;
      }
      core.fire_timers();
    }));
  });
}

/// Never early: the clock is read after the row's time.
void shard_core::fire_timers() {
  if (alarms_.size() != 0) {
    read_clock();
    while (auto row = alarms_.fire(wall_now_, settings_.node.timers_in_flight)) {
      auto e = std::make_unique<envelope>(services_.context_of(row->entity.tenant(), row->principal), row->entity, envelope::origin::timer);
      e->type = std::move(row->type);
      e->body = std::move(row->body);
      e->fires_at = row->due;
      e->sequence = row->number;
      deliver(std::move(e));
    }
  }
  read_timers();
}

namespace {
timer_window::key key_of(const envelope& e) { return {e.fires_at, e.to, e.sequence}; }
} // namespace

bool shard_core::still_wanted(const envelope& e) const { return alarms_.counts(key_of(e)); }

/// Its turn was not committed: the row is still there, and it fires again.
void shard_core::give_back_timer(const envelope& e) {
  alarms_.give_back(key_of(e));
  read_timers();
}

/// What a record does to timers holds at once for those in memory: a cancelled one that is in the mailbox already is not
/// handled any more.
void shard_core::stage_timers(activation& a, actor_record& r) {
  for (auto& t : r.timers) {
    t.entity = a.id;
    t.principal = std::string(r.who.principal());
    r.bytes += t.body.bytes.size() + t.type.size() + 64;
  }
  for (const auto& t : r.timers_gone) {
    const auto known = alarms_.size();
    const bool fired = alarms_.cancel({t.due, a.id, t.number});
    // One that is due, and neither in the window nor fired, was handled before: nothing goes with its cancellation.
    if (fired || alarms_.size() != known || t.due > services_.clock().wall_now()) r.timers_ended += 1;
  }
}

void shard_core::timers_committed(const actor_record& r) {
  for (const auto& t : r.timers_gone) alarms_.deleted({t.due, r.entity, t.number});
  for (const auto& t : r.timers) alarms_.set(t);
  services_.gauges().timers.fetch_add(static_cast<std::int64_t>(r.timers.size()) - r.timers_ended, std::memory_order_relaxed);
  if (!r.timers_gone.empty()) fire_timers(); // one that waited for the limit may go now
  else read_timers();
}

void shard_core::timers_failed(const actor_record& r) {
  for (const auto& t : r.timers_gone) alarms_.not_deleted({t.due, r.entity, t.number});
  read_timers();
}

} // namespace hive::actors
