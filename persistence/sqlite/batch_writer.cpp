#include "persistence/sqlite/batch_writer.hpp"

#include "config/base/bytes.hpp"

namespace hive::persistence::sqlite {

batch_writer::batch_writer(connection& on, const payload_codec& codec)
  : on_(on), codec_(codec), plain_(codec.plain()),
    shard_(on, "select owner, epoch from shard where id = ?"),
    shards_all_(on, "select id, owner, epoch from shard"),
    entity_insert_(on, "insert into entity(id, version, desired, life, sent, last_keyed, log_tail, state)"
                       " values(?, 1, ?, ?, ?, ?, ?, ?) on conflict do nothing"),
    entity_update_(on, "update entity set version = version + 1, desired = coalesce(?, desired), life = coalesce(?, life),"
                       " sent = coalesce(?, sent), last_keyed = coalesce(?, last_keyed), log_tail = coalesce(?, log_tail),"
                       " state = coalesce(?, state) where id = ? and version = ?"),
    journal_plain_(on, "insert into journal(position, entity, at, principal) values(?, ?, ?, ?)"),
    journal_keyed_(on, "insert into journal(position, entity, at, previous, flags, caller, digest, key, answer, principal)"
                       " values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    log_(on, "insert into log values(?, ?, ?, ?)"),
    item_put_(on, "insert into item values(?, ?, ?) on conflict do update set value = excluded.value"),
    item_delete_(on, "delete from item where entity = ? and key = ?"),
    item_purge_(on, "delete from item where entity = ?1 and key in (select key from item where entity = ?1 order by key limit ?2)"),
    purged_entity_(on, "select desired, log_tail from entity where id = ?"),
    log_previous_(on, "select previous from log where position = ? and entity = ?"),
    log_purge_(on, "delete from log where position = ?"),
    log_tail_(on, "update entity set log_tail = ? where id = ?"),
    outbox_put_(on, "insert into outbox values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    outbox_delete_(on, "delete from outbox where shard = ? and sender = ? and sequence = ?"),
    inbox_(on, "insert into inbox values(?, ?, ?, ?) on conflict do update set sequence = excluded.sequence"),
    waiting_put_(on, "insert into waiting values(?, ?, ?, ?, ?, ?, ?)"),
    waiting_delete_(on, "delete from waiting where shard = ? and entity = ? and turn = ?"),
    step_put_(on, "insert into step values(?, ?, ?, ?, ?, ?) on conflict do update set due = excluded.due,"
                  " intent = iif(length(excluded.intent) = 0, intent, excluded.intent), result = excluded.result"),
    step_delete_(on, "delete from step where entity = ? and turn = ?"),
    timer_put_(on, "insert into timer values(?, ?, ?, ?, ?, ?, ?, ?)"),
    timer_delete_(on, "delete from timer where shard = ? and due = ? and entity = ? and number = ?"),
    directory_put_(on, "insert into directory values(?, ?, ?, ?, ?, ?, ?, ?) on conflict(tenant, kind, name) do update set"
                       " supervisor = excluded.supervisor, behaviour = excluded.behaviour, revision = excluded.revision,"
                       " spec = excluded.spec where id = excluded.id"),
    directory_delete_(on, "delete from directory where tenant = ? and kind = ? and name = ? and id = ?"),
    tenant_put_(on, "insert into tenant values(?, ?, ?, 0) on conflict(id) do update set name = excluded.name,"
                    " spec = excluded.spec where removed = 0"),
    tenant_remove_(on, "update tenant set removed = 1, spec = x'' where id = ?"),
    key_put_(on, "insert into api_key values(?, ?, ?, ?, ?, ?) on conflict do update set secret_hash = excluded.secret_hash,"
                 " role = excluded.role, label = excluded.label where tenant = excluded.tenant"),
    key_delete_(on, "delete from api_key where id = ? and tenant = ?"),
    audit_(on, "insert into audit(tenant, at, entity, principal, action, target, detail) values(?, ?, ?, ?, ?, ?, ?)"),
    event_(on, "insert into event values(?, ?, ?, ?, ?, ?, ?)"),
    letter_gone_(on, "delete from dead_letter where number = ? and tenant = ?"),
    dead_letter_(on, "insert into dead_letter(tenant, at, entity, principal, reason, message, detail) values(?, ?, ?, ?, ?, ?, ?)"),
    total_(on, "update total set entities = entities + ?, outbox = outbox + ?, waiting = waiting + ? where id = 1") {}

void batch_writer::apply(std::span<turn_record* const> batch, node_generation owner, std::vector<turn_outcome>& outcomes,
                         batch_tally& tally) {
  ++stamp_;
  sealed_.clear();
  outcomes.assign(batch.size(), turn_outcome::committed);

  look_at_shards(batch.size());
  order_.clear();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (!fence_holds(*batch[i], owner)) {
      outcomes[i] = turn_outcome::fenced;
    } else if (batch[i]->writes) {
      check_tenants(*batch[i]);
      order_.emplace_back(batch[i], i);
    }
  }

  // Entities in the order of their rows; one entity's turns stay in order, each builds on the one before.
  std::stable_sort(order_.begin(), order_.end(), [](const auto& a, const auto& b) { return a.first->entity < b.first->entity; });
  by_position_.clear();
  for (const auto& [record, index] : order_) {
    if (build_on(*record, tally)) {
      by_position_.push_back(record);
    } else {
      outcomes[index] = turn_outcome::stale;
    }
  }

  std::sort(by_position_.begin(), by_position_.end(), [](const auto* a, const auto* b) { return a->position < b->position; });
  for (const auto* record : by_position_) put_journal(*record);
  for (const auto* record : by_position_) put_log(*record);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (outcomes[i] != turn_outcome::committed) continue;
    if (batch[i]->writes) put_rest(*batch[i], tally);
    if (batch[i]->writes && batch[i]->purge != 0) batch[i]->purged = purge(*batch[i]);
    if (!batch[i]->delivered.empty()) forget_delivered(*batch[i], tally);
  }

  if (tally.any()) total_.bind(tally.entities, tally.outbox, tally.waiting).run();
}

/// A large batch touches most shards: one pass over the table is then cheaper than a look-up for each.
void batch_writer::look_at_shards(std::size_t records) {
  if (shards_.empty() || records < shards_.size() / 8) return;
  while (shards_all_.step()) {
    const std::size_t number = shards_all_.bits(0);
    if (number < shards_.size()) shards_[number] = {stamp_, shards_all_.bits(1), shards_all_.bits(2)};
  }
}

bool batch_writer::fence_holds(const turn_record& record, node_generation owner) {
#ifdef HIVE_MUTATION_SKIP_FENCE
  std::ignore = std::tie(record, owner);
  return true;
#else
  const std::size_t number = record.shard.value();
  if (number >= shards_.size()) shards_.resize(number + 1);
  shard_now& now = shards_[number];
  if (now.stamp != stamp_) {
    resetting after(shard_.bind(record.shard));
    now = {stamp_, 0, 0};
    if (shard_.step()) now = {stamp_, shard_.bits(0), shard_.bits(1)};
  }
  return now.owner == owner.value() && now.epoch == record.fence.value() && now.owner != 0;
#endif
}

bool batch_writer::build_on(const turn_record& r, batch_tally& tally) {
  const auto or_nothing = [](std::uint64_t v) { return number_or_null{v != 0, static_cast<std::int64_t>(v)}; };
  const std::uint64_t keyed = r.keyed && !r.keyed->generated ? r.position.value() : 0;
  const std::uint64_t tail = r.logs.empty() ? 0 : r.position.value();
  const std::uint64_t sent = r.outbox.empty() ? r.sent : std::max(r.sent, r.outbox.back().sequence);
  const number_or_null desired{r.desired.has_value(), static_cast<std::int64_t>(r.desired.value_or(desired_state::running))};
  const auto state = r.state ? std::optional(sealed(r, "entity.state", *r.state)) : std::nullopt;

  if (r.base == 0) {
    entity_insert_.bind(r.entity, desired.value, r.life.value_or(incarnation{}), sent, keyed, tail, state.value_or(blob{})).run();
    if (on_.changes() == 1) {
      ++tally.entities;
      return true;
    }
  } else {
#ifdef HIVE_MUTATION_SKIP_FENCE
    statement version(on_, "select version from entity where id = ?");
    const std::uint64_t base = version.bind(r.entity).step() ? version.bits(0) : 0;
#else
    const std::uint64_t base = r.base;
#endif
    entity_update_.bind(desired, r.life, or_nothing(sent), or_nothing(keyed), or_nothing(tail), state, r.entity, base).run();
    if (on_.changes() == 1) return true;
  }
  return false;
}

void batch_writer::put_journal(const turn_record& r) {
  if (r.keyed) {
    const auto& k = *r.keyed;
    journal_keyed_
      .bind(r.position, r.entity, r.at.time_since_epoch().count(), r.previous_keyed, flags_of(k), k.caller, blob{raw(k.digest)},
            blob{k.key}, sealed(r, "journal.answer", k.answer.bytes), r.who.principal())
      .run();
  } else {
    journal_plain_.bind(r.position, r.entity, r.at.time_since_epoch().count(), r.who.principal()).run();
  }
}

void batch_writer::put_log(const turn_record& r) {
  if (r.logs.empty()) return;
  byte_writer entries;
  entries.varint(r.logs.size());
  std::uint64_t previous = 0;
  for (const auto& entry : r.logs) {
    entries.text(entry.log).varint(entry.index).text(entry.data);
    // An entry may follow another one of the same turn; the chain is of rows.
    if (entry.previous < r.position) previous = std::max(previous, entry.previous.value());
  }
  log_.bind(r.position, r.entity, previous, sealed(r, "log.entries", entries.view())).run();
}

void batch_writer::put_rest(const turn_record& r, batch_tally& tally) {
  for (const auto& i : r.items) {
    if (i.value) {
      item_put_.bind(r.entity, blob{i.key}, sealed(r, "item.value", *i.value)).run();
    } else {
      item_delete_.bind(r.entity, blob{i.key}).run();
    }
  }
  if (!r.outbox.empty() || !r.marks.empty()) put_messages(r, tally);
  if (r.accepted || r.ended || !r.steps.empty()) put_waiting(r, tally);
  if (!r.timers.empty() || !r.timers_gone.empty()) put_timers(r);
  if (!r.directory.empty() || !r.tenants.empty() || !r.api_keys.empty()) put_names(r);
  if (!r.audit.empty() || !r.events.empty() || !r.dead_letters.empty() || !r.letters_gone.empty()) put_reports(r, tally);
}

void batch_writer::put_messages(const turn_record& r, batch_tally& tally) {
  for (const auto& m : r.outbox) {
    outbox_put_
      .bind(r.shard, m.sender, m.sequence, m.receiver, int{m.lane}, static_cast<int>(m.body.type), m.principal, m.type,
            sealed(r, "outbox.body", m.body.bytes), sealed(r, "outbox.envelope", m.envelope))
      .run();
    ++tally.outbox;
  }
  for (const auto& m : r.marks) inbox_.bind(r.entity, m.sender, int{m.lane}, m.sequence).run();
}

/// Also for turns that write nothing else: the rows are gone or go, whatever version the entity has.
void batch_writer::forget_delivered(const turn_record& r, batch_tally& tally) {
  for (const std::uint64_t sequence : r.delivered) {
    outbox_delete_.bind(r.shard, r.entity, sequence).run();
    tally.outbox -= on_.changes();
  }
}

void batch_writer::put_waiting(const turn_record& r, batch_tally& tally) {
  if (r.accepted) {
    const auto& w = *r.accepted;
    waiting_put_
      .bind(r.shard, r.entity, w.turn, w.started.time_since_epoch().count(), w.seed, r.who.principal(),
            sealed(r, "waiting.message", w.message))
      .run();
    ++tally.waiting;
  }
  for (const auto& s : r.steps) {
    const auto ended = s.result ? std::optional(sealed(r, "step.result", *s.result)) : std::nullopt;
    // An empty intent keeps the one that is there, so it is never sealed.
    const blob intent = s.intent.empty() ? blob{} : sealed(r, "step.intent", s.intent);
    step_put_.bind(r.entity, s.turn, s.number, s.due.time_since_epoch().count(), intent, ended).run();
  }
  if (r.ended) {
    waiting_delete_.bind(r.shard, r.entity, *r.ended).run();
    tally.waiting -= on_.changes();
    step_delete_.bind(r.entity, *r.ended).run();
  }
}

void batch_writer::put_timers(const turn_record& r) {
  for (const auto& t : r.timers)
    timer_put_
      .bind(r.shard, t.due.time_since_epoch().count(), r.entity, t.number, static_cast<int>(t.body.type), t.principal, t.type,
            sealed(r, "timer.body", t.body.bytes))
      .run();
  for (const auto& t : r.timers_gone) timer_delete_.bind(r.shard, t.due.time_since_epoch().count(), r.entity, t.number).run();
}

void batch_writer::put_names(const turn_record& r) {
  for (const auto& d : r.directory) {
    const auto& row = d.row;
    const int kind = static_cast<int>(row.kind);
    if (d.removed) {
      directory_delete_.bind(row.id.tenant(), kind, row.name, row.id).run();
      continue;
    }
    directory_put_.bind(row.id.tenant(), kind, row.name, row.id, row.supervisor, row.behaviour, row.revision, blob{row.spec}).run();
    if (on_.changes() == 0) refuse("the name " + row.name + " belongs to another entity than " + to_string(row.id));
  }
  for (const auto& t : r.tenants) {
    if (t.removed) {
      tenant_remove_.bind(t.id).run();
      continue;
    }
    tenant_put_.bind(t.id, t.name, blob{t.spec}).run();
    if (on_.changes() == 0) refuse("tenant " + std::to_string(t.id.value()) + " was removed; ids are never used again");
  }
  for (const auto& k : r.api_keys) {
    if (k.removed) {
      key_delete_.bind(k.id, k.tenant).run();
      continue;
    }
    key_put_.bind(k.id, k.tenant, k.secret_hash, k.role, k.label, k.created.time_since_epoch().count()).run();
    if (on_.changes() == 0) refuse("key " + k.id + " belongs to another tenant");
  }
}

void batch_writer::put_reports(const turn_record& r, batch_tally& tally) {
  const tenant_id tenant = r.entity.tenant();
  const auto at = r.at.time_since_epoch().count();
  for (const auto& a : r.audit) audit_.bind(tenant, at, r.entity, r.who.principal(), a.action, a.target, a.detail).run();
  for (const auto& e : r.events)
    event_.bind(tally.next_event++, tenant, at, r.entity, e.type, e.source, sealed(r, "event.data", e.data)).run();
  for (const auto& d : r.dead_letters)
    dead_letter_.bind(tenant, at, r.entity, r.who.principal(), d.reason, sealed(r, "dead_letter.message", d.message), d.detail).run();
  for (const auto number : r.letters_gone) letter_gone_.bind(number, tenant).run();
}

/// Items first; the log goes from its newest row back, and its entity's row says how far, so that it can end anywhere.
std::uint32_t batch_writer::purge(const turn_record& r) {
  std::uint64_t tail = 0;
  {
    resetting after(purged_entity_.bind(r.entity));
    if (!purged_entity_.step() || purged_entity_.number(0) != static_cast<std::int64_t>(desired_state::deleted)) return 0;
    tail = purged_entity_.bits(1);
  }
  item_purge_.bind(r.entity, r.purge).run();
  auto gone = static_cast<std::uint32_t>(on_.changes());
  const auto before = tail;
  while (tail != 0 && gone < r.purge) {
    std::uint64_t previous = 0;
    {
      resetting after(log_previous_.bind(tail, r.entity));
      if (log_previous_.step()) previous = log_previous_.bits(0);
    }
    log_purge_.bind(tail).run();
    tail = previous;
    ++gone;
  }
  if (tail != before) log_tail_.bind(tail, r.entity).run();
  return gone;
}

blob batch_writer::sealed(const turn_record& r, std::string_view place, std::string_view bytes) {
  if (plain_) return {bytes};
  return {sealed_.emplace_back(codec_.seal(r.entity.tenant(), r.entity, place, bytes))};
}

} // namespace hive::persistence::sqlite
