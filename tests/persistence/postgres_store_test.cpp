// What PostgreSQL adds to the contract: tenants apart by row-level security, roles that are refused, commits whose end
// is not known, takeovers under way, restarts, promotions, and what cannot be stored.
#include "config/base/log.hpp"
#include "persistence/commit_thread.hpp"
#include "persistence/event_cursor.hpp"
#include "tests/persistence/cutting_proxy.hpp"
#include "tests/persistence/postgres_server.hpp"
#include "tests/persistence/turn_maker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <future>
#include <set>
#include <sys/wait.h>

namespace hive::test {
namespace {

using persistence::postgres::arguments;
using persistence::postgres::connection;
using persistence::postgres::pg_error;
using namespace std::chrono_literals;

std::unique_ptr<turn_store> opened(const postgres_options& options) {
  auto store = open_postgres(options);
  if (!store) throw std::runtime_error(to_string(store.error()));
  return std::move(*store);
}

/// A turn with a row in every table that tenants have.
std::unique_ptr<turn_record> full_turn(turn_maker& make, actor& a, const std::string& name) {
  auto r = make.turn(a);
  turn_maker::set_state(*r, "secret of " + name);
  turn_maker::answer(a, *r, "key", "secret of " + name);
  turn_maker::append(a, *r, "ops", "secret of " + name);
  turn_maker::end_appends(a, *r);
  turn_maker::send(a, *r, a.id, "secret of " + name);
  r->items = {{"i", "secret of " + name}};
  r->marks = {inbox_mark{a.id, 2, 1}};
  r->accepted = waiting_turn{1, at_ms(1), 1, "secret of " + name};
  r->steps = {{1, 0, "secret of " + name, at_ms(0), std::nullopt}};
  r->timers.push_back({at_ms(77), 5, {}, "key:test", "tick", {"secret of " + name, content_type::text}});
  r->directory = {{{entity_kind::agent, name, a.id, "b", "", 1, "secret"}, false}};
  r->api_keys = {{"K" + name, a.id.tenant(), "hash", "tenant", "", at_ms(0), false}};
  r->audit = {{"agent.put", "secret of " + name, "{}"}};
  r->events = {{"e", "agent/a", "secret of " + name}};
  r->dead_letters = {{"r", "secret of " + name, "{}"}};
  return r;
}

class PostgresStore : public testing::Test {
protected:
  void SetUp() override { log::open({.file = "/dev/null", .json = true, .minimum = log::level::error}); }
  void open_store(postgres_options o) {
    store = opened(o);
    make.emplace(*store);
    make->claim_all();
  }
  void open_store() { open_store(server.options(database)); }
  std::unique_ptr<connection> app(const std::string& role = "hive_app") {
    return std::make_unique<connection>(
        persistence::postgres::connect_options{server.url(role, database), "test", 3000ms, true});
  }
  entity_row loaded(const actor& a) {
    auto reader = std::move(store->reader()).value();
    auto row = reader->load_entity(context_of(a.id.tenant().value()), a.id);
    EXPECT_TRUE(row) << to_string(row.error());
    return row ? *row : entity_row{};
  }
  static std::string failure(const std::function<void()>& work) {
    try {
      work();
    } catch (const pg_error& e) {
      return e.state();
    }
    return "";
  }

