// Idempotency keys: repeats of an ask get the answer of the first one, whenever they come.
#include "actors/shard_core.hpp"

namespace hive::actors {
namespace {

/// Rows of a chain that are read in one go: a reader thread serves other tenants in between.
constexpr std::size_t rows_per_read = 1'000;

/// The same ask, for another look: a reader's job holds the first one and may be copied, so it gives up its parts.
std::unique_ptr<envelope> ask_again(envelope& held) {
  auto e = std::make_unique<envelope>(held.who, held.to, held.from_where);
  e->on = held.on;
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

error key_reused() { return {errc::already_exists, "key_reused", "this idempotency key belongs to another request", "idempotency_key"}; }

} // namespace

/// @returns true when the ask needs no turn now: it was answered, refused, or waits for another one's answer.
bool shard_core::settle_by_key(activation& a, std::unique_ptr<envelope>& e) {
#ifdef HIVE_MUTATION_SKIP_DEDUP
  return false;
#endif
  auto& more = a.extra();
  const auto hash = e->key_hash();
  for (auto& running : more.running) {
    if (running.hash != hash) continue;
    if (!(running.digest == e->digest)) refuse(std::move(e), key_reused());
    else {
      e->ticket->leave(); // it waits for the other one, which may take its time
      running.waiters.push_back(std::move(e->ticket));
    }
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
    if (const auto known = more.keys.find(hash)) {
      answer_from_row(a, std::move(e), *known);
      return true;
    }
    if (more.keys.size() >= limits_.keys_kept) more.keys.expire(wall_now_ - settings_.keep.keys);
    if (more.keys.size() >= limits_.keys_kept) {
      refuse(std::move(e), {errc::resource_exhausted, "key_quota",
                            "the entity keeps entity.keys_kept idempotency keys of the last keep.keys already; none is forgotten early",
                            "idempotency_key", std::chrono::seconds{60}});
      return true;
    }
  }
  more.running.push_back({hash, e->digest, {}});
  return false;
}

// -- a client's own keys: an index in memory, read from the chain of rows when the first one comes

void shard_core::load_keys(activation& a) {
  auto& more = a.extra();
  if (std::exchange(more.keys_loading, true)) return;
  const auto oldest = services_.clock().wall_now() - settings_.keep.keys;
  services_.read(a.id.tenant(), [services = &services_, id = a.id, who = a.who, from = a.keyed_on_disk, limit = limits_.keys_kept, oldest, g = a.generation](auto& reader) {
    auto got = std::make_shared<result<std::vector<persistence::key_entry>>>(reader.keys(who, id, from, limit, oldest));
    services->post(id, std::make_unique<call_op>([id, got, g](shard_core& shard) {
      activation* back = shard.find(id);
      if (!back || !back->more || back->generation != g) return; // it started over, and its keyed asks with it
      auto& held = *back->more;
      if (*got) {
        for (auto k = (*got)->rbegin(); k != (*got)->rend(); ++k) held.keys.add(k->key_hash, k->position, k->at);
        held.keys_loaded = true;
        shard.count_bytes(*back);
      } else {
        for (auto& e : std::exchange(held.awaiting_keys, {})) shard.refuse(std::move(e), (*got).error());
      }
      shard.return_awaiting(*back);
      shard.make_ready(*back);
    }));
  });
}

/// Keyed asks that waited for the index go back to the front of their lane, in order.
void shard_core::return_awaiting(activation& a) {
  a.more->keys_loading = false;
  auto waited = std::exchange(a.more->awaiting_keys, {});
  for (auto e = waited.rbegin(); e != waited.rend(); ++e) {
    queued_change_ += 1;
    a.box.push_front(std::move(*e));
  }
}

void shard_core::answer_from_row(activation& a, std::unique_ptr<envelope> e, journal_position row) {
  std::shared_ptr<envelope> held(std::move(e));
  services_.read(a.id.tenant(), [services = &services_, id = a.id, who = a.who, row, held, g = a.generation](auto& reader) {
    auto got = reader.answer(who, id, row);
    if (!got) {
      if (got.error().code != errc::not_found) return held->ticket->fail(error(got.error()));
      // Trimmed: older than its retention, so the key is free again.
      services->post(id, std::make_unique<call_op>([id, held, g](shard_core& shard) {
        if (auto* back = shard.find(id); back && back->more && back->generation == g) back->more->keys.erase(held->key_hash());
        shard.deliver(ask_again(*held));
      }));
      return;
    }
    if (!(got->digest == held->digest)) held->ticket->fail(key_reused());
    else if (got->failed) held->ticket->fail(decode_failure(got->answer.bytes));
    else held->ticket->answer({std::move(got->answer), {}, true});
  });
}

// -- keys that the gateway made: no index, because nearly none is ever used again. A repeat walks their chain back to the
//    time that the key names.

void shard_core::find_generated(activation& a, std::unique_ptr<envelope> e) {
  const auto made = generated_key_time(e->key);
  if (made > wall_now_ + std::chrono::seconds{60})
    return refuse(std::move(e), invalid("idempotency_key", "keys of the form hive-TIME-NUMBER are made by the hive; this one names a time to come"));
  if (made < wall_now_ - settings_.keep.keys)
    return refuse(std::move(e), {errc::failed_precondition, "key_expired",
                                 "the key is older than keep.keys: whether its ask was executed is not known any more", "idempotency_key"});
  a.more->lookups += 1; // from here to its begin, what is committed is remembered
  walk_generated(services_, a.id, a.who, a.generated_on_disk, std::shared_ptr<envelope>(std::move(e)));
}

/// Static, because the shard may move to another node meanwhile.
void shard_core::walk_generated(shard_services& services, entity_id id, tenant_context who, journal_position from, std::shared_ptr<envelope> held) {
  services.read(id.tenant(), [&services, id, who, from, held](auto& reader) {
    const auto rows = reader.keys(who, id, from, rows_per_read, generated_key_time(held->key) - std::chrono::seconds{60});
    if (!rows) return found_generated(services, id, held, rows.error());
    for (const auto& k : *rows)
      if (k.key_hash == held->key_hash()) return found_generated(services, id, held, std::optional(k.position));
    if (rows->size() < rows_per_read) return found_generated(services, id, held, std::optional<journal_position>{});
    walk_generated(services, id, who, rows->back().position, held);
  });
}

/// On a reader thread. By way of the mailbox, even when nothing can be done: there the lookup ends.
void shard_core::found_generated(shard_services& services, entity_id id, std::shared_ptr<envelope> held, result<std::optional<journal_position>> row) {
  services.post(id, std::make_unique<call_op>([id, held, row = std::move(row)](shard_core& shard) {
    activation* back = shard.find(id); // not unloaded while a lookup is under way, but its shard may have come back since
    if (!back || !back->more || back->more->lookups == 0) return;
    activation& a = *back;
    auto again = ask_again(*held);
    if (row && !*row) { // new: executed, unless a turn answered it meanwhile
      again->generated_key = true;
      again->looked_up = true;
      shard.queued_change_ += 1;
      a.box.push_back(std::move(again));
      shard.make_ready(a);
      return;
    }
    shard.end_lookup(a);
    if (row) shard.answer_from_row(a, std::move(again), **row);
    else shard.refuse(std::move(again), row.error());
  }));
}

void shard_core::end_lookup(activation& a) {
  if (--a.more->lookups == 0) a.more->answered_meanwhile.clear();
}

/// @returns true when a turn has answered the key since the look at the disk.
bool shard_core::answered_since(activation& a, std::unique_ptr<envelope>& e) {
  const auto& rows = a.more->answered_meanwhile;
  const auto found = rows.find(e->key_hash());
  const auto row = found == rows.end() ? std::nullopt : std::optional(found->second);
  end_lookup(a);
  e->looked_up = false;
  if (row) answer_from_row(a, std::move(e), *row);
  return row.has_value();
}

} // namespace hive::actors
