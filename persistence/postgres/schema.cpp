#include "persistence/postgres/schema.hpp"

#include "config/base/log.hpp"
#include "persistence/postgres/connection.hpp"

#include <pqxx/pqxx>

#include <array>
#include <set>

namespace hive::persistence::postgres {
namespace {

struct migration {
  const char* name;
  const char* sql;
  int works_with; ///< The oldest program schema that can work beside this one: expand first, contract later.
};

// `tenant_id` leads every key of tenants' data; `entity` is the entity's serial within its tenant. Times are
// milliseconds since the Unix epoch as the hive's nodes gave them, but for leases, which are of this server's clock.
constexpr std::array migrations{
    migration{"the tables of the first version", R"sql(
-- What all nodes share. No tenant's data: no row-level security.
create table hive.shard(
  id    integer primary key,
  owner bigint not null default 0,              -- node generation; 0: nobody
  epoch bigint not null default 0) with (fillfactor = 50);
create table hive.cluster(
  id              integer primary key check (id = 1),
  version         bigint not null,              -- of nodes' states and shards' owners
  last_generation bigint not null,
  ttl             bigint not null,              -- of the last lease, in milliseconds
  grace_end       timestamptz not null) with (fillfactor = 50);
insert into hive.cluster values(1, 1, 0, 0, 'epoch');
create table hive.node(
  generation bigint primary key,
  name       text not null,
  link       text not null,
  http       text not null,
  grpc       text not null,
  pool       text not null,
  zone       text not null,
  version    text not null,
  capacity   integer not null,
  state      smallint not null,                 -- 0 joining, 1 active, 2 draining, 3 left, 4 dead
  renewal    bigint not null,
  started    timestamptz not null,
  lease_end  timestamptz not null,
  ended      timestamptz,
  reason     text not null default '') with (fillfactor = 50);
create unique index node_name on hive.node(name) where state < 3;
-- One row a generation that writes: its commit connection locks it first in each batch. `session` shuts out connections
-- that went before; `batch` numbers what is committed. The counts are of what this generation's batches added.
create table hive.writer(
  generation bigint primary key,
  session    bigint not null,
  batch      bigint not null,
  entities   bigint not null,
  outbox     bigint not null,
  waiting    bigint not null,
  probe      bigint not null) with (fillfactor = 50);
insert into hive.writer values(0, 0, 0, 0, 0, 0, 0);
create sequence hive.position_block;            -- blocks of journal positions
create sequence hive.audit_number;
create sequence hive.dead_letter_number;

create table hive.entity(
  tenant_id  integer not null,
  entity     bigint not null,
  version    bigint not null,
  desired    smallint not null,
  life       integer not null,
  sent       bigint not null,                   -- last outbox sequence
  last_keyed bigint not null,                   -- journal position of the last row with a key
  log_tail   bigint not null,                   -- log position of the last row
  position   bigint not null,                   -- of the last turn
  state      bytea not null,
  primary key(tenant_id, entity)) with (fillfactor = 70);
create table hive.journal(
  tenant_id integer not null,
  position  bigint not null,
  entity    bigint not null,
  at        bigint not null,
  previous  bigint,                             -- the entity's last row with a key, before this one
  flags     integer,                            -- 1 generated key, 2 the answer is an error, 4* content type
  caller    bigint,                             -- these, from previous on, are null when the turn had no key
  digest    bytea,
  key       bytea,
  answer    bytea,
  principal text not null,
  primary key(tenant_id, position));
create index journal_at on hive.journal(at);
create table hive.log(
  tenant_id integer not null,
  position  bigint not null,                    -- of the turn
  entity    bigint not null,
  previous  bigint not null,                    -- the entity's log row before this one
  entries   bytea not null,                     -- count, then (log, index, data) each
  primary key(tenant_id, position));
create table hive.item(
  tenant_id integer not null,
  entity    bigint not null,
  key       bytea not null,
  value     bytea not null,
  primary key(tenant_id, entity, key));

create table hive.outbox(
  tenant_id integer not null,
  entity    bigint not null,                    -- the sender
  sequence  bigint not null,
  shard     integer not null,                   -- of the sender
  receiver_tenant integer not null,
  receiver  bigint not null,
  lane      smallint not null,
  format    smallint not null,                  -- content type of the body
  principal text not null,
  type      text not null,
  body      bytea not null,
  envelope  bytea not null,
  primary key(tenant_id, entity, sequence));
create index outbox_shard on hive.outbox(shard);
create table hive.inbox(
  tenant_id integer not null,
  entity    bigint not null,                    -- the receiver
  sender_tenant integer not null,
  sender    bigint not null,
  lane      smallint not null,
  sequence  bigint not null,
  primary key(tenant_id, entity, sender_tenant, sender, lane)) with (fillfactor = 70);

create table hive.waiting(
  tenant_id integer not null,
  entity    bigint not null,
  turn      bigint not null,
  shard     integer not null,
  started   bigint not null,
  seed      bigint not null,
  principal text not null,
  message   bytea not null,
  primary key(tenant_id, entity, turn));
create index waiting_shard on hive.waiting(shard);
create table hive.step(
  tenant_id integer not null,
  entity    bigint not null,
  turn      bigint not null,
  number    bigint not null,
  shard     integer not null,
  due       bigint not null,
  intent    bytea not null,
  result    bytea,
  primary key(tenant_id, entity, turn, number));
create table hive.timer(
  tenant_id integer not null,
  entity    bigint not null,
  due       bigint not null,
  number    bigint not null,
  shard     integer not null,
  format    smallint not null,                  -- content type of the body
  principal text not null,
  type      text not null,
  body      bytea not null,
  primary key(tenant_id, entity, due, number));
create index timer_shard on hive.timer(shard, due, tenant_id, entity, number);

create table hive.directory(
  tenant_id  integer not null,
  kind       smallint not null,
  name       text collate "C" not null,
  entity     bigint not null,
  supervisor text collate "C" not null,
  behaviour  text not null,
  revision   bigint not null,
  spec       bytea not null,
  primary key(tenant_id, kind, name));
create unique index directory_entity on hive.directory(tenant_id, entity);
create index directory_supervisor on hive.directory(tenant_id, kind, supervisor, name) where supervisor <> '';
create table hive.tenant(
  tenant_id integer primary key,                -- stays after removal: ids are never used again
  name      text collate "C" not null,
  spec      bytea not null,
  removed   boolean not null);
create unique index tenant_name on hive.tenant(name) where not removed;
create table hive.api_key(
  tenant_id   integer not null,
  id          text collate "C" not null,
  secret_hash text not null,
  role        text not null,
  label       text not null,
  created     bigint not null,
  primary key(tenant_id, id));
create unique index api_key_id on hive.api_key(id);

create table hive.audit(
  tenant_id integer not null,
  number    bigint not null default nextval('hive.audit_number'),
  at        bigint not null,
  entity    bigint not null,
  principal text not null,
  action    text not null,
  target    text not null,
  detail    text not null,
  primary key(tenant_id, number));
create index audit_at on hive.audit(at);
create table hive.event(
  tenant_id integer not null,
  number    bigint not null,                    -- transaction * 2^20 + number within it: see postgres_reader.cpp
  at        bigint not null,
  entity    bigint not null,
  type      text not null,
  source    text not null,
  data      bytea not null,
  primary key(tenant_id, number));
create index event_at on hive.event(at);
create table hive.event_floor(
  tenant_id integer primary key,
  number    bigint not null);                   -- the tenant's last event that was trimmed
create table hive.dead_letter(
  tenant_id integer not null,
  number    bigint not null default nextval('hive.dead_letter_number'), -- never used again
  at        bigint not null,
  entity    bigint not null,
  principal text not null,
  reason    text not null,
  message   bytea not null,
  detail    text not null,
  primary key(tenant_id, number));
create index dead_letter_at on hive.dead_letter(at);

-- A commit refuses itself: for what no constraint can say.
create function hive.demand(holds boolean, otherwise text) returns void language plpgsql as $$
begin
  if holds is not true then raise exception using errcode = 'check_violation', message = otherwise; end if;
end $$;

-- Row-level security. A transaction names its scope, in settings that end with it; what is outside is not there, and
-- without a scope nothing is:
--   hive.tenants      the tenants it acts for: one for readers, those of its turns for a batch
--   hive.shards       shards that the node recovers: work queues only, to read
--   hive.api_key      the id of one key that a caller showed: that row only, to read
--   hive.trim_before  rows that old, of tables that are trimmed: to read and delete
-- (`is true` keeps the scope out of index conditions: an index would be searched once for each tenant of the scope.)
do $$
declare
  own constant text := '(select nullif(current_setting(''hive.tenants'', true), '''')::integer[])::integer[]';
  recovered constant text := '(select nullif(current_setting(''hive.shards'', true), '''')::integer[])::integer[]';
  old constant text := '(select nullif(current_setting(''hive.trim_before'', true), '''')::bigint)';
  name text;
begin
  foreach name in array array['entity', 'journal', 'log', 'item', 'outbox', 'inbox', 'waiting', 'step', 'timer', 'directory',
                              'api_key', 'audit', 'event', 'event_floor', 'dead_letter'] loop
    execute format('alter table hive.%I enable row level security', name);
    execute format('alter table hive.%I force row level security', name);
    execute format('create policy own on hive.%I using ((tenant_id = any(%s)) is true) with check ((tenant_id = any(%s)) is true)', name, own, own);
  end loop;
  foreach name in array array['outbox', 'waiting', 'step', 'timer'] loop
    execute format('create policy recovered on hive.%I for select using ((shard = any(%s)) is true)', name, recovered);
  end loop;
  foreach name in array array['journal', 'event', 'audit', 'dead_letter'] loop
    execute format('create policy old_seen on hive.%I for select using ((at < %s) is true)', name, old);
    execute format('create policy old on hive.%I for delete using ((at < %s) is true)', name, old);
  end loop;
  execute format('create policy old on hive.event_floor using (%s is not null) with check (%s is not null)', old, old);
  execute 'create policy shown on hive.api_key for select using (id = (select nullif(current_setting(''hive.api_key'', true), '''')))';
  -- The list of tenants is the hive's own.
  execute 'alter table hive.tenant enable row level security';
  execute 'alter table hive.tenant force row level security';
  execute format('create policy own on hive.tenant using (0 = any(%s)) with check (0 = any(%s))', own, own);
end $$;

-- Payloads are mostly small or already dense: the time to compress them is worth more than the room.
do $$
declare c record;
begin
  for c in select table_name, column_name from information_schema.columns where table_schema = 'hive' and data_type = 'bytea' loop
    execute format('alter table hive.%I alter column %I set storage external', c.table_name, c.column_name);
  end loop;
end $$;
)sql",
              1},
    // The server and the database have identities of their own, which a restored dump does not bring along and a copy of
    // the files does. This one it is the other way round.
    migration{"an identity of the store", R"sql(
insert into hive.meta select 'identity', ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 16))::bit(64)::bigint;
)sql",
              1},
};

