#include "persistence/postgres/batch_writer.hpp"

#include "config/base/bytes.hpp"

#include <charconv>

namespace hive::persistence::postgres {
namespace {

constexpr unsigned event_bits = 20; // the room that an event's number has beside its transaction
constexpr std::uint64_t events_max = std::uint64_t{1} << event_bits;

/// The numbers of an array as the server writes it: {1,0,1}
std::vector<std::uint32_t> numbers_of(std::string_view text) {
  std::vector<std::uint32_t> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    std::uint32_t value = 0;
    const auto [rest, ec] = std::from_chars(at, end, value);
    if (ec == std::errc{}) {
      numbers.push_back(value);
      at = rest;
    } else {
      ++at;
    }
  }
  return numbers;
}

// Rows of chains that were not accepted are left out by each statement itself. `u.c` is the number of the row's chain.
#define HIVE_ACCEPTED " where ((select current_setting('hive.accepted')::integer[]))[u.c] = 1 "
// The shard is one of those that the fence locked: found by halving in their sorted list.
#define HIVE_FENCED " ((select ids from fm))[width_bucket(u.shard, (select ids from fm))] = u.shard "
// What makes an old owner harmless. A fault test builds it in without effect, and must then find what it prevents.
#ifdef HIVE_MUTATION_SKIP_FENCE
#define HIVE_MUST(condition) " (" condition ") is not null "
#else
#define HIVE_MUST(condition) " " condition " "
#endif

struct prepared {
  const char* name;
  const char* sql;
};

constexpr prepared statements[] = {
    {"scope", "select set_config('hive.tenants', $1, true)"},
    {"owned",
     "select id from hive.shard where id = any($2::integer[]) and" HIVE_MUST("owner = $1::bigint and epoch = ($3::bigint[])[id]")},
    {"turns", R"sql(
with w as materialized (
  select session from hive.writer where generation = $1::bigint and session = $2::bigint and batch = $3::bigint - 1 for no key update),
f as materialized (
  select s.id from hive.shard s
  where s.id = any($4::integer[]) and exists (select from w) and )sql" HIVE_MUST("s.owner = $1 and s.epoch = ($5::bigint[])[s.id]") R"sql(
  order by s.id for share of s),
fm as materialized (select array_agg(id order by id) as ids from f),
fresh as (
  insert into hive.entity(tenant_id, entity, version, desired, life, sent, last_keyed, log_tail, position, state)
  select u.tenant, u.entity, u.version, u.desired, u.life, u.sent, u.keyed, u.tail, u.position, u.state
  from unnest($6::integer[], $7::integer[], $8::bigint[], $9::integer[], $10::bigint[], $11::integer[], $12::integer[], $13::bigint[],
              $14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[])
       as u(c, tenant, entity, shard, version, desired, life, sent, keyed, tail, position, state)
  where )sql" HIVE_FENCED R"sql(
  on conflict do nothing returning position),
next as (
  update hive.entity e set version = u.base + u.count, desired = coalesce(u.desired, e.desired), life = coalesce(u.life, e.life),
    sent = coalesce(u.sent, e.sent), last_keyed = coalesce(u.keyed, e.last_keyed), log_tail = coalesce(u.tail, e.log_tail),
    position = u.position, state = coalesce(u.state, e.state)
  from unnest($18::integer[], $19::integer[], $20::bigint[], $21::integer[], $22::bigint[], $23::bigint[], $24::integer[], $25::integer[],
              $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[], $30::bytea[])
       as u(c, tenant, entity, shard, base, count, desired, life, sent, keyed, tail, position, state)
  where e.tenant_id = u.tenant and e.entity = u.entity and )sql" HIVE_MUST("e.version = u.base") "and" HIVE_FENCED R"sql(
  returning u.c),
a as materialized (
  select coalesce(array_agg(ok order by c), '{}') as ok from (
    select c, max(ok) as ok from (
      select generate_series(1, $31::bigint) as c, 0 as ok
      union all select width_bucket(position, $32::bigint[]), 1 from fresh
      union all select c, 1 from next
      union all select u.c, 1 from unnest($33::integer[], $34::integer[], $35::bigint[], $36::integer[]) as u(c, tenant, entity, shard)
        where )sql" HIVE_FENCED R"sql() as found group by c) as dense),
rows as (
  insert into hive.journal(tenant_id, position, entity, at, previous, flags, caller, digest, key, answer, principal)
  select u.tenant, u.position, u.entity, u.at, u.previous, u.flags, u.caller, u.digest, u.key, u.answer, u.principal
  from unnest($37::integer[], $38::integer[], $39::bigint[], $40::bigint[], $41::bigint[], $42::bigint[], $43::integer[], $44::bigint[],
              $45::bytea[], $46::bytea[], $47::bytea[], $48::text[])
       as u(c, tenant, entity, position, at, previous, flags, caller, digest, key, answer, principal)
  where ((select ok from a))[u.c] = 1),
mark as (
  update hive.writer set batch = $3, entities = entities + (select count(*) from fresh)
  where generation = $1 and exists (select from w) returning batch)
select set_config('hive.accepted', (select ok from a)::text, true), (select ids from fm)::text, (select count(*) from mark),
  pg_current_xact_id()::text::bigint)sql"},
    // Items first; the log goes from its newest row back, and its entity's row says how far.
    {"purge", R"sql(
with recursive
u as materialized (
  select u.c, u.tenant, u.entity, u.most, e.log_tail
  from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[]) as u(c, tenant, entity, most)
  join hive.entity e on e.tenant_id = u.tenant and e.entity = u.entity and e.desired = 3
  )sql" HIVE_ACCEPTED R"sql(),
items as (
  delete from hive.item i
  using (select u.tenant, u.entity, k.key from u cross join lateral (
           select x.key from hive.item x where x.tenant_id = u.tenant and x.entity = u.entity order by x.key limit u.most) k) g
  where i.tenant_id = g.tenant and i.entity = g.entity and i.key = g.key returning i.tenant_id, i.entity),
room as materialized (
  select u.tenant, u.entity, u.log_tail, u.most - (select count(*) from items i where i.tenant_id = u.tenant and i.entity = u.entity) as most from u),
chain as (
  select l.tenant_id, l.entity, l.position, l.previous, 1::bigint as n, r.most
  from room r join hive.log l on l.tenant_id = r.tenant and l.position = r.log_tail and l.entity = r.entity where r.most > 0
  union all
  select l.tenant_id, l.entity, l.position, l.previous, c.n + 1, c.most
  from chain c join hive.log l on l.tenant_id = c.tenant_id and l.position = c.previous and l.entity = c.entity where c.n < c.most),
logs as (delete from hive.log l using chain c where l.tenant_id = c.tenant_id and l.position = c.position returning 1),
tails as (
  update hive.entity e set log_tail = t.previous
  from (select distinct on (tenant_id, entity) tenant_id, entity, previous from chain order by tenant_id, entity, n desc) t
  where e.tenant_id = t.tenant_id and e.entity = t.entity returning 1)
select u.c::bigint, ((select count(*) from items i where i.tenant_id = u.tenant and i.entity = u.entity) +
  (select count(*) from chain c where c.tenant_id = u.tenant and c.entity = u.entity))::bigint from u)sql"},
    {"log", "insert into hive.log(tenant_id, position, entity, previous, entries) select u.tenant, u.position, "
            "u.entity, u.previous, u.entries"
            " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])"
            " as u(c, tenant, entity, position, previous, entries)" HIVE_ACCEPTED},
    {"item_put",
     "insert into hive.item(tenant_id, entity, key, value) select u.tenant, u.entity, u.key, u.value"
     " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bytea[], $5::bytea[]) as u(c, tenant, entity, key, "
     "value)" HIVE_ACCEPTED "on conflict (tenant_id, entity, key) do update set value = excluded.value"},
    {"item_gone",
     "delete from hive.item i using unnest($1::integer[], $2::integer[], $3::bigint[], $4::bytea[]) as u(c, tenant, "
     "entity, key)" HIVE_ACCEPTED "and i.tenant_id = u.tenant and i.entity = u.entity and i.key = u.key"},
    {"outbox",
     "with put as (insert into hive.outbox(tenant_id, entity, sequence, shard, receiver_tenant, receiver, lane, "
     "format, principal, type, body, envelope)"
     " select u.tenant, u.entity, u.sequence, u.shard, u.receiver_tenant, u.receiver, u.lane, u.format, u.principal, "
     "u.type, u.body, u.envelope"
     " from unnest($2::integer[], $3::integer[], $4::bigint[], $5::bigint[], $6::integer[], $7::integer[], "
     "$8::bigint[], $9::integer[],"
     " $10::integer[], $11::text[], $12::text[], $13::bytea[], $14::bytea[])"
     " as u(c, tenant, entity, sequence, shard, receiver_tenant, receiver, lane, format, principal, type, body, "
     "envelope)" HIVE_ACCEPTED
     "returning 1) update hive.writer set outbox = outbox + (select count(*) from put) where generation = $1::bigint"},
    {"delivered",
     "with gone as (delete from hive.outbox o using unnest($2::integer[], $3::integer[], $4::bigint[], $5::bigint[]) "
     "as u(c, tenant, entity, sequence)" HIVE_ACCEPTED
     "and o.tenant_id = u.tenant and o.entity = u.entity and o.sequence = u.sequence returning 1)"
     " update hive.writer set outbox = outbox - (select count(*) from gone) where generation = $1::bigint"},
    {"inbox",
     "insert into hive.inbox(tenant_id, entity, sender_tenant, sender, lane, sequence)"
     " select u.tenant, u.entity, u.sender_tenant, u.sender, u.lane, u.sequence"
     " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[], $6::integer[], "
     "$7::bigint[])"
     " as u(c, tenant, entity, sender_tenant, sender, lane, sequence)" HIVE_ACCEPTED
     "on conflict (tenant_id, entity, sender_tenant, sender, lane) do update set sequence = excluded.sequence"},
    {"waiting",
     "with put as (insert into hive.waiting(tenant_id, entity, turn, shard, started, seed, principal, message)"
     " select u.tenant, u.entity, u.turn, u.shard, u.started, u.seed, u.principal, u.message"
     " from unnest($2::integer[], $3::integer[], $4::bigint[], $5::bigint[], $6::integer[], $7::bigint[], "
     "$8::bigint[], $9::text[], $10::bytea[])"
     " as u(c, tenant, entity, turn, shard, started, seed, principal, message)" HIVE_ACCEPTED
     "returning 1) update hive.writer set waiting = waiting + (select count(*) from put) where generation = "
     "$1::bigint"},
    {"step", "insert into hive.step(tenant_id, entity, turn, number, shard, due, intent, result)"
             " select u.tenant, u.entity, u.turn, u.number, u.shard, u.due, u.intent, u.result"
             " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[], "
             "$7::bigint[], $8::bytea[], $9::bytea[])"
             " as u(c, tenant, entity, turn, number, shard, due, intent, result)" HIVE_ACCEPTED
             "on conflict (tenant_id, entity, turn, number) do update set due = excluded.due,"
             " intent = case when length(excluded.intent) = 0 then step.intent else excluded.intent end, result = "
             "excluded.result"},
    {"ended",
     "with gone as (delete from hive.waiting w using unnest($2::integer[], $3::integer[], $4::bigint[], $5::bigint[]) "
     "as u(c, tenant, entity, turn)" HIVE_ACCEPTED
     "and w.tenant_id = u.tenant and w.entity = u.entity and w.turn = u.turn returning 1),"
     " steps as (delete from hive.step s using unnest($2, $3, $4, $5) as u(c, tenant, entity, turn)" HIVE_ACCEPTED
     "and s.tenant_id = u.tenant and s.entity = u.entity and s.turn = u.turn)"
     " update hive.writer set waiting = waiting - (select count(*) from gone) where generation = $1::bigint"},
    {"timer_gone", "delete from hive.timer t using unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], "
                   "$5::bigint[]) as u(c, tenant, entity, due, number)" HIVE_ACCEPTED
                   "and t.tenant_id = u.tenant and t.entity = u.entity and t.due = u.due and t.number = u.number"},
    {"timer_put", "insert into hive.timer(tenant_id, entity, due, number, shard, format, principal, type, body)"
                  " select u.tenant, u.entity, u.due, u.number, u.shard, u.format, u.principal, u.type, u.body"
                  " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[], "
                  "$7::integer[], $8::text[], $9::text[], $10::bytea[])"
                  " as u(c, tenant, entity, due, number, shard, format, principal, type, body)" HIVE_ACCEPTED},
    {"name_gone", "delete from hive.directory d using unnest($1::integer[], $2::integer[], $3::bigint[], "
                  "$4::integer[], $5::text[]) as u(c, tenant, entity, kind, name)" HIVE_ACCEPTED
                  "and d.tenant_id = u.tenant and d.kind = u.kind and d.name = u.name and d.entity = u.entity"},
    {"name_put",
     "with u as materialized (select * from unnest($1::integer[], $2::integer[], $3::bigint[], $4::integer[], "
     "$5::text[], $6::text[], $7::text[], $8::bigint[], $9::bytea[])"
     " as u(c, tenant, entity, kind, name, supervisor, behaviour, revision, spec)" HIVE_ACCEPTED
     "), put as (insert into hive.directory(tenant_id, kind, name, entity, supervisor, behaviour, revision, spec)"
     " select u.tenant, u.kind, u.name, u.entity, u.supervisor, u.behaviour, u.revision, u.spec from u"
     " on conflict (tenant_id, kind, name) do update set supervisor = excluded.supervisor, behaviour = "
     "excluded.behaviour,"
     " revision = excluded.revision, spec = excluded.spec where directory.entity = excluded.entity returning 1)"
     " select hive.demand((select count(*) from put) = (select count(*) from u), 'a name belongs to another entity')"},
    {"tenant_gone",
     "update hive.tenant t set removed = true, spec = '' from unnest($1::integer[], $2::integer[], $3::bigint[], "
     "$4::integer[]) as u(c, own, entity, tenant)" HIVE_ACCEPTED "and t.tenant_id = u.tenant"},
    {"tenant_put",
     "with u as materialized (select * from unnest($1::integer[], $2::integer[], $3::bigint[], $4::integer[], "
     "$5::text[], $6::bytea[]) as u(c, own, entity, tenant, name, spec)" HIVE_ACCEPTED
     "), put as (insert into hive.tenant(tenant_id, name, spec, removed) select u.tenant, u.name, u.spec, false from u"
     " on conflict (tenant_id) do update set name = excluded.name, spec = excluded.spec where not tenant.removed "
     "returning 1)"
     " select hive.demand((select count(*) from put) = (select count(*) from u), 'a tenant was removed; ids are never "
     "used again')"},
    {"key_gone",
     "delete from hive.api_key k using unnest($1::integer[], $2::integer[], $3::bigint[], $4::integer[], $5::text[]) "
     "as u(c, own, entity, tenant, id)" HIVE_ACCEPTED "and k.tenant_id = u.tenant and k.id = u.id"},
    {"key_put", "insert into hive.api_key(tenant_id, id, secret_hash, role, label, created) select u.tenant, u.id, "
                "u.hash, u.role, u.label, u.created"
                " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::integer[], $5::text[], $6::text[], "
                "$7::text[], $8::text[], $9::bigint[])"
                " as u(c, own, entity, tenant, id, hash, role, label, created)" HIVE_ACCEPTED
                "on conflict (tenant_id, id) do update set secret_hash = excluded.secret_hash, role = excluded.role, "
                "label = excluded.label"},
    {"audit", "insert into hive.audit(tenant_id, at, entity, principal, action, target, detail) select u.tenant, u.at, "
              "u.entity, u.principal, u.action, u.target, u.detail"
              " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], "
              "$7::text[], $8::text[])"
              " as u(c, tenant, entity, at, principal, action, target, detail)" HIVE_ACCEPTED},
    {"event",
     "insert into hive.event(tenant_id, number, at, entity, type, source, data)"
     " select u.tenant, (pg_current_xact_id()::text::bigint << 20) + u.number, u.at, u.entity, u.type, u.source, u.data"
     " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], "
     "$8::bytea[])"
     " as u(c, tenant, entity, number, at, type, source, data)" HIVE_ACCEPTED},
    {"letter", "insert into hive.dead_letter(tenant_id, at, entity, principal, reason, message, detail)"
               " select u.tenant, u.at, u.entity, u.principal, u.reason, u.message, u.detail"
               " from unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], "
               "$7::bytea[], $8::text[])"
               " as u(c, tenant, entity, at, principal, reason, message, detail)" HIVE_ACCEPTED},
    {"letter_gone",
     "delete from hive.dead_letter d using unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[]) as u(c, "
     "tenant, entity, number)" HIVE_ACCEPTED "and d.tenant_id = u.tenant and d.number = u.number"},
};

