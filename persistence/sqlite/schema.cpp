#include "persistence/sqlite/schema.hpp"

#include "config/base/log.hpp"

#include <array>

namespace hive::persistence::sqlite {
namespace {

struct migration {
  const char* name;
  const char* sql;
};

// Ids are 64-bit integers as `entity_id::bits()`; times are milliseconds since the Unix epoch.
constexpr std::array migrations{
  migration{"the tables of the first version", R"sql(
create table shard(
  id     integer primary key,
  owner  integer not null,                      -- node generation; 0: nobody yet
  epoch  integer not null);
create table node(
  generation integer primary key,               -- one row a life of a node
  started    integer not null);

-- One row an entity. The blob comes last, so that the numbers are read without crossing it.
create table entity(
  id         integer primary key,
  version    integer not null,
  desired    integer not null,
  life       integer not null,
  sent       integer not null,                  -- last outbox sequence
  last_keyed integer not null,                  -- journal position of the last row with a key
  log_tail   integer not null,                  -- log position of the last row
  state      blob not null);

-- Append only, and so is log: no index beside the position, for each one costs a page a row.
create table journal(
  position  integer primary key,
  entity    integer not null,
  at        integer not null,
  previous  integer,                            -- the entity's last row with a key, before this one
  flags     integer,                            -- 1 generated key, 2 the answer is an error, 4* content type
  caller    integer,                            -- these, from previous on, are null when the turn had no key
  digest    blob,
  key       blob,
  answer    blob,
  principal text not null);
create table log(
  position integer primary key,                 -- of the turn
  entity   integer not null,
  previous integer not null,                    -- the entity's log row before this one
  entries  blob not null);                      -- count, then (log, index, data) each

create table item(
  entity integer not null,
  key    blob not null,
  value  blob not null,
  primary key(entity, key)) without rowid;

create table outbox(
  shard     integer not null,                   -- of the sender
  sender    integer not null,
  sequence  integer not null,
  receiver  integer not null,
  lane      integer not null,
  format    integer not null,                   -- content type of the body
  principal text not null,
  type      text not null,
  body      blob not null,
  envelope  blob not null,
  primary key(shard, sender, sequence)) without rowid;
create table inbox(
  receiver integer not null,
  sender   integer not null,
  lane     integer not null,
  sequence integer not null,
  primary key(receiver, sender, lane)) without rowid;

create table waiting(
  shard     integer not null,
  entity    integer not null,
  turn      integer not null,
  started   integer not null,
  seed      integer not null,
  principal text not null,
  message   blob not null,
  primary key(shard, entity, turn)) without rowid;
create table step(
  entity integer not null,
  turn   integer not null,
  number integer not null,
  due    integer not null,
  intent blob not null,
  result blob,
  primary key(entity, turn, number)) without rowid;

create table directory(
  tenant     integer not null,
  kind       integer not null,
  name       text not null,
  id         integer not null,
  supervisor text not null,
  behaviour  text not null,
  revision   integer not null,
  spec       blob not null,
  primary key(tenant, kind, name)) without rowid;
create unique index directory_id on directory(id);
create index directory_supervisor on directory(tenant, kind, supervisor, name) where supervisor != '';

create table tenant(
  id      integer primary key,                  -- stays after removal: ids are never used again
  name    text not null,
  spec    blob not null,
  removed integer not null);
create unique index tenant_name on tenant(name) where removed = 0;
create table api_key(
  id          text primary key,
  tenant      integer not null,
  secret_hash text not null,
  role        text not null,
  label       text not null,
  created     integer not null) without rowid;

create table audit(
  number    integer primary key,
  tenant    integer not null,
  at        integer not null,
  entity    integer not null,
  principal text not null,
  action    text not null,
  target    text not null,
  detail    text not null);
create index audit_tenant on audit(tenant);
create table event(
  number integer primary key,                   -- in the order of commits; never used again
  tenant integer not null,
  at     integer not null,
  entity integer not null,
  type   text not null,
  source text not null,
  data   blob not null);
create index event_tenant on event(tenant);
create table event_floor(
  tenant integer primary key,
  number integer not null);                     -- the tenant's last event that was trimmed
create table dead_letter(
  number    integer primary key,
  tenant    integer not null,
  at        integer not null,
  entity    integer not null,
  principal text not null,
  reason    text not null,
  message   blob not null,
  detail    text not null);
create index dead_letter_tenant on dead_letter(tenant);

create table total(
  id       integer primary key,                 -- 1
  entities integer not null,
  outbox   integer not null,
  waiting  integer not null);
insert into total values(1, 0, 0, 0);
)sql"},
  migration{"timers of entities", R"sql(
create table timer(
  shard     integer not null,
  due       integer not null,
  entity    integer not null,
  number    integer not null,
  format    integer not null,                   -- content type of the body
  principal text not null,
  type      text not null,
  body      blob not null,
  primary key(shard, due, entity, number)) without rowid;
)sql"},
  migration{"numbers of dead letters are never used again", R"sql(
create table dead_letter_3(
  number    integer primary key autoincrement,
  tenant    integer not null,
  at        integer not null,
  entity    integer not null,
  principal text not null,
  reason    text not null,
  message   blob not null,
  detail    text not null);
insert into dead_letter_3 select number, tenant, at, entity, principal, reason, message, detail from dead_letter;
drop table dead_letter;
alter table dead_letter_3 rename to dead_letter;
create index dead_letter_tenant on dead_letter(tenant);
)sql"},
};

/// @param news whether there was something to bring up to date: a new database is no news.
void apply(connection& on, std::size_t index, bool news) {
  on.execute("begin immediate");
  try {
    on.execute(migrations[index].sql);
    statement(on, "update meta set value = ? where name = 'schema'").bind(static_cast<std::int64_t>(index + 1)).run();
    on.execute("commit");
  } catch (...) {
    on.roll_back();
    throw;
  }
  log::write(news ? log::level::info : log::level::debug, "schema brought up to date", {{"version", index + 1}, {"change", migrations[index].name}});
}

void create_meta(connection& on, std::uint16_t shard_count) {
  on.execute("begin immediate");
  try {
    on.execute("create table meta(name text primary key, value) without rowid;"
               "insert into meta values('schema', 0), ('trimmed', 0), ('probe', 0)");
    statement(on, "insert into meta values('shards', ?)").bind(static_cast<std::int64_t>(shard_count)).run();
    on.execute("commit");
  } catch (...) {
    on.roll_back();
    throw;
  }
}

} // namespace

int newest_schema() noexcept { return static_cast<int>(migrations.size()); }

result<void> bring_up_to_date(connection& on, const std::string& file, std::uint16_t shard_count) {
  const bool empty = on.number("select count(*) from sqlite_schema") == 0;
  if (empty) create_meta(on, shard_count);
  if (on.number("select count(*) from sqlite_schema where name = 'meta'") == 0) {
    return error{errc::failed_precondition, "store_foreign", file + " is a database of another program: name another directory", {}, {}};
  }

  const std::int64_t version = on.number("select value from meta where name = 'schema'");
  if (version > newest_schema()) {
    return error{errc::failed_precondition, "store_newer",
                 file + " has schema " + std::to_string(version) + "; this program knows " + std::to_string(newest_schema()) +
                   ": run a newer one", {}, {}};
  }
  const std::int64_t shards = on.number("select value from meta where name = 'shards'");
  if (shards != shard_count) {
    return error{errc::failed_precondition, "shard_count",
                 file + " was made with " + std::to_string(shards) + " shards, and node.shards is " + std::to_string(shard_count) +
                   ": set it to " + std::to_string(shards), "node.shards", {}};
  }
  for (auto next = static_cast<std::size_t>(version); next < migrations.size(); ++next) apply(on, next, version != 0);
  return {};
}

} // namespace hive::persistence::sqlite