error admin_error(const std::string& what) {
  return {errc::failed_precondition,
          "store_not_migrated",
          "the schema could not be brought up to date: " + what,
          "store.postgres.admin",
          {}};
}

std::int64_t meta(pqxx::transaction_base& tx, const std::string& name) {
  const auto rows = tx.exec_params("select value from hive.meta where name = $1", name);
  return rows.empty() ? 0 : rows[0][0].as<std::int64_t>();
}

void create_meta(pqxx::transaction_base& tx, std::uint16_t shard_count) {
  tx.exec("create schema hive");
  tx.exec("revoke all on schema hive from public");
  tx.exec("create table hive.meta(name text primary key, value bigint not null)");
  tx.exec("insert into hive.meta values('schema', 0), ('works_with', 1)");
  tx.exec_params("insert into hive.meta values('shards', $1)", static_cast<int>(shard_count));
}

/// What the application may do: rows only. No TRUNCATE (row-level security does not hold it back), no DDL.
void grant(pqxx::transaction_base& tx, const std::string& role) {
  const std::string to = tx.quote_name(role);
  tx.exec("grant usage on schema hive to " + to);
  tx.exec("grant select on hive.meta to " + to);
  tx.exec("grant usage, select on all sequences in schema hive to " + to);
  tx.exec("grant select, insert, update, delete on all tables in schema hive to " + to);
  tx.exec("revoke insert, update, delete on hive.meta from " + to);
  tx.exec("grant execute on all functions in schema hive to " + to);
}