#undef HIVE_ACCEPTED
#undef HIVE_FENCED

} // namespace

batch_writer::table::table(std::initializer_list<type> more) {
  columns.reserve(3 + more.size());
  columns.emplace_back(type::int4);
  columns.emplace_back(type::int4);
  columns.emplace_back(type::int8);
  for (const type t : more) columns.emplace_back(t);
}

void batch_writer::table::clear() {
  for (auto& c : columns) c.clear();
}

column* batch_writer::table::row(std::uint32_t number, tenant_id tenant, std::uint64_t serial) {
  columns[0].number(std::uint64_t{number});
  columns[1].number(std::uint64_t{tenant.value()});
  columns[2].number(serial);
  return columns.data() + 3;
}

batch_writer::round& batch_writer::rounds::at(std::initializer_list<std::string> keys, bool put) {
  const auto taken = [&](const round& r) {
    return std::any_of(keys.begin(), keys.end(), [&](const auto& k) { return r.keys_put.contains(k); });
  };
  if (all.empty() || taken(all.back())) {
    all.push_back({table({}), table({}), {}});
    for (const type t : gone_types) all.back().gone.columns.emplace_back(t);
    for (const type t : put_types) all.back().put.columns.emplace_back(t);
  }
  if (put) all.back().keys_put.insert(keys.begin(), keys.end());
  return all.back();
}