  postgres_server& server = postgres_server::shared();
  std::string database = server.new_database();
  std::unique_ptr<turn_store> store;
  std::optional<turn_maker> make;
  actor ann{{tenant_id{3}, 10}};
  actor bob{{tenant_id{3}, 11}};
  actor eve{{tenant_id{4}, 10}};
};

const std::vector<std::string> tenant_tables{"entity",  "journal", "log",   "item",       "outbox",
                                             "inbox",   "waiting", "step",  "timer",      "directory",
                                             "api_key", "audit",   "event", "dead_letter"};

// -- what other nodes are told of

TEST_F(PostgresStore, ACommitTellsTheNumberOfEachTurnsLastEvent) {
  open_store();
  const auto reader = std::move(store->reader()).value();
  const auto newest = [&](const actor& a) { return *number_of(reader->events(context_of(a.id.tenant().value()), "", 1)->end); };
  auto first = make->turn(ann);
  first->events = {{"a", "agent/a", "{}"}, {"b", "agent/a", "{}"}};
  auto between = make->turn(bob);
  auto last = make->turn(eve);
  last->events = {{"c", "agent/c", "{}"}};
  auto stale = make->turn(bob);
  stale->base += 5;
  stale->events = {{"d", "agent/d", "{}"}};
  ASSERT_EQ(write(*store, first, between, last, stale).what, batch_result::kind::done);
  EXPECT_EQ(first->last_event, newest(ann));
  EXPECT_EQ(between->last_event, 0U);
  EXPECT_EQ(last->last_event, newest(eve));
  EXPECT_GT(last->last_event, first->last_event);
  EXPECT_EQ(stale->last_event, 0U) << "it is not there";
  auto next = make->turn(ann);
  next->events = {{"e", "agent/a", "{}"}};
  ASSERT_EQ(write(*store, next).what, batch_result::kind::done);
  EXPECT_EQ(next->last_event, newest(ann));
}

TEST_F(PostgresStore, EachDatabaseHasALineageOfItsOwn) {
  open_store();
  const auto other = opened(server.options(server.new_database()));
  const auto again = opened(server.options(database));
  EXPECT_FALSE(store->lineage().empty());
  EXPECT_EQ(store->lineage(), again->lineage());
  EXPECT_NE(store->lineage(), other->lineage());
  EXPECT_EQ(store->lineage().find('/'), std::string::npos) << "it is a part of keys";
}

TEST_F(PostgresStore, ACopyOfADatabaseIsAnotherStore) {
  open_store();
  const auto again = opened(server.options(database));
  EXPECT_FALSE(store->identity().empty());
  EXPECT_EQ(store->identity(), again->identity());
  EXPECT_TRUE(store->lineage().starts_with(store->identity() + "."));
  const auto in_meta = [&](const std::string& of) { return server.run(of, "select value from hive.meta where name = 'identity'").number(0, 0); };
  const auto other = server.new_database();
  const auto apart = opened(server.options(other));
  EXPECT_NE(apart->identity(), store->identity());
  EXPECT_NE(in_meta(other), in_meta(database)) << "not only the server's and the database's numbers";

  store.reset();
  const auto copy = server.new_database();
  server.run("postgres", "drop database " + copy);
  server.run("postgres", "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '" + database + "'");
  server.run("postgres", "create database " + copy + " template " + database + " owner hive_owner");
  EXPECT_EQ(in_meta(copy), in_meta(database));
  EXPECT_NE(opened(server.options(copy))->identity(), again->identity());
}

// -- time

TEST_F(PostgresStore, AClockThatIsAheadTakesNothingThatOthersCountOn) {
  open_store();
  const auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  auto keyed = make->turn(ann);
  turn_maker::answer(ann, *keyed, "key", "done");
  keyed->at = now - 1h;
  keyed->events = {{"e", "agent/a", "{}"}};
  keyed->audit = {{"agent.put", "a", "{}"}};
  keyed->dead_letters = {{"r", "m", "{}"}};
  ASSERT_EQ(write(*store, keyed).what, batch_result::kind::done);
  const auto horizon = [](wall_time by) { return trim_horizon{by - 24h, by - 24h, by - 24h, by - 24h, by}; };
  EXPECT_EQ(*store->trim(horizon(now + 25h), 100), 0u) << "by the server's clock it is an hour old";
  const auto kept = server.run(database, "select (select count(*) from hive.journal), (select count(*) from hive.event), (select count(*) from hive.audit),"
                                         " (select count(*) from hive.dead_letter)");
  for (int i = 0; i < 4; ++i) EXPECT_EQ(kept.number(0, i), 1) << i;
  EXPECT_EQ(*store->trim(horizon(now - 25h), 100), 0u) << "one that is behind takes later";
  auto soon = horizon(now);
  soon.journal = soon.events = soon.dead_letters = soon.audit = now - 30min;
  EXPECT_EQ(*store->trim(soon, 100), 4u);
}

// -- tenants apart

TEST_F(PostgresStore, EveryTableWithTenantsDataHasForcedRowSecurity) {
  open_store();
  const auto open = server.run(database, "select c.relname from pg_class c join pg_namespace n on n.oid = "
                                         "c.relnamespace where n.nspname = 'hive' and c.relkind = 'r'"
                                         " and not (c.relrowsecurity and c.relforcerowsecurity) order by 1");
  std::set<std::string> names;
  for (std::size_t i = 0; i < open.size(); ++i) names.insert(open.text(i, 0));
  EXPECT_EQ(names, (std::set<std::string>{"cluster", "meta", "node", "shard", "writer"})) << "these know no tenant";
}

TEST_F(PostgresStore, WithoutATenantNothingIsSeenAndNothingWritten) {
  open_store();
  ASSERT_EQ(write(*store, full_turn(*make, ann, "ann"), full_turn(*make, eve, "eve")).what, batch_result::kind::done);
  auto on = app();
  for (const auto& table : tenant_tables) {
    EXPECT_EQ(on->query(("select count(*) from hive." + table).c_str()).number(0, 0), 0) << table;
    EXPECT_EQ(on->query(("delete from hive." + table).c_str()).touched(), 0u) << table;
    EXPECT_EQ(server.run(database, "select count(*) from hive." + table).number(0, 0), 2)
        << table << ": the rows are there";
    on->query("select set_config('hive.tenants', '', false)"); // as a setting that has ended looks
    EXPECT_EQ(on->query(("select count(*) from hive." + table).c_str()).number(0, 0), 0) << table;
  }
  EXPECT_EQ(failure([&] { on->query("insert into hive.item values(3, 10, 'k', 'v')"); }), "42501");
  EXPECT_EQ(failure([&] { on->query("insert into hive.tenant values(7, 'new', '', false)"); }), "42501");
  EXPECT_NE(failure([&] {
              on->query("select set_config('hive.tenants', 'x', false)");
              on->query("select * from hive.item");
            }),
            "")
      << "a scope that is none";
}

TEST_F(PostgresStore, AForeignTenantsRowsCannotBeReadMovedOrWritten) {
  open_store();
  ASSERT_EQ(write(*store, full_turn(*make, ann, "ann"), full_turn(*make, eve, "eve")).what, batch_result::kind::done);
  auto on = app();
  on->query("select set_config('hive.tenants', '{4}', false)");
  for (const auto& table : tenant_tables) {
    EXPECT_EQ(on->query(("select count(*) from hive." + table).c_str()).number(0, 0), 1) << table;
    EXPECT_EQ(on->query(("select count(*) from hive." + table + " where tenant_id = 3").c_str()).number(0, 0), 0)
        << table;
    EXPECT_EQ(on->query(("select count(*) from hive." + table + " t where t::text like '%ann%'").c_str()).number(0, 0),
              0)
        << table;
    EXPECT_EQ(on->query(("delete from hive." + table + " where tenant_id = 3").c_str()).touched(), 0u) << table;
    EXPECT_EQ(failure([&] { on->query(("update hive." + table + " set tenant_id = 3").c_str()); }), "42501") << table;
  }
  EXPECT_EQ(failure([&] { on->query("insert into hive.item values(3, 10, 'k', 'v')"); }), "42501");
  EXPECT_EQ(failure([&] {
              on->query("insert into hive.item values(3, 10, 'i', 'v') on conflict (tenant_id, entity, key) do update "
                        "set value = 'stolen'");
            }),
            "42501");
  EXPECT_EQ(failure([&] {
              on->query("select set_config('row_security', 'off', false)");
              on->query("select * from hive.item");
            }),
            "42501");
}

TEST_F(PostgresStore, TheApplicationsRoleCannotWeakenItsOwnBounds) {
  open_store();
  auto on = app();
  for (const char* attack :
       {"truncate hive.item", "alter table hive.item disable row level security", "drop policy own on hive.item",
        "drop table hive.item", "create policy mine on hive.item using (true)",
        "alter table hive.item owner to hive_app", "create table hive.mine(x int)", "set role hive_owner",
        "set session authorization super", "create function hive.mine() returns int language sql as 'select 1'",
        "update hive.meta set value = 99", "alter role hive_app bypassrls", "grant hive_owner to hive_app",
        "copy hive.item to program 'cat'",
        "create trigger t before insert on hive.item for each row execute function hive.demand()"})
    EXPECT_EQ(failure([&] { on->query(attack); }), "42501") << attack;
}

TEST_F(PostgresStore, OtherScopesShowOnlyWhatTheyAreFor) {
  open_store();
  ASSERT_EQ(write(*store, full_turn(*make, ann, "ann"), full_turn(*make, eve, "eve")).what, batch_result::kind::done);
  auto on = app();
  const auto count = [&](const std::string& table) {
    return on->query(("select count(*) from hive." + table).c_str()).number(0, 0);
  };
  on->query(
      ("select set_config('hive.shards', '{" + std::to_string(make->shard(ann.id).value()) + "}', false)").c_str());
  for (const auto& table : tenant_tables) {
    const bool queue = table == "outbox" || table == "waiting" || table == "step" || table == "timer";
    EXPECT_EQ(count(table), queue ? 1 : 0) << table;
    EXPECT_EQ(on->query(("delete from hive." + table).c_str()).touched(), 0u) << table << ": recovery reads";
  }
  on->query("select set_config('hive.shards', '', false), set_config('hive.api_key', 'Kann', false)");
  for (const auto& table : tenant_tables) EXPECT_EQ(count(table), table == "api_key" ? 1 : 0) << table;
  on->query("select set_config('hive.api_key', '', false), set_config('hive.trim_before', '1001', false)");
  for (const auto& table : tenant_tables) {
    const bool trimmed = table == "journal" || table == "audit" || table == "event" || table == "dead_letter";
    EXPECT_EQ(count(table), trimmed ? 2 : 0) << table;
  }
  on->query("select set_config('hive.trim_before', '1000', false)");
  EXPECT_EQ(count("journal"), 0) << "the row is of 1000";
}

TEST_F(PostgresStore, OneConnectionServesTenantsInTurnAndKeepsThemApart) {
  auto options = server.options(database);
  options.readers = 1;
  open_store(options);
  ASSERT_EQ(write(*store, full_turn(*make, ann, "ann"), full_turn(*make, eve, "eve")).what, batch_result::kind::done);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (const actor* a : {&ann, &eve}) {
    threads.emplace_back([&, a] {
      auto reader = std::move(store->reader()).value();
      const auto who = context_of(a->id.tenant().value());
      for (int i = 0; i < 200; ++i) {
        const auto list = reader->list(who, entity_kind::agent, "", 10);
        const auto state = reader->load_entity(who, a->id);
        if (!list || list->size() != 1 || list->front().id != a->id || !state ||
            state->state != std::string("secret of ") + (a == &ann ? "ann" : "eve"))
          ++wrong;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(PostgresStore, ABatchOfManyTenantsIsOneCommit) {
  open_store();
  std::vector<std::unique_ptr<turn_record>> batch;
  for (std::uint32_t tenant = 1; tenant <= 300; ++tenant) {
    actor a{{tenant_id{tenant}, 5}};
    batch.push_back(make->turn(a));
    turn_maker::set_state(*batch.back(), std::to_string(tenant));
    batch.back()->items = {{"k", std::to_string(tenant)}};
  }
  const auto done = write(*store, batch);
  ASSERT_EQ(done.what, batch_result::kind::done) << to_string(done.why);
  EXPECT_EQ(server.run(database, "select count(distinct xmin::text) from hive.entity").number(0, 0), 1);
  EXPECT_EQ(server.run(database, "select count(*) from hive.item").number(0, 0), 300);
}

// -- who may start

TEST_F(PostgresStore, UnsafeRolesAreRefused) {
  open_store();
  server.run("postgres", "do $$ begin create role t_bypass login bypassrls; create role t_member login; create role "
                         "t_super login; grant hive_owner to t_member;"
                         " grant super to t_super; exception when duplicate_object then null; end $$");
  for (const char* role : {"super", "hive_owner", "t_bypass", "t_member", "t_super"}) {
    auto options = server.options(database);
    options.url = server.url(role, database);
    const auto refused = open_postgres(options);
    ASSERT_FALSE(refused) << role;
    EXPECT_EQ(refused.error().reason, "unsafe_role") << role << ": " << to_string(refused.error());
    EXPECT_EQ(refused.error().field, "store.postgres.url");
  }
  server.run(database, "grant truncate on hive.item to hive_app");
  EXPECT_EQ(open_postgres(server.options(database)).error().reason, "unsafe_role");
  server.run(database, "revoke truncate on hive.item from hive_app; ");
  server.run(database, "alter table hive.item no force row level security");
  EXPECT_EQ(open_postgres(server.options(database)).error().reason, "row_security_off");
  server.run(database, "alter table hive.item force row level security");
  EXPECT_TRUE(open_postgres(server.options(database)));
}

TEST_F(PostgresStore, PoliciesThatSomebodyChangedAreRefused) {
  open_store();
  const auto refused_after = [&](const std::string& change) {
    server.run(database, change);
    const auto opened_again = open_postgres(server.options(database));
    return opened_again ? "" : opened_again.error().reason + " " + opened_again.error().message;
  };
  const auto names = [](const std::string& policy, const std::string& table) {
    return testing::AllOf(testing::StartsWith("row_security_changed"), testing::HasSubstr('"' + policy + "\" of the table hive." + table));
  };
  const auto as_made = server.run(database, "select pg_get_expr(polqual, polrelid) from pg_policy where polname = 'own' and polrelid = 'hive.item'::regclass").text(0, 0);
  EXPECT_THAT(refused_after("alter policy own on hive.item using (true)"), names("own", "item"));
  EXPECT_THAT(refused_after("alter policy own on hive.item using (" + as_made + " or tenant_id > 0)"), names("own", "item"));
  EXPECT_EQ(refused_after("alter policy own on hive.item using (" + as_made + ")"), "");
  EXPECT_THAT(refused_after("alter policy own on hive.item with check (true)"), names("own", "item"));
  EXPECT_EQ(refused_after("alter policy own on hive.item with check (" + as_made + ")"), "");
  EXPECT_THAT(refused_after("create policy more on hive.entity for select using (true)"), names("more", "entity"));
  EXPECT_EQ(refused_after("drop policy more on hive.entity"), "");
  EXPECT_THAT(refused_after("create policy more on hive.entity for insert with check (true)"), names("more", "entity"));
  EXPECT_EQ(refused_after("drop policy more on hive.entity"), "");
  EXPECT_THAT(refused_after("drop policy old on hive.journal"), names("old", "journal"));
}

TEST_F(PostgresStore, TheStartNamesWhatIsWrong) {
  auto options = server.options(database);
  options.admin.clear();
  EXPECT_EQ(open_postgres(options).error().reason, "store_not_migrated");
  EXPECT_EQ(open_postgres(options).error().field, "store.postgres.admin");
  open_store();
  EXPECT_TRUE(open_postgres(options)) << "the owner is needed once";

  options.shard_count = 128;
  EXPECT_EQ(open_postgres(options).error().reason, "shard_count");
  options.admin = server.url("hive_owner", database);
  EXPECT_EQ(open_postgres(options).error().field, "node.shards");

  server.run(database, "update hive.meta set value = 99 where name = 'schema'");
  EXPECT_TRUE(open_postgres(server.options(database))) << "a newer schema that works with this program: expand first";
  server.run(database, "update hive.meta set value = 99 where name = 'works_with'");
  EXPECT_EQ(open_postgres(server.options(database)).error().reason, "store_newer");

  const auto foreign = server.new_database();
  server.run(foreign, "create schema hive");
  EXPECT_EQ(open_postgres(server.options(foreign)).error().reason, "store_foreign");

  options.url = "postgres://hive_app:secret@127.0.0.1:1/" + database;
  const auto away = open_postgres(options);
  EXPECT_EQ(away.error().code, errc::unavailable);
  EXPECT_EQ(to_string(away.error()).find("secret"), std::string::npos) << "no password in a message";
}

TEST_F(PostgresStore, SeveralNodesMayMigrateAtOnce) {
  std::vector<std::future<result<std::unique_ptr<turn_store>>>> starts;
  for (int i = 0; i < 6; ++i)
    starts.push_back(std::async(std::launch::async, [&] { return open_postgres(server.options(database)); }));
  for (auto& s : starts) {
    const auto store_of_one = s.get();
    EXPECT_TRUE(store_of_one) << to_string(store_of_one.error());
  }
}

// -- the fence

TEST_F(PostgresStore, ABatchWaitsForATakeoverUnderWayAndLosesOnlyThatShard) {
  open_store();
  ASSERT_EQ(write(*store, make->turn(ann), make->turn(bob)).what, batch_result::kind::done);
  ASSERT_NE(make->shard(ann.id), make->shard(bob.id));
  connection takeover({server.url("super", database), "test", 3000ms, true});
  takeover.query("begin");
  takeover.query(
      ("update hive.shard set owner = 99, epoch = epoch + 1 where id = " + std::to_string(make->shard(ann.id).value()))
          .c_str());

  auto late = make->turn(ann);
  auto good = make->turn(bob);
  turn_maker::set_state(*late, "late");
  turn_maker::send(ann, *late, bob.id, "late");
  auto writing = std::async(std::launch::async, [&] { return write(*store, late, good); });
  EXPECT_EQ(writing.wait_for(300ms), std::future_status::timeout) << "it must wait for the takeover's end";
  takeover.query("commit");
  const auto done = writing.get();
  ASSERT_EQ(done.what, batch_result::kind::done) << to_string(done.why);
  EXPECT_THAT(done.outcomes, testing::ElementsAre(turn_outcome::fenced, turn_outcome::committed));
  EXPECT_EQ(loaded(ann).version, 1u);
  EXPECT_EQ(server.run(database, "select count(*) from hive.outbox").number(0, 0), 0);
}

TEST_F(PostgresStore, ATakeoverWaitsForABatchUnderWay) {
  open_store();
  ASSERT_EQ(write(*store, make->turn(ann)).what, batch_result::kind::done);
  connection blocker(
      {server.url("super", database), "test", 3000ms, true}); // holds the batch in the middle, behind its fence
  blocker.query("begin");
  blocker.query("select * from hive.entity for update");
  auto turn = make->turn(ann);
  auto writing = std::async(std::launch::async, [&] { return write(*store, turn); });
  EXPECT_EQ(writing.wait_for(200ms), std::future_status::timeout);
  connection other({server.url("hive_app", database), "test", 3000ms, true});
  auto taking = std::async(std::launch::async, [&] {
    other.query(("update hive.shard set owner = 99, epoch = epoch + 1 where id = " +
                 std::to_string(make->shard(ann.id).value()))
                    .c_str());
  });
  EXPECT_EQ(taking.wait_for(200ms), std::future_status::timeout) << "the batch holds its shards";
  blocker.query("commit");
  EXPECT_THAT(writing.get().outcomes, testing::ElementsAre(turn_outcome::committed));
  taking.get();
  EXPECT_EQ(loaded(ann).version, 2u) << "the new owner loads what was committed before it";
}

TEST_F(PostgresStore, TwoNodesFightForShardsAndNoEntityGetsTwoHistories) {
  open_store();
  // Each node claims everything, now and then, and writes as fast as it can on what it believes. Every committed turn
  // appends the version it makes to the entity's log: a second history would repeat or skip a number.
  constexpr int actors_each = 20;
  std::atomic<std::uint64_t> committed{0};
  std::atomic<std::uint64_t> lost{0};
  const auto node = [&](std::uint64_t seed) {
    auto mine = opened(server.options(database));
    turn_maker maker(*mine);
    random_source chance(seed);
    auto reader = std::move(mine->reader()).value();
    maker.claim_all();
    for (int round = 0; round < 60; ++round) {
      if (chance.one_in(8)) maker.claim_all();
      std::vector<std::unique_ptr<turn_record>> batch;
      for (int i = 0; i < actors_each; ++i) {
        actor a{{tenant_id{3}, static_cast<std::uint64_t>(100 + i)}};
        const auto row = reader->load_entity(context_of(3), a.id);
        if (!row) continue;
        a.version = row->version;
        a.log_tail = row->log_tail;
        auto r = maker.turn(a);
        r->logs.push_back({"ops", row->version, row->log_tail, std::to_string(row->version + 1)});
        r->log_tail = r->position;
        batch.push_back(std::move(r));
      }
      const auto done = write(*mine, batch);
      ASSERT_EQ(done.what, batch_result::kind::done) << to_string(done.why);
      for (const auto o : done.outcomes) (o == turn_outcome::committed ? committed : lost)++;
    }
  };
  std::thread one([&] { node(1); });
  std::thread two([&] { node(2); });
  one.join();
  two.join();
  EXPECT_GT(committed, 100u);
  EXPECT_GT(lost, 10u) << "they never met: the test shows nothing";
  std::uint64_t versions = 0;
  auto reader = std::move(store->reader()).value();
  for (int i = 0; i < actors_each; ++i) {
    const entity_id id{tenant_id{3}, static_cast<std::uint64_t>(100 + i)};
    const auto row = reader->load_entity(context_of(3), id);
    versions += row->version;
    const auto ops = reader->read_log(context_of(3), id, "ops", row->log_tail, 0, 100'000);
    ASSERT_TRUE(ops);
    ASSERT_EQ(ops->size(), row->version);
    for (std::size_t n = 0; n < ops->size(); ++n) ASSERT_EQ((*ops)[n], std::to_string(n + 1));
  }
  EXPECT_EQ(versions, committed);
}

// -- commits whose end is not known

class PostgresOrphan : public PostgresStore {
protected:
  void SetUp() override {
    PostgresStore::SetUp();
    auto options = server.options(database);
    options.url = postgres_server::url_at("127.0.0.1:" + std::to_string(proxy.port()), "hive_app", database);
    open_store(options);
    auto first = make->turn(ann);
    turn_maker::append(ann, *first, "ops", "0");
    turn_maker::end_appends(ann, *first);
    ASSERT_EQ(write(*store, first).what, batch_result::kind::done);
  }
  /// One turn of ann, one that is stale, one of a shard that another node took.
  void prepare_batch() {
    taken = eve;
    const auto before = make->turn(taken);
    ASSERT_EQ(write(*store, before).what, batch_result::kind::done);
    server.run(database, "update hive.shard set owner = 99, epoch = epoch + 1 where id = " +
                             std::to_string(make->shard(taken.id).value()));
    good = make->turn(ann);
    turn_maker::append(ann, *good, "ops", "1");
    turn_maker::end_appends(ann, *good);
    actor wrong = bob;
    wrong.version = 7;
    stale = make->turn(wrong);
    fenced = make->turn(taken);
    batch = {good.get(), stale.get(), fenced.get()};
  }
  void expect_known(const batch_result& found) {
    ASSERT_EQ(found.what, batch_result::kind::done) << to_string(found.why);
    EXPECT_THAT(found.outcomes,
                testing::ElementsAre(turn_outcome::committed, turn_outcome::stale, turn_outcome::fenced));
    EXPECT_EQ(loaded(ann).version, 2u);
    auto reader = std::move(store->reader()).value();
    EXPECT_THAT(*reader->read_log(context_of(3), ann.id, "ops", ann.log_tail, 0, 10), testing::ElementsAre("0", "1"));
    EXPECT_EQ(
        server.run(database, "select count(*) from hive.journal where tenant_id = 3 and entity = 10").number(0, 0), 2);
    auto next = make->turn(ann);
    EXPECT_THAT(write(*store, next).outcomes, testing::ElementsAre(turn_outcome::committed)) << "and it goes on";
  }
  batch_result found_out() {
    auto found = store->find_out(batch);
    for (int i = 0; i < 100 && found.what == batch_result::kind::unknown; ++i) {
      std::this_thread::sleep_for(50ms);
      found = store->find_out(batch);
    }
    return found;
  }

  cutting_proxy proxy{server.port()};
  actor taken;
  std::unique_ptr<turn_record> good, stale, fenced;
  std::vector<turn_record*> batch;
};

TEST_F(PostgresOrphan, ACommitWhoseAnswerIsLostIsFoundToBeThere) {
  prepare_batch();
  proxy.arm(cut::after_commit);
  EXPECT_EQ(store->write(batch).what, batch_result::kind::unknown);
  EXPECT_TRUE(proxy.fired());
  expect_known(found_out());
}

TEST_F(PostgresOrphan, ACommitThatNeverArrivedIsWrittenAgain) {
  prepare_batch();
  proxy.arm(cut::before_commit);
  const auto outcome = store->write(batch);
  EXPECT_EQ(outcome.what, batch_result::kind::unknown);
  expect_known(found_out());
}

TEST_F(PostgresOrphan, AHalfSentBatchIsShutOutThoughItsServerProcessLives) {
  prepare_batch();
  proxy.arm(cut::half_sent);
  EXPECT_EQ(store->write(batch).what, batch_result::kind::unknown);
  EXPECT_EQ(server.run(database, "select count(*) from pg_locks l join pg_class c on c.oid = l.relation where "
                                 "c.relname = 'writer' and l.granted")
                    .number(0, 0) > 0,
            true)
      << "the orphan holds its locks";
  expect_known(found_out());
}

TEST_F(PostgresOrphan, AnOrphanThatIsStillWaitingIsWaitedFor) {
  prepare_batch();
  connection blocker({server.url("super", database), "test", 3000ms, true});
  blocker.query("begin");
  blocker.query("select * from hive.entity for update");
  proxy.arm(cut::after_commit);
  EXPECT_EQ(store->write(batch).what, batch_result::kind::unknown);
  auto finding = std::async(std::launch::async, [&] { return found_out(); });
  EXPECT_EQ(finding.wait_for(500ms), std::future_status::timeout) << "the orphan may still commit: nobody knows";
  blocker.query("commit");
  expect_known(finding.get());
}

TEST_F(PostgresOrphan, TheRightsOfTheOldSessionAreGone) {
  prepare_batch();
  // The statement of an orphan that had not even begun when the node asked: its session is not the writer's any more.
  server.run(
      database,
      "update hive.writer set session = session + 1 where generation = (select max(generation) from hive.writer)");
  const auto outcome = store->write(batch);
  EXPECT_EQ(outcome.what, batch_result::kind::unavailable) << "nothing is written under an old session";
  EXPECT_EQ(loaded(ann).version, 1u);
  EXPECT_EQ(store->write(batch).what, batch_result::kind::done) << "under its new session it is";
}

TEST_F(PostgresOrphan, ABatchThatOnlyLooksIsSimplyAskedAgain) {
  auto look = make->look(ann);
  std::vector<turn_record*> only{look.get()};
  proxy.arm(cut::after_commit);
  EXPECT_EQ(store->write(only).what, batch_result::kind::unavailable);
  EXPECT_THAT(store->write(only).outcomes, testing::ElementsAre(turn_outcome::committed));
}

/// Counts what became of turns, as a node would.
class counting_listener final : public commit_listener {
public:
  void settled(std::vector<settlement>&& batch) override {
    std::lock_guard lock(guard);
    for (auto& s : batch) {
      ++counts[s.what];
      if (s.what == settlement::kind::committed)
        committed[s.record->entity] = std::max(committed[s.record->entity], s.record->base + 1);
      if (s.what == settlement::kind::refused) refused.push_back(s.record->entity);
    }
    total += batch.size();
  }
  void availability(const error* why) override { (why ? away : back)++; }
  void wait_for(std::size_t n) {
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (total < n && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
    ASSERT_GE(total, n);
  }

  std::mutex guard;
  std::map<settlement::kind, std::size_t> counts;
  std::map<entity_id, std::uint64_t> committed;
  std::vector<entity_id> refused;
  std::atomic<std::size_t> total{0};
  std::atomic<int> away{0};
  std::atomic<int> back{0};
};

TEST_F(PostgresOrphan, CutAgainAndAgainTheCommitThreadLosesAndRepeatsNothing) {
  counting_listener listener;
  system_clock_source clock;
  std::vector<actor> actors;
  for (std::uint64_t i = 0; i < 50; ++i) actors.push_back({{tenant_id{3}, 1000 + i}});
  std::size_t submitted = 0;
  {
    commit_thread commits(*store, listener, clock, {.turns = 64}, {});
    for (int round = 0; round < 30; ++round) {
      if (round % 3 == 1)
        proxy.arm(
            std::array{cut::after_commit, cut::before_commit, cut::half_sent}[static_cast<std::size_t>(round / 3) % 3]);
      for (auto& a : actors) {
        auto r = make->turn(a);
        turn_maker::append(a, *r, "ops", std::to_string(r->base));
        turn_maker::end_appends(a, *r);
        commits.submit(std::move(r));
        ++submitted;
      }
      listener.wait_for(submitted);
    }
  }
  EXPECT_EQ(listener.counts[settlement::kind::committed], submitted) << "a broken connection costs time only";
  for (const auto& a : actors) {
    EXPECT_EQ(loaded(a).version, 30u);
    auto reader = std::move(store->reader()).value();
    EXPECT_EQ(reader->read_log(context_of(3), a.id, "ops", a.log_tail, 0, 1000)->size(), 30u);
  }
}

// -- what cannot be stored

TEST_F(PostgresStore, OnlyTheGuiltyTurnOfABatchIsRefused) {
  open_store();
  const std::vector<std::function<void(turn_record&)>> poisons{
      [](turn_record& r) {
        r.audit = {{"action", std::string("nul\0inside", 10), "{}"}};
      },
      [](turn_record& r) {
        r.events = {{"type", "\xC3\x28 is not UTF-8", "{}"}};
      },
      [](turn_record& r) {
        r.outbox = {{r.entity, r.entity, 1, 2, "key:test", std::string("\0", 1), {}, ""}};
        r.sent = 1;
      },
      [](turn_record& r) {
        r.outbox = {{r.entity, {tenant_id{9}, 1}, 1, 2, "key:test", "t", {}, ""}};
        r.sent = 1;
      },
      [](turn_record& r) {
        r.timers = {{at_ms(1), 1, {}, "p", "t", {}}, {at_ms(1), 1, {}, "p", "t", {}}};
      },
  };
  counting_listener listener;
  system_clock_source clock;
  std::vector<actor> actors;
  for (std::uint64_t i = 0; i < 64; ++i) actors.push_back({{tenant_id{3}, 1000 + i}});
  std::size_t submitted = 0;
  {
    commit_thread commits(*store, listener, clock, {}, {});
    for (std::size_t p = 0; p < poisons.size(); ++p) {
      for (std::size_t i = 0; i < actors.size(); ++i) {
        auto r = make->turn(actors[i]);
        turn_maker::set_state(*r, "x");
        if (i == 7 * p + 3) {
          poisons[p](*r);
          --actors[i].version;
        }
        commits.submit(std::move(r));
        ++submitted;
      }
      listener.wait_for(submitted);
    }
  }
  EXPECT_EQ(listener.counts[settlement::kind::refused], poisons.size());
  EXPECT_EQ(listener.counts[settlement::kind::committed], submitted - poisons.size());
  for (std::size_t p = 0; p < poisons.size(); ++p) EXPECT_EQ(listener.refused[p], actors[7 * p + 3].id);
  EXPECT_EQ(listener.away, 0);
}

// -- the server goes and comes

/// A server of its own: the others need theirs.
class PostgresServerFaults : public PostgresStore {
protected:
  PostgresServerFaults() : own(std::make_unique<postgres_server>()) { database = own->new_database(); }
  std::unique_ptr<postgres_server> own;
};

TEST_F(PostgresServerFaults, ARestartLosesNothingAndTheStoreComesBackByItself) {
  open_store(own->options(database));
  counting_listener listener;
  system_clock_source clock;
  std::map<entity_id, std::uint64_t> acknowledged;
  {
    commit_thread commits(*store, listener, clock, {.turns = 256}, {});
    for (const int how : {SIGINT, SIGQUIT, SIGINT, SIGQUIT}) {
      std::atomic<bool> stop{false};
      // Each writer waits for its turn's end and begins anew from what the store holds when that was not a commit.
      std::thread load([&] {
        std::vector<actor> actors;
        for (std::uint64_t i = 0; i < 40; ++i) {
          actors.push_back({{tenant_id{3}, 1000 + i}});
          std::lock_guard lock(listener.guard);
          actors.back().version = listener.committed[actors.back().id];
        }
        std::size_t expected = listener.total;
        while (!stop) {
          for (auto& a : actors) {
            auto r = make->turn(a);
            turn_maker::set_state(*r, std::to_string(r->base + 1));
            commits.submit(std::move(r));
            ++expected;
          }
          listener.wait_for(expected);
          for (auto& a : actors) {
            std::lock_guard lock(listener.guard);
            a.version = listener.committed[a.id];
          }
        }
      });
      std::this_thread::sleep_for(300ms);
      own->stop(how);
      std::this_thread::sleep_for(700ms);
      const auto down = listener.total.load();
      own->start();
      const auto up = std::chrono::steady_clock::now();
      std::size_t committed_before;
      {
        std::lock_guard lock(listener.guard);
        committed_before = listener.counts[settlement::kind::committed];
      }
      const auto committed_now = [&] {
        std::lock_guard lock(listener.guard);
        return listener.counts[settlement::kind::committed];
      };
      while (committed_now() == committed_before && std::chrono::steady_clock::now() < up + 20s)
        std::this_thread::sleep_for(1ms);
      const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - up);
      EXPECT_LT(took, 5s) << "service is back within 5 s of the database";
      std::printf("restart by signal %d: %zu turns settled by then, commits again %lld ms after the server\n", how,
                  down, static_cast<long long>(took.count()));
      std::this_thread::sleep_for(100ms);
      stop = true;
      load.join();
    }
  }
  for (const auto& [id, version] : listener.committed) {
    const auto row = loaded({id});
    EXPECT_EQ(row.version, version) << "acknowledged, and no more than that";
    EXPECT_EQ(row.state, std::to_string(version));
  }
  EXPECT_GT(listener.counts[settlement::kind::committed], 1000u);
}

TEST_F(PostgresServerFaults, AwayMeansUnavailableAtOnceAndReadsSaySo) {
  auto options = own->options(database);
  open_store(options);
  ASSERT_EQ(write(*store, make->turn(ann)).what, batch_result::kind::done);
  auto reader = std::move(store->reader()).value();
  ASSERT_TRUE(reader->load_entity(context_of(3), ann.id));
  own->stop(SIGINT);
  auto turn = make->turn(ann);
  auto first = write(*store, turn); // may notice only now
  EXPECT_TRUE(first.what == batch_result::kind::unavailable || first.what == batch_result::kind::unknown);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) EXPECT_NE(write(*store, turn).what, batch_result::kind::done);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s) << "it does not dial for every batch";
  EXPECT_FALSE(store->probe());
  const auto read = reader->load_entity(context_of(3), ann.id);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, errc::unavailable);
  own->start();
  batch_result done;
  for (int i = 0; i < 100; ++i) {
    std::vector<turn_record*> batch{turn.get()};
    done = first.what == batch_result::kind::unknown ? store->find_out(batch) : store->write(batch);
    if (done.what == batch_result::kind::done) break;
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_THAT(done.outcomes, testing::ElementsAre(turn_outcome::committed));
  EXPECT_TRUE(store->probe());
  auto again = reader->load_entity(context_of(3), ann.id);
  for (int i = 0; i < 40 && !again; ++i) { // readers leave a server alone for 200 ms when it could not be reached
    std::this_thread::sleep_for(50ms);
    again = reader->load_entity(context_of(3), ann.id);
  }
  EXPECT_TRUE(again) << to_string(again.error());
}

TEST_F(PostgresServerFaults, AServerWithoutFsyncIsRefused) {
  own->stop(SIGINT);
  own.reset();
  postgres_server careless(nullptr, "fsync = off");
  database = careless.new_database();
  EXPECT_EQ(open_postgres(careless.options(database)).error().reason, "fsync_off");
}

TEST_F(PostgresServerFaults, APromotedReplicaThatLacksAcknowledgedWorkIsFoundOut) {
  postgres_server replica(own.get());
  auto options = own->options(database);
  EXPECT_EQ(open_postgres(options).error().reason, "no_synchronous_standby");
  EXPECT_EQ(open_postgres(options).error().field, "store.postgres.durability");
  options.durable = durability::local;
  options.url = postgres_server::url_at("127.0.0.1:" + std::to_string(own->port()) +
                                            ",127.0.0.1:" + std::to_string(replica.port()),
                                        "hive_app", database);
  open_store(options);
  ASSERT_EQ(write(*store, make->turn(ann)).what, batch_result::kind::done);
  const auto caught_up = [&] {
    for (int i = 0; i < 200; ++i) {
      if (replica.run(database, "select count(*) from hive.journal").number(0, 0) == 1) return true;
      std::this_thread::sleep_for(50ms);
    }
    return false;
  };
  ASSERT_TRUE(caught_up());
  replica.run("postgres", "alter system set primary_conninfo = ''");
  replica.run("postgres", "select pg_reload_conf()");
  for (int i = 0; i < 200 && own->run("postgres", "select count(*) from pg_stat_replication").number(0, 0) != 0; ++i)
    std::this_thread::sleep_for(50ms);
  const auto epoch_before = make->fence(bob.id);
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(write(*store, make->turn(ann), make->turn(bob)).what,
              batch_result::kind::done); // acknowledged, and on one disk only
  own->stop(SIGQUIT);
  replica.promote();

  auto late = make->turn(ann);
  std::vector<turn_record*> batch{late.get()};
  batch_result outcome = store->write(batch);
  for (int i = 0; i < 100 && outcome.why.reason != "store_lost_commits"; ++i) {
    std::this_thread::sleep_for(50ms);
    outcome = outcome.what == batch_result::kind::unknown ? store->find_out(batch) : store->write(batch);
  }
  EXPECT_EQ(outcome.what, batch_result::kind::unavailable);
  EXPECT_EQ(outcome.why.reason, "store_lost_commits") << to_string(outcome.why);
  EXPECT_NE(outcome.why.message.find("batch 4"), std::string::npos) << outcome.why.message;
  EXPECT_EQ(store->write(batch).why.reason, "store_lost_commits") << "and stays refused";
  EXPECT_FALSE(store->probe());

  // A new generation on the new timeline: higher than anything that the lost time gave away.
  make->claim_all();
  EXPECT_GT(make->fence(bob.id).value() >> 40U, epoch_before.value() >> 40U);
  actor anew = ann;
  anew.version = loaded(ann).version;
  EXPECT_EQ(anew.version, 1u) << "three turns are lost, and were named";
  EXPECT_THAT(write(*store, late).outcomes, testing::ElementsAre(turn_outcome::fenced));
  EXPECT_THAT(write(*store, make->turn(anew)).outcomes, testing::ElementsAre(turn_outcome::committed));
}

TEST_F(PostgresServerFaults, APromotionEndsAGenerationAmongOthersThoughNothingIsLost) {
  postgres_server replica(own.get());
  auto options = own->options(database);
  options.durable = durability::local;
  options.url = postgres_server::url_at("127.0.0.1:" + std::to_string(own->port()) +
                                            ",127.0.0.1:" + std::to_string(replica.port()),
                                        "hive_app", database);
  store = opened(options);
  auto ownership = std::move(open_postgres_ownership(options, 5s)).value();
  node_description what;
  what.name = "node-1";
  const auto joined = ownership->join(what, 60s, {});
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->timeline, ownership->renew(joined->generation, 60s)->timeline);
  ASSERT_TRUE(store->adopt(joined->generation));
  const auto shard = shard_of(ann.id, store->shard_count());
  const auto taken = ownership->change_owners(joined->generation, std::vector<owner_change>{{shard, {}, epoch{0}, joined->generation}});
  ASSERT_TRUE(taken);
  ASSERT_EQ(taken->size(), 1u);
  const auto next = [&] {
    auto r = std::make_unique<turn_record>(context_of(3), ann.id, shard, taken->front().now.fence);
    r->base = ann.version++;
    r->writes = true;
    r->position = store->allot(shard);
    return r;
  };
  ASSERT_EQ(write(*store, next()).what, batch_result::kind::done);

  own->stop(SIGINT); // a server that only starts again is the same one
  own->start();
  auto turn = next();
  std::vector<turn_record*> batch{turn.get()};
  const auto settled = [&] {
    auto outcome = store->write(batch);
    for (int i = 0; i < 200 && outcome.what != batch_result::kind::done && outcome.why.reason != "store_timeline_changed"; ++i) {
      std::this_thread::sleep_for(50ms);
      outcome = outcome.what == batch_result::kind::unknown ? store->find_out(batch) : store->write(batch);
    }
    return outcome;
  };
  EXPECT_THAT(settled().outcomes, testing::ElementsAre(turn_outcome::committed));

  const auto caught_up = [&] {
    return own->run("postgres", "select count(*) from pg_stat_replication where replay_lsn = pg_current_wal_lsn()").number(0, 0) == 1;
  };
  for (int i = 0; i < 400 && !caught_up(); ++i) std::this_thread::sleep_for(50ms);
  ASSERT_TRUE(caught_up());
  own->stop(SIGINT); // nothing is lost
  replica.promote();
  turn = next();
  batch = {turn.get()};
  const auto refused = settled();
  EXPECT_EQ(refused.what, batch_result::kind::unavailable);
  EXPECT_EQ(refused.why.reason, "store_timeline_changed") << to_string(refused.why);
  EXPECT_EQ(store->probe().error().reason, "store_timeline_changed");
  EXPECT_EQ(replica.run(database, "select count(*) from hive.journal").number(0, 0), 2) << "what was refused did not happen";
  EXPECT_NE(ownership->renew(joined->generation, 60s)->timeline, joined->timeline);

  const auto again = ownership->join(what, 60s, joined->generation);
  ASSERT_TRUE(again) << to_string(again.error());
  ASSERT_TRUE(store->adopt(again->generation));
  EXPECT_TRUE(store->probe());
}

TEST_F(PostgresServerFaults, ASynchronousStandbyHoldsWhatWasAcknowledged) {
  auto replica = std::make_unique<postgres_server>(own.get());
  own->run("postgres", "alter system set synchronous_standby_names = '*'");
  own->run("postgres", "select pg_reload_conf()");
  for (int i = 0;
       i < 200 &&
       own->run("postgres", "select count(*) from pg_stat_replication where sync_state = 'sync'").number(0, 0) != 1;
       ++i)
    std::this_thread::sleep_for(50ms);
  auto options = own->options(database);
  options.url = postgres_server::url_at("127.0.0.1:" + std::to_string(own->port()) +
                                            ",127.0.0.1:" + std::to_string(replica->port()),
                                        "hive_app", database);
  open_store(options);
  ASSERT_EQ(write(*store, make->turn(ann)).what, batch_result::kind::done);

  // An administrator cuts the wait for the standby short: the server then says "committed", with a warning. Nobody
  // knows.
  replica->stop(SIGINT);
  auto turn = make->turn(ann);
  std::vector<turn_record*> batch{turn.get()};
  auto writing = std::async(std::launch::async, [&] { return store->write(batch); });
  EXPECT_EQ(writing.wait_for(500ms), std::future_status::timeout) << "without its standby nothing is acknowledged";
  own->run("postgres", "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep' and "
                       "application_name like 'hive commits%'");
  auto outcome = writing.get();
  EXPECT_EQ(outcome.what, batch_result::kind::unknown);
  auto finding = std::async(std::launch::async, [&] {
    auto found = store->find_out(batch);
    while (found.what == batch_result::kind::unknown) {
      std::this_thread::sleep_for(20ms);
      found = store->find_out(batch);
    }
    return found;
  });
  EXPECT_EQ(finding.wait_for(300ms), std::future_status::timeout);
  replica->start();
  EXPECT_THAT(finding.get().outcomes, testing::ElementsAre(turn_outcome::committed));

  for (int i = 0; i < 20; ++i) ASSERT_EQ(write(*store, make->turn(bob)).what, batch_result::kind::done);
  own->stop(SIGQUIT);
  replica->promote();
  replica->run("postgres", "alter system set synchronous_standby_names = ''");
  replica->run("postgres", "select pg_reload_conf()");
  auto next = make->turn(bob);
  batch = {next.get()};
  const auto begin = std::chrono::steady_clock::now();
  outcome = store->write(batch);
  while (outcome.what != batch_result::kind::done && std::chrono::steady_clock::now() < begin + 15s) {
    std::this_thread::sleep_for(20ms);
    outcome = outcome.what == batch_result::kind::unknown ? store->find_out(batch) : store->write(batch);
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  std::printf("promotion of a synchronous replica: commits again after %lld ms\n",
              static_cast<long long>(took.count()));
  EXPECT_THAT(outcome.outcomes, testing::ElementsAre(turn_outcome::committed)) << to_string(outcome.why);
  EXPECT_LT(took, 5s);
  EXPECT_EQ(loaded(ann).version, 2u);
  EXPECT_EQ(loaded(bob).version, 21u);
}

class pgbouncer {
public:
  pgbouncer(const postgres_server& server, const std::string& mode) {
    std::filesystem::permissions(dir_.path(), std::filesystem::perms::all);
    const auto ini = dir_.path() / "pgbouncer.ini";
    std::ofstream(dir_.path() / "users") << "\"hive_app\" \"\"\n";
    std::ofstream(ini) << "[databases]\n* = host=127.0.0.1 port=" << server.port()
                       << "\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = " << port_
                       << "\nunix_socket_dir =\nauth_type = trust\nauth_file = " << (dir_.path() / "users").string()
                       << "\npool_mode = " << mode << "\ndefault_pool_size = 1\nmax_client_conn = 50\n";
    pid_ = start_as_postgres({"/usr/sbin/pgbouncer", ini}, dir_.path() / "log");
  }
  pgbouncer(const pgbouncer&) = delete;
  ~pgbouncer() {
    ::kill(pid_, SIGINT);
    ::waitpid(pid_, nullptr, 0);
  }
  std::string url(const std::string& database) const {
    return postgres_server::url_at("127.0.0.1:" + std::to_string(port_), "hive_app", database);
  }
  std::string log() const {
    std::ifstream file(dir_.path() / "log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

private:
  temp_dir dir_;
  int port_ = free_port();
  pid_t pid_ = -1;
};

TEST_F(PostgresStore, APoolerBeforeTheServerIsRefusedByNameInEveryMode) {
  open_store();
  for (const auto* mode : {"transaction", "session"}) {
    const pgbouncer between(server, mode);
    auto options = server.options(database);
    options.url = between.url(database);
    auto refused = open_postgres(options);
    for (int i = 0; i < 300 && !refused && refused.error().reason == "store_away"; ++i) { // until it listens
      std::this_thread::sleep_for(50ms);
      refused = open_postgres(options);
    }
    ASSERT_FALSE(refused) << mode;
    EXPECT_EQ(refused.error().reason, "store_pooled") << mode << ": " << to_string(refused.error()) << between.log();
    EXPECT_EQ(refused.error().code, errc::failed_precondition);
    EXPECT_EQ(refused.error().field, "store.postgres.url");
  }
}

TEST_F(PostgresStore, ReadsGoThroughPgBouncerInTransactionMode) {
  const pgbouncer bouncer(server, "transaction");
  auto options = server.options(database);
  options.readers_url = bouncer.url(database);
  open_store(options);
  ASSERT_EQ(write(*store, full_turn(*make, ann, "ann"), full_turn(*make, eve, "eve")).what, batch_result::kind::done);
  {
    auto first = std::move(store->reader()).value();
    for (int i = 0; i < 300 && !first->totals(); ++i) std::this_thread::sleep_for(50ms); // until it listens
    ASSERT_TRUE(first->totals()) << "PgBouncer did not start: " << bouncer.log();
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const actor& a = t % 2 == 0 ? ann : eve;
      const auto who = context_of(a.id.tenant().value());
      auto reader = std::move(store->reader()).value();
      for (int i = 0; i < 50; ++i) {
        const auto row = reader->load_entity(who, a.id);
        const auto ops = reader->read_log(who, a.id, "ops", a.log_tail, 0, 10);
        const auto keys = reader->keys(who, a.id, a.last_keyed, 10, at_ms(0));
        if (!row || row->state != std::string("secret of ") + (t % 2 == 0 ? "ann" : "eve") || !ops ||
            ops->size() != 1 || !keys || keys->size() != 1)
          ++wrong;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(server
                .run(database, "select count(*) from pg_stat_activity where application_name = 'hive reader' and "
                               "datname = current_database()")
                .number(0, 0),
            1)
      << "four readers, one server connection";
}

TEST_F(PostgresStore, AnUnsafePositionIsNeverAllottedAfterAClaim) {
  open_store();
  auto other = opened(server.options(database));
  turn_maker theirs(*other);
  theirs.claim_all();
  for (int i = 0; i < 5; ++i) {
    make->claim_all();
    const auto mine = store->allot(shard_id{0});
    theirs.claim_all();
    EXPECT_GT(other->allot(shard_id{0}), mine);
  }
}

} // namespace
} // namespace hive::test