error another_shard_count(std::int64_t there, std::uint16_t wanted) {
  return {errc::failed_precondition,
          "shard_count",
          "the database was made with " + std::to_string(there) + " shards, and node.shards is " +
              std::to_string(wanted) + ": set it to " + std::to_string(there),
          "node.shards",
          {}};
}

error newer(std::int64_t there) {
  return {errc::failed_precondition,
          "store_newer",
          "the database has schema " + std::to_string(there) + "; this program knows " +
              std::to_string(newest_schema()) + ": run a newer one",
          "store.postgres.url",
          {}};
}

/// The policies that the migrations made, as "table policy command condition check", without blanks and brackets.
std::set<std::string> made_policies() {
  const auto setting = [](const std::string& name) { return "NULLIFcurrent_setting'hive." + name + "'::text,true,''::text"; };
  const std::string list = "::integer[]::integer[]ISTRUE";
  const std::string own = "tenant_id=ANYSELECT" + setting("tenants") + list;
  const std::string old = "at<SELECT" + setting("trim_before") + "::bigintISTRUE";
  const std::string trims = "SELECT" + setting("trim_before") + "::bigintISNOTNULL";
  const std::string all = "0=ANYSELECT" + setting("tenants") + "::integer[]::integer[]";
  std::set<std::string> made{"event_floor old * " + trims + " " + trims, "tenant own * " + all + " " + all,
                             "api_key shown r id=SELECT" + setting("api_key") + " "};
  for (const std::string table : {"entity", "journal", "log", "item", "outbox", "inbox", "waiting", "step", "timer", "directory", "api_key",
                                  "audit", "event", "event_floor", "dead_letter"})
    made.insert(table + " own * " + own + " " + own);
  for (const std::string table : {"outbox", "waiting", "step", "timer"})
    made.insert(table + " recovered r shard=ANYSELECT" + setting("shards") + list + " ");
  for (const std::string table : {"journal", "event", "audit", "dead_letter"}) {
    made.insert(table + " old_seen r " + old + " ");
    made.insert(table + " old d " + old + " ");
  }
  return made;
}