namespace {
constexpr type i4 = type::int4;
constexpr type i8 = type::int8;
constexpr type tx = type::text;
constexpr type by = type::bytea;
} // namespace

batch_writer::batch_writer(const payload_codec& codec)
    : codec_(codec), plain_(codec.plain()), shard_ids_(i4), shard_epochs_(i8), positions_(i8),
      insert_({i4, i8, i4, i4, i8, i8, i8, i8, by}), update_({i4, i8, i8, i4, i4, i8, i8, i8, i8, by}), delivery_({i4}),
      journal_({i8, i8, i8, i4, i8, by, by, by, tx}), log_({i8, i8, by}), item_put_({by, by}), item_gone_({by}),
      outbox_({i8, i4, i4, i8, i4, i4, tx, tx, by, by}), delivered_({i8}), inbox_({i4, i8, i4, i8}),
      waiting_({i8, i4, i8, i8, tx, by}), ended_({i8}), step_({i8, i8, i4, i8, by, by}),
      timer_put_({i8, i8, i4, i4, tx, tx, by}), timer_gone_({i8, i8}), audit_({i8, tx, tx, tx, tx}),
      event_({i8, i8, tx, tx, by}), letter_({i8, tx, tx, by, tx}),
      letter_gone_({i8}), purge_({i8}), names_{"name_gone", "name_put", {i4, tx}, {i4, tx, tx, tx, i8, by}, {}},
      tenant_rows_{"tenant_gone", "tenant_put", {i4}, {i4, tx, by}, {}}, keys_{"key_gone",
                                                                               "key_put",
                                                                               {i4, tx},
                                                                               {i4, tx, tx, tx, tx, i8},
                                                                               {}} {}

void batch_writer::prepare(connection& on) {
  // Arrays say nothing of their length to the planner, and fresh tables nothing of theirs: only look-ups by index are
  // right for every size, so nothing else is left to choose.
  on.send("select set_config(n, v, false) from (values ('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', "
          "'off'), ('enable_hashjoin', 'off'),"
          " ('enable_mergejoin', 'off'), ('enable_bitmapscan', 'off')) as s(n, v)");
  for (const auto& s : statements) on.prepare(s.name, s.sql);
  on.finish(connection::clock::now() + on.wait);
}

void batch_writer::gather(std::span<turn_record* const> batch) {
  batch_ = batch;
  writes_ = false;
  events_ = 0;
  last_events_.assign(batch.size(), 0);
  for (auto* t :
       {&insert_, &update_, &delivery_, &journal_, &log_, &item_put_, &item_gone_, &outbox_, &delivered_, &inbox_,
        &waiting_, &ended_, &step_, &timer_put_, &timer_gone_, &audit_, &event_, &letter_, &letter_gone_, &purge_})
    t->clear();
  for (auto* r : {&names_, &tenant_rows_, &keys_}) r->all.clear();

  place(batch);
  number_chains();
  gather_entities();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const turn_record& r = *batch[i];
    const bool in_chain = placed_[i].how == fate::chain || (placed_[i].how == fate::look && !r.delivered.empty());
    if (!in_chain) continue;
    const std::uint32_t number = chains_[placed_[i].chain].number;
    if (r.writes) gather_turn(r, number);
    if (!r.events.empty()) last_events_[i] = events_ - 1;
    for (const std::uint64_t sequence : r.delivered)
      delivered_.row(number, r.entity.tenant(), r.entity.serial())[0].number(sequence);
  }
  for (const chain& c : chains_) gather_keyed_rows(c);

  scope_ = "{";
  for (const std::uint32_t tenant : tenants_) scope_ += (scope_.size() > 1 ? "," : "") + std::to_string(tenant);
  scope_ += "}";
}