/// Security that is enabled and forced keeps nobody apart when a policy lets everything through.
result<void> check_policies(connection& on) {
  // A newer program may have others; that this one can work beside it is its word.
  if (on.query("select value from hive.meta where name = 'schema'").number(0, 0) > newest_schema()) return {};
  const auto there = on.query(
      "select c.relname::text || ' ' || p.polname::text || ' ' || p.polcmd::text || ' ' || coalesce(regexp_replace(pg_get_expr(p.polqual, p.polrelid), plain, '', 'g'), '')"
      " || ' ' || coalesce(regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), plain, '', 'g'), '')"
      " || case when p.polpermissive and p.polroles = '{0}' then '' else ' for some' end"
      " from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace,"
      " (values ('[[:space:]()]|AS \"nullif\"')) as v(plain) where n.nspname = 'hive'");
  auto missing = made_policies();
  std::string wrong;
  for (std::size_t i = 0; i < there.size(); ++i) {
    const auto policy = there.text(i, 0);
    if (missing.erase(policy) == 0 && wrong.empty()) wrong = policy;
  }
  if (wrong.empty() && !missing.empty()) wrong = *missing.begin();
  if (wrong.empty()) return {};
  const auto table = wrong.substr(0, wrong.find(' '));
  const auto name = wrong.substr(table.size() + 1, wrong.find(' ', table.size() + 1) - table.size() - 1);
  return error{errc::failed_precondition, "row_security_changed",
               "the policy \"" + name + "\" of the table hive." + table +
                   " is not as the hive's migrations made it: tenants would not be kept apart; make it anew as it was",
               "store.postgres.url",
               {}};
}

} // namespace

int newest_schema() noexcept { return static_cast<int>(migrations.size()); }

result<void> migrate(const std::string& admin, const std::string& application_role, std::uint16_t shard_count) {
  try {
    pqxx::connection on(admin);
    for (;;) {
      pqxx::work tx(on);
      // Everybody else's start waits here, and then finds the work done.
      tx.exec("set local search_path = pg_catalog");
      tx.exec("select pg_advisory_xact_lock(hashtext('agent hive schema'))");
      if (tx.exec1("select count(*) from pg_namespace where nspname = 'hive'")[0].as<int>() == 0)
        create_meta(tx, shard_count);
      if (tx.exec1("select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = "
                   "'hive' and relname = 'meta'")[0]
              .as<int>() == 0)
        return error{errc::failed_precondition,
                     "store_foreign",
                     "the schema \"hive\" of this database belongs to another program: name another database",
                     "store.postgres.admin",
                     {}};

      const std::int64_t version = meta(tx, "schema");
      if (version >= newest_schema()) {
        if (version > newest_schema() && meta(tx, "works_with") > newest_schema()) return newer(version);
        if (const auto shards = meta(tx, "shards"); shards != shard_count)
          return another_shard_count(shards, shard_count);
        grant(tx, application_role);
        tx.commit();
        return {};
      }
      const auto& next = migrations[static_cast<std::size_t>(version)];
      tx.exec(next.sql);
      if (version == 0)
        tx.exec_params("insert into hive.shard(id) select generate_series(0, $1 - 1)",
                       static_cast<int>(meta(tx, "shards")));
      tx.exec_params("update hive.meta set value = $1 where name = 'schema'", version + 1);
      tx.exec_params("update hive.meta set value = $1 where name = 'works_with'", next.works_with);
      tx.commit();
      log::write(version == 0 ? log::level::debug : log::level::info, "schema brought up to date",
                 {{"version", version + 1}, {"change", next.name}});
    }
  } catch (const pqxx::broken_connection& e) {
    return error{errc::unavailable,
                 "store_away",
                 std::string("the database of store.postgres.admin cannot be reached: ") + e.what(),
                 "store.postgres.admin",
                 {}};
  } catch (const std::exception& e) {
    return admin_error(e.what());
  }
}