void batch_writer::place(std::span<turn_record* const> batch) {
  placed_.assign(batch.size(), {});
  chains_.clear();
  chain_of_.clear();
  shards_.clear();
  tenants_.clear();
  for (const turn_record* r : batch) {
    std::uint64_t& newest = shards_[r->shard.value()];
    newest = std::max(newest, r->fence.value());
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const turn_record& r = *batch[i];
    placed& where = placed_[i];
    if (r.fence.value() != shards_[r.shard.value()]) { // a later epoch of the shard is known
      where.how = fate::fenced;
      continue;
    }
    if (!r.writes) {
      where.how = fate::look;
      if (r.delivered.empty()) continue;
      where.chain = static_cast<std::uint32_t>(chains_.size());
      chains_.push_back({&r, {}, 0});
    } else {
      check_tenants(r);
      const auto [found, fresh] = chain_of_.try_emplace(r.entity, static_cast<std::uint32_t>(chains_.size()));
      if (fresh) {
        chains_.push_back({&r, {}, 0});
      } else if (const chain& c = chains_[found->second]; r.base != c.first->base + c.turns.size()) {
        // What does not follow the turn before it in the same batch is not tried: its activation begins anew.
        where.how = fate::stale;
        continue;
      }
      where.chain = found->second;
      chains_[where.chain].turns.push_back(&r);
    }
    writes_ = true;
    tenants_.insert(r.entity.tenant().value());
    for (const auto& k : r.api_keys) tenants_.insert(k.tenant.value()); // its own, or of the hive's: checked above
  }
}

void batch_writer::number_chains() {
  inserts_.clear();
  updates_.clear();
  deliveries_.clear();
  for (std::uint32_t i = 0; i < chains_.size(); ++i) {
    const chain& c = chains_[i];
    (c.turns.empty() ? deliveries_ : c.first->base == 0 ? inserts_ : updates_).push_back(i);
  }
  // New entities are told apart by their position when they come back; the others lie in the order of their rows.
  std::sort(inserts_.begin(), inserts_.end(), [&](std::uint32_t a, std::uint32_t b) {
    return chains_[a].turns.back()->position < chains_[b].turns.back()->position;
  });
  std::sort(updates_.begin(), updates_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return chains_[a].first->entity < chains_[b].first->entity; });
  std::uint32_t number = 0;
  for (const auto* group : {&inserts_, &updates_, &deliveries_})
    for (const std::uint32_t i : *group) chains_[i].number = ++number;
}

void batch_writer::gather_entities() {
  positions_.clear();
  for (const auto* group : {&inserts_, &updates_}) {
    for (const std::uint32_t i : *group) {
      const chain& c = chains_[i];
      const turn_record& last = *c.turns.back();
      std::optional<desired_state> desired;
      std::optional<incarnation> life;
      const turn_record* state = nullptr;
      std::uint64_t keyed = 0;
      std::uint64_t tail = 0;
      std::uint64_t sent = 0;
      for (const turn_record* r : c.turns) {
        if (r->desired) desired = r->desired;
        if (r->life) life = r->life;
        if (r->state) state = r;
        if (r->keyed && !r->keyed->generated) keyed = r->position.value();
        if (!r->logs.empty()) tail = r->position.value();
        if (const std::uint64_t n = r->outbox.empty() ? r->sent : std::max(r->sent, r->outbox.back().sequence); n != 0)
          sent = n;
      }
      const bool fresh = group == &inserts_;
      column* to = (fresh ? insert_ : update_).row(c.number, last.entity.tenant(), last.entity.serial());
      (to++)->number(std::uint64_t{last.shard.value()});
      if (!fresh) (to++)->number(c.first->base);
      (to++)->number(std::uint64_t{c.turns.size()});
      const auto put = [&](bool known, std::uint64_t value) {
        known || fresh ? to->number(value) : to->null();
        ++to;
      };
      put(desired.has_value(), static_cast<std::uint64_t>(desired.value_or(desired_state::running)));
      put(life.has_value(), life.value_or(incarnation{}).value());
      put(sent != 0, sent);
      put(keyed != 0, keyed);
      put(tail != 0, tail);
      (to++)->number(last.position.value());
      if (state) {
        put_sealed(*to, *state, "entity.state", *state->state);
      } else {
        fresh ? to->bytes({}) : to->null();
      }
      if (fresh) positions_.number(last.position.value());
    }
  }
  for (const std::uint32_t i : deliveries_) {
    const turn_record& r = *chains_[i].first;
    delivery_.row(chains_[i].number, r.entity.tenant(), r.entity.serial())[0].number(std::uint64_t{r.shard.value()});
  }
}

void batch_writer::gather_turn(const turn_record& r, std::uint32_t number) {
  gather_journal(r, number);
  if (r.purge != 0) purge_.row(number, r.entity.tenant(), r.entity.serial())[0].number(std::uint64_t{r.purge});
  if (!r.outbox.empty() || r.accepted || r.ended) gather_messages(r, number);
  if (!r.directory.empty() || !r.tenants.empty() || !r.api_keys.empty()) gather_names(r, number);
  if (!r.audit.empty() || !r.events.empty() || !r.dead_letters.empty() || !r.letters_gone.empty())
    gather_reports(r, number);
}