result<void> check_schema(connection& on, std::uint16_t shard_count) {
  const auto there = on.query("select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where "
                              "n.nspname = 'hive' and c.relname = 'meta'");
  if (there.number(0, 0) == 0)
    return error{errc::failed_precondition,
                 "store_not_migrated",
                 "the database has no tables of the hive: name its owner in store.postgres.admin, once",
                 "store.postgres.admin",
                 {}};
  if (on.query("select has_schema_privilege('hive', 'usage')::int::bigint").number(0, 0) == 0)
    return error{errc::failed_precondition,
                 "store_not_granted",
                 "the role may not use the tables of the hive: start once with store.postgres.admin",
                 "store.postgres.admin",
                 {}};
  const auto values = on.query("select (select value from hive.meta where name = 'schema'), (select value from "
                               "hive.meta where name = 'works_with'),"
                               " (select value from hive.meta where name = 'shards')");
  const std::int64_t version = values.number(0, 0);
  if (version < newest_schema())
    return error{errc::failed_precondition,
                 "store_not_migrated",
                 "the database has schema " + std::to_string(version) + "; this program needs " +
                     std::to_string(newest_schema()) + ": start once with store.postgres.admin",
                 "store.postgres.admin",
                 {}};
  if (version > newest_schema() && values.number(0, 1) > newest_schema()) return newer(version);
  if (values.number(0, 2) != shard_count) return another_shard_count(values.number(0, 2), shard_count);
  return {};
}

result<void> check_role(connection& on) {
  const auto unsafe = [](std::string why) {
    return error{errc::failed_precondition,
                 "unsafe_role",
                 "the role of store.postgres.url " + std::move(why) +
                     ": tenants would not be kept apart; use one that owns nothing",
                 "store.postgres.url",
                 {}};
  };
  const auto role = on.query("select bool_or(rolsuper)::int::bigint, bool_or(rolbypassrls)::int::bigint from pg_roles "
                             "where rolname in (current_user, session_user)");
  if (role.number(0, 0) != 0) return unsafe("is a superuser");
  if (role.number(0, 1) != 0) return unsafe("has BYPASSRLS");
  // A member of a role can become it.
  const auto owner = on.query("select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                              " where n.nspname = 'hive' and (pg_has_role(session_user, c.relowner, 'MEMBER') or "
                              "pg_has_role(session_user, n.nspowner, 'MEMBER'))");
  if (owner.number(0, 0) != 0) return unsafe("owns tables of the hive, or is a member of their owner");
  const auto strong = on.query(
      "select count(*) from pg_roles where (rolsuper or rolbypassrls) and pg_has_role(session_user, oid, 'MEMBER')");
  if (strong.number(0, 0) != 0) return unsafe("is a member of a superuser or of a role with BYPASSRLS");
  if (on.query("select has_schema_privilege('hive', 'create')::int::bigint").number(0, 0) != 0)
    return unsafe("may make tables in the schema of the hive");
  if (on.query("select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'hive' "
               "and c.relkind = 'r'"
               " and has_table_privilege(c.oid, 'truncate')")
          .number(0, 0) != 0)
    return unsafe("may TRUNCATE tables of the hive");
  const auto open = on.query("select min(c.relname::text) from pg_class c join pg_namespace n on n.oid = "
                             "c.relnamespace join pg_attribute a on a.attrelid = c.oid"
                             " where n.nspname = 'hive' and c.relkind = 'r' and a.attname = 'tenant_id' and not "
                             "(c.relrowsecurity and c.relforcerowsecurity)");
  if (!open.is_null(0, 0))
    return error{errc::failed_precondition,
                 "row_security_off",
                 "row-level security is off for the table hive." + open.text(0, 0) + ": enable and force it",
                 "store.postgres.url",
                 {}};
  return check_policies(on);
}

} // namespace hive::persistence::postgres