void batch_writer::gather_journal(const turn_record& r, std::uint32_t number) {
  column* to = journal_.row(number, r.entity.tenant(), r.entity.serial());
  to[0].number(r.position.value());
  to[1].number(millis(r.at));
  if (r.keyed) {
    const auto& k = *r.keyed;
    to[2].number(r.previous_keyed.value());
    to[3].number(flags_of(k));
    to[4].number(k.caller);
    to[5].bytes(raw(k.digest));
    to[6].bytes(k.key);
    put_sealed(to[7], r, "journal.answer", k.answer.bytes);
  } else {
    for (int i = 2; i <= 7; ++i) to[i].null();
  }
  to[8].bytes(r.who.principal());

  if (r.logs.empty()) return;
  byte_writer entries;
  entries.varint(r.logs.size());
  std::uint64_t previous = 0;
  for (const auto& entry : r.logs) {
    entries.text(entry.log).varint(entry.index).text(entry.data);
    // An entry may follow another one of the same turn; the chain is of rows.
    if (entry.previous < r.position) previous = std::max(previous, entry.previous.value());
  }
  column* row = log_.row(number, r.entity.tenant(), r.entity.serial());
  row[0].number(r.position.value());
  row[1].number(previous);
  put_sealed(row[2], r, "log.entries", entries.view());
}

void batch_writer::gather_messages(const turn_record& r, std::uint32_t number) {
  const tenant_id tenant = r.entity.tenant();
  const std::uint64_t serial = r.entity.serial();
  for (const auto& m : r.outbox) {
    column* to = outbox_.row(number, tenant, serial);
    to[0].number(m.sequence);
    to[1].number(std::uint64_t{r.shard.value()});
    to[2].number(std::uint64_t{m.receiver.tenant().value()});
    to[3].number(m.receiver.serial());
    to[4].number(std::uint64_t{m.lane});
    to[5].number(static_cast<std::uint64_t>(m.body.type));
    to[6].bytes(m.principal);
    to[7].bytes(m.type);
    put_sealed(to[8], r, "outbox.body", m.body.bytes);
    put_sealed(to[9], r, "outbox.envelope", m.envelope);
  }
  if (r.accepted) {
    const auto& w = *r.accepted;
    column* to = waiting_.row(number, tenant, serial);
    to[0].number(w.turn);
    to[1].number(std::uint64_t{r.shard.value()});
    to[2].number(millis(w.started));
    to[3].number(w.seed);
    to[4].bytes(r.who.principal());
    put_sealed(to[5], r, "waiting.message", w.message);
  }
  if (r.ended) ended_.row(number, tenant, serial)[0].number(*r.ended);
}

void batch_writer::gather_keyed_rows(const chain& c) {
  const turn_record& first = *c.first;
  const tenant_id tenant = first.entity.tenant();
  const std::uint64_t serial = first.entity.serial();
  std::map<std::string_view, std::pair<const item_write*, const turn_record*>> items;
  std::map<std::pair<entity_id, std::uint8_t>, std::uint64_t> marks;
  struct step_now {
    const turn_record* by;
    const step_row* last;
    const step_row* intent;
  };
  std::map<std::pair<std::uint64_t, std::uint32_t>, step_now> steps;
  using timer_at = std::pair<std::int64_t, std::uint64_t>;
  std::multimap<timer_at, const timer_row*> timers;
  std::set<timer_at> timers_gone;
  for (const turn_record* r : c.turns) {
    for (const auto& i : r->items) items[i.key] = {&i, r};
    for (const auto& m : r->marks) marks[{m.sender, m.lane}] = m.sequence;
    for (const auto& s : r->steps) {
      step_now& now = steps[{s.turn, s.number}];
      now = {r, &s, s.intent.empty() ? now.intent : &s}; // an empty intent keeps the one that is there
    }
    for (const auto& t : r->timers) timers.emplace(timer_at{millis(t.due), t.number}, &t);
    for (const auto& t : r->timers_gone) {
      const timer_at key{millis(t.due), t.number};
      if (timers.erase(key) == 0) timers_gone.insert(key);
    }
  }
  for (const auto& [key, write] : items) {
    if (write.first->value) {
      column* to = item_put_.row(c.number, tenant, serial);
      to[0].bytes(key);
      put_sealed(to[1], *write.second, "item.value", *write.first->value);
    } else {
      item_gone_.row(c.number, tenant, serial)[0].bytes(key);
    }
  }
  for (const auto& [from, sequence] : marks) {
    column* to = inbox_.row(c.number, tenant, serial);
    to[0].number(std::uint64_t{from.first.tenant().value()});
    to[1].number(from.first.serial());
    to[2].number(std::uint64_t{from.second});
    to[3].number(sequence);
  }
  for (const auto& [key, now] : steps) {
    column* to = step_.row(c.number, tenant, serial);
    to[0].number(key.first);
    to[1].number(std::uint64_t{key.second});
    to[2].number(std::uint64_t{first.shard.value()});
    to[3].number(millis(now.last->due));
    if (now.intent) {
      put_sealed(to[4], *now.by, "step.intent", now.intent->intent);
    } else {
      to[4].bytes({}); // never sealed
    }
    if (now.last->result) {
      put_sealed(to[5], *now.by, "step.result", *now.last->result);
    } else {
      to[5].null();
    }
  }
  for (const auto& [due, number] : timers_gone) {
    column* to = timer_gone_.row(c.number, tenant, serial);
    to[0].number(due);
    to[1].number(number);
  }
  for (const auto& [key, t] : timers) {
    column* to = timer_put_.row(c.number, tenant, serial);
    to[0].number(key.first);
    to[1].number(key.second);
    to[2].number(std::uint64_t{first.shard.value()});
    to[3].number(static_cast<std::uint64_t>(t->body.type));
    to[4].bytes(t->principal);
    to[5].bytes(t->type);
    put_sealed(to[6], first, "timer.body", t->body.bytes);
  }
}

void batch_writer::gather_names(const turn_record& r, std::uint32_t number) {
  const tenant_id own = r.entity.tenant();
  for (const auto& d : r.directory) {
    const auto& row = d.row;
    const std::string name =
        "n" + std::to_string(own.value()) + "/" + std::to_string(static_cast<int>(row.kind)) + "/" + row.name;
    const std::string id = "i" + std::to_string(row.id.bits());
    round& in = names_.at({name, id}, !d.removed);
    column* to = (d.removed ? in.gone : in.put).row(number, own, row.id.serial());
    to[0].number(static_cast<std::uint64_t>(row.kind));
    to[1].bytes(row.name);
    if (d.removed) continue;
    to[2].bytes(row.supervisor);
    to[3].bytes(row.behaviour);
    to[4].number(row.revision);
    to[5].bytes(row.spec);
  }
  for (const auto& t : r.tenants) {
    round& in = tenant_rows_.at({std::to_string(t.id.value()), "n" + t.name}, !t.removed);
    column* to = (t.removed ? in.gone : in.put).row(number, own, r.entity.serial());
    to[0].number(std::uint64_t{t.id.value()});
    if (t.removed) continue;
    to[1].bytes(t.name);
    to[2].bytes(t.spec);
  }
  for (const auto& k : r.api_keys) {
    round& in = keys_.at({k.id}, !k.removed);
    column* to = (k.removed ? in.gone : in.put).row(number, own, r.entity.serial());
    to[0].number(std::uint64_t{k.tenant.value()});
    to[1].bytes(k.id);
    if (k.removed) continue;
    to[2].bytes(k.secret_hash);
    to[3].bytes(k.role);
    to[4].bytes(k.label);
    to[5].number(millis(k.created));
  }
}

void batch_writer::gather_reports(const turn_record& r, std::uint32_t number) {
  const tenant_id tenant = r.entity.tenant();
  const std::uint64_t serial = r.entity.serial();
  for (const auto& a : r.audit) {
    column* to = audit_.row(number, tenant, serial);
    to[0].number(millis(r.at));
    to[1].bytes(r.who.principal());
    to[2].bytes(a.action);
    to[3].bytes(a.target);
    to[4].bytes(a.detail);
  }
  for (const auto& e : r.events) {
    if (events_ >= events_max) refuse("more than " + std::to_string(events_max) + " events in one commit");
    column* to = event_.row(number, tenant, serial);
    to[0].number(events_++);
    to[1].number(millis(r.at));
    to[2].bytes(e.type);
    to[3].bytes(e.source);
    put_sealed(to[4], r, "event.data", e.data);
  }
  for (const auto& d : r.dead_letters) {
    column* to = letter_.row(number, tenant, serial);
    to[0].number(millis(r.at));
    to[1].bytes(r.who.principal());
    to[2].bytes(d.reason);
    put_sealed(to[3], r, "dead_letter.message", d.message);
    to[4].bytes(d.detail);
  }
  for (const std::uint64_t n : r.letters_gone) letter_gone_.row(number, tenant, serial)[0].number(n);
}

void batch_writer::put_sealed(column& to, const turn_record& r, std::string_view place, std::string_view bytes) {
  if (plain_) {
    to.bytes(bytes);
  } else {
    to.bytes(codec_.seal(r.entity.tenant(), r.entity, place, bytes));
  }
}

void batch_writer::send_table(connection& on, const char* statement, table& t, const writer_name* as) {
  if (t.empty()) return;
  arguments with;
  if (as) with.number(as->generation.value());
  for (auto& c : t.columns) with.array(c);
  on.send_prepared(statement, with);
}

void batch_writer::send(connection& on, const writer_name& as) {
  // One entry for each shard from the lowest to the highest number; 0 is no epoch.
  shard_ids_.clear();
  shard_epochs_.clear(shards_.empty() ? 1 : shards_.begin()->first);
  std::uint32_t next = shards_.empty() ? 0 : shards_.begin()->first;
  for (const auto& [id, epoch] : shards_) {
    shard_ids_.number(std::uint64_t{id});
    for (; next < id; ++next) shard_epochs_.number(std::uint64_t{0});
    shard_epochs_.number(epoch);
    ++next;
  }
  if (!writes_) {
    arguments with;
    with.number(as.generation.value()).array(shard_ids_).array(shard_epochs_);
    return on.send_prepared("owned", with);
  }

  arguments scope;
  scope.text(scope_);
  on.send_prepared("scope", scope);
  arguments turns;
  turns.number(as.generation.value()).number(as.session).number(as.batch).array(shard_ids_).array(shard_epochs_);
  for (auto* t : {&insert_, &update_})
    for (auto& c : t->columns) turns.array(c);
  turns.number(std::uint64_t{chains_.size()}).array(positions_);
  for (auto* t : {&delivery_, &journal_})
    for (auto& c : t->columns) turns.array(c);
  on.send_prepared("turns", turns);

  send_table(on, "purge", purge_); // right behind: `read` knows its place
  send_table(on, "log", log_);
  send_table(on, "item_put", item_put_);
  send_table(on, "item_gone", item_gone_);
  send_table(on, "outbox", outbox_, &as);
  send_table(on, "delivered", delivered_, &as);
  send_table(on, "inbox", inbox_);
  send_table(on, "waiting", waiting_, &as);
  send_table(on, "step", step_);
  send_table(on, "ended", ended_, &as);
  send_table(on, "timer_gone", timer_gone_);
  send_table(on, "timer_put", timer_put_);
  for (auto* r : {&tenant_rows_, &names_, &keys_}) {
    for (auto& one : r->all) {
      send_table(on, r->gone_statement, one.gone);
      send_table(on, r->put_statement, one.put);
    }
  }
  send_table(on, "audit", audit_);
  send_table(on, "event", event_);
  send_table(on, "letter", letter_);
  send_table(on, "letter_gone", letter_gone_);
}

bool batch_writer::read(const std::vector<rows>& answers, std::vector<turn_outcome>& outcomes) const {
  std::vector<bool> owned(std::size_t{1} << 16U);
  std::vector<std::uint32_t> accepted;
  std::uint64_t first_event = 0;
  if (!writes_) {
    const rows& found = answers.at(0);
    for (std::size_t i = 0; i < found.size(); ++i) owned[static_cast<std::size_t>(found.number(i, 0))] = true;
  } else {
    const rows& turns = answers.at(1);
    if (turns.number(0, 2) == 0) return false;
    first_event = static_cast<std::uint64_t>(turns.number(0, 3)) << event_bits;
    accepted = numbers_of(turns.bytes(0, 0));
    for (const std::uint32_t shard : numbers_of(turns.bytes(0, 1))) owned[shard] = true;
  }
  std::map<std::uint32_t, std::uint32_t> purged; // by chain
  if (!purge_.empty()) {
    const rows& gone = answers.at(2);
    for (std::size_t i = 0; i < gone.size(); ++i) purged[static_cast<std::uint32_t>(gone.number(i, 0))] = static_cast<std::uint32_t>(gone.number(i, 1));
  }
  outcomes.resize(batch_.size());
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    const auto& [how, of] = placed_[i];
    if (how == fate::fenced || !owned[batch_[i]->shard.value()]) {
      outcomes[i] = turn_outcome::fenced;
    } else if (how == fate::look) {
      outcomes[i] = turn_outcome::committed;
    } else {
      const bool there = how == fate::chain && accepted.at(chains_[of].number - 1) == 1;
      outcomes[i] = there ? turn_outcome::committed : turn_outcome::stale;
    }
    if (outcomes[i] == turn_outcome::committed && batch_[i]->purge != 0) batch_[i]->purged = purged[chains_[of].number]; // nothing of one that is not deleted
    if (outcomes[i] == turn_outcome::committed && !batch_[i]->events.empty()) batch_[i]->last_event = first_event + last_events_[i];
  }
  return true;
}

void batch_writer::look_for(connection& on, node_generation generation, std::vector<turn_outcome>& outcomes) const {
  column tenants(type::int4);
  column positions(type::int8);
  column ids(type::int4);
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    if (placed_[i].how != fate::chain) continue;
    tenants.number(std::uint64_t{batch_[i]->entity.tenant().value()});
    positions.number(batch_[i]->position.value());
  }
  for (const auto& [id, epoch] : shards_) ids.number(std::uint64_t{id});
  arguments scope;
  scope.text(scope_);
  arguments turns;
  turns.array(tenants).array(positions);
  arguments shards;
  shards.number(generation.value()).array(ids);
  on.send_prepared("scope", scope);
  on.send("select j.tenant_id, j.position from unnest($1::integer[], $2::bigint[]) as u(tenant, position)"
          " join hive.journal j on j.tenant_id = u.tenant and j.position = u.position",
          turns);
  on.send("select id, epoch from hive.shard where owner = $1::bigint and id = any($2::integer[])", shards);
  const auto answers = on.finish(connection::clock::now() + on.wait);

  std::set<std::pair<std::uint32_t, std::uint64_t>> there;
  for (std::size_t i = 0; i < answers[1].size(); ++i)
    there.emplace(static_cast<std::uint32_t>(answers[1].number(i, 0)), answers[1].bits(i, 1));
  std::map<std::uint16_t, std::uint64_t> owned;
  for (std::size_t i = 0; i < answers[2].size(); ++i)
    owned[static_cast<std::uint16_t>(answers[2].number(i, 0))] = answers[2].bits(i, 1);

  outcomes.resize(batch_.size());
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    const turn_record& r = *batch_[i];
    // Epochs never come back: a shard that is ours under this one now was so when the batch was committed.
    const auto shard = owned.find(r.shard.value());
    const bool ours = placed_[i].how != fate::fenced && shard != owned.end() && shard->second == r.fence.value();
    if (placed_[i].how == fate::chain && there.contains({r.entity.tenant().value(), r.position.value()})) {
      outcomes[i] = turn_outcome::committed;
    } else if (!ours) {
      outcomes[i] = turn_outcome::fenced;
    } else {
      outcomes[i] = placed_[i].how == fate::look ? turn_outcome::committed : turn_outcome::stale;
    }
  }
}

} // namespace hive::persistence::postgres
