// Ownership in PostgreSQL: the contract, and how it stands beside commits under way.
#include "tests/persistence/ownership_contract.hpp"

#include "config/base/log.hpp"
#include "tests/persistence/cutting_proxy.hpp"
#include "tests/persistence/postgres_server.hpp"
#include "tests/persistence/turn_maker.hpp"

#include <csignal>
#include <future>

namespace hive::test {
namespace {

class postgres_ownership_home final : public ownership_home {
public:
  postgres_ownership_home() : options_(postgres_server::shared().options(postgres_server::shared().new_database())) {
    if (auto made = open_postgres(options_); !made) throw std::runtime_error(to_string(made.error()));
  }
  result<std::unique_ptr<ownership_store>> open() override { return open_postgres_ownership(options_, 5s); }
  std::uint16_t shard_count() const override { return options_.shard_count; }

private:
  postgres_options options_;
};

INSTANTIATE_TEST_SUITE_P(Postgres, OwnershipContract,
                         testing::Values([] { return std::make_unique<postgres_ownership_home>(); }));

class PostgresOwnership : public testing::Test {
protected:
  void SetUp() override {
    log::open({.file = "/dev/null", .json = true, .minimum = log::level::error});
    options.url = postgres_server::url_at("127.0.0.1:" + std::to_string(proxy.port()), "hive_app", database);
    store = std::move(open_postgres(options)).value();
    options.url = server.url("hive_app", database);
    ownership = std::move(open_postgres_ownership(options, 5s)).value();
    a = join("node-1");
    b = join("node-2");
    ASSERT_TRUE(store->adopt(a));
    take(a, {}, a);
  }
  node_generation join(const std::string& name) {
    node_description what;
    what.name = name;
    return std::move(ownership->join(what, 60s, {})).value().generation;
  }
  /// All shards that are `from`'s.
  std::vector<changed_shard> take(node_generation by, node_generation from, node_generation to) {
    std::vector<owner_change> all;
    for (const auto& s : std::move(ownership->read()).value().shards)
      if (s.owner == from) all.push_back({s.shard, s.owner, s.fence, to});
    auto done = ownership->change_owners(by, all);
    EXPECT_TRUE(done) << to_string(done.error());
    if (!done) return {};
    for (const auto& c : *done) fences[c.now.shard] = c.now.fence;
    if (!done->empty()) first = done->front().first;
    return *done;
  }
  std::unique_ptr<turn_record> turn(turn_store& of, actor& who) {
    const auto shard = shard_of(who.id, of.shard_count());
    auto r = std::make_unique<turn_record>(context_of(3), who.id, shard, fences[shard]);
    r->base = who.version++;
    r->writes = true;
    r->position = of.allot(shard);
    return r;
  }

  postgres_server& server = postgres_server::shared();
  std::string database = server.new_database();
  cutting_proxy proxy{server.port()};
  postgres_options options = server.options(database);
  std::unique_ptr<turn_store> store;
  std::unique_ptr<ownership_store> ownership;
  node_generation a, b;
  std::map<shard_id, epoch> fences;
  journal_position first;
  actor ann{{tenant_id{3}, 10}};
};

TEST_F(PostgresOwnership, TurnsCommitUnderAnAdoptedGenerationUntilTheShardsMove) {
  store->begin_at(first);
  EXPECT_THAT(write(*store, turn(*store, ann)).outcomes, testing::ElementsAre(turn_outcome::committed));
  const auto highest = store->allot(shard_id{0});

  auto second = std::move(open_postgres(options)).value();
  ASSERT_TRUE(second->adopt(b));
  ASSERT_EQ(take(a, a, b).size(), 256u);
  second->begin_at(first);
  EXPECT_GT(second->allot(shard_id{0}), highest) << "positions of the new owner lie above";
  actor zombie = ann;
  EXPECT_THAT(write(*store, turn(*store, zombie)).outcomes, testing::ElementsAre(turn_outcome::fenced));
  EXPECT_THAT(write(*second, turn(*second, ann)).outcomes, testing::ElementsAre(turn_outcome::committed));
}

TEST_F(PostgresOwnership, AFrozenNodesHalfSentBatchDoesNotHoldUpATakeover) {
  auto stuck = turn(*store, ann);
  proxy.arm(cut::half_sent);
  EXPECT_EQ(write(*store, stuck).what, batch_result::kind::unknown); // and it never asks again: it is frozen
  ASSERT_TRUE(ownership->declare_dead(a, 1, true, "frozen"));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(take(b, a, b).size(), 256u);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 4s);
  auto second = std::move(open_postgres(options)).value();
  ASSERT_TRUE(second->adopt(b));
  second->begin_at(first);
  actor anew{ann.id};
  EXPECT_THAT(write(*second, turn(*second, anew)).outcomes, testing::ElementsAre(turn_outcome::committed));
  std::vector<turn_record*> batch{stuck.get()};
  auto found = store->find_out(batch); // it wakes
  for (int i = 0; i < 100 && found.what == batch_result::kind::unknown; ++i) found = store->find_out(batch);
  EXPECT_THAT(found.outcomes, testing::ElementsAre(turn_outcome::fenced));
}

TEST_F(PostgresOwnership, ATakeoverWaitsForACommitThatIsReallyUnderWay) {
  persistence::postgres::connection blocker({server.url("super", database), "test", 3000ms, true});
  ASSERT_EQ(write(*store, turn(*store, ann)).what, batch_result::kind::done);
  blocker.query("begin");
  blocker.query("select * from hive.entity for update");
  auto slow = turn(*store, ann);
  auto writing = std::async(std::launch::async, [&] { return write(*store, slow); });
  EXPECT_EQ(writing.wait_for(200ms), std::future_status::timeout);
  ASSERT_TRUE(ownership->declare_dead(a, 1, true, "slow"));
  auto taking = std::async(std::launch::async, [&] { return take(b, a, b).size(); });
  EXPECT_EQ(taking.wait_for(1500ms), std::future_status::timeout)
      << "it does not end a commit that waits for something else than its client";
  blocker.query("commit");
  EXPECT_THAT(writing.get().outcomes, testing::ElementsAre(turn_outcome::committed));
  EXPECT_EQ(taking.get(), 256u);
}

TEST_F(PostgresOwnership, AwayIsUnavailableAndBackByItself) {
  options.url = postgres_server::url_at("127.0.0.1:" + std::to_string(proxy.port()), "hive_app", database);
  auto through = std::move(open_postgres_ownership(options, 1s)).value();
  ASSERT_TRUE(through->renew(a, 60s));
  proxy.refuse(true);
  const auto gone = through->renew(a, 60s);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, errc::unavailable);
  EXPECT_FALSE(through->read());
  proxy.refuse(false);
  EXPECT_TRUE(through->renew(a, 60s));
  EXPECT_EQ(through->read()->shards.size(), 256u);
}

TEST(PostgresOwnershipDurability, WithoutItsStandbyLeasesGoOnWhereCommitsDo) {
  log::open({.file = "/dev/null", .json = true, .minimum = log::level::error});
  postgres_server server;
  auto options = server.options(server.new_database());
  ASSERT_TRUE(open_postgres(options));
  server.run("postgres", "alter system set synchronous_standby_names = 'nobody'");
  server.run("postgres", "select pg_reload_conf()");
  for (int i = 0; i < 100 && server.run("postgres", "select current_setting('synchronous_standby_names')").text(0, 0).empty(); ++i) std::this_thread::sleep_for(20ms);
  node_description what;
  what.name = "node-1";

  options.durable = durability::local;
  const auto here = std::move(open_postgres_ownership(options, 1s)).value();
  const auto joined = here->join(what, 60s, {});
  ASSERT_TRUE(joined) << to_string(joined.error());
  EXPECT_TRUE(here->renew(joined->generation, 60s));

  options.durable = durability::replicated;
  const auto both = std::move(open_postgres_ownership(options, 1s)).value();
  EXPECT_EQ(both->renew(joined->generation, 60s).error().code, errc::unavailable) << "one that a failover would forget is none";
}

TEST_F(PostgresOwnership, TheNextGenerationOfACopyIsAnotherOne) {
  const auto copy = server.new_database();
  ASSERT_TRUE(open_postgres(server.options(copy)));
  server.run(copy, "update hive.cluster set last_generation = " + std::to_string(b.value()));
  auto there = std::move(open_postgres_ownership(server.options(copy), 5s)).value();
  node_description what;
  what.name = "node-3";
  const auto c = join("node-3");
  const auto d = there->join(what, 60s, {});
  ASSERT_TRUE(d);
  EXPECT_GT(c, b);
  EXPECT_GT(d->generation, b);
  EXPECT_NE(c, d->generation);
  EXPECT_EQ(c.value() >> 40U, d->generation.value() >> 40U) << "of the same timeline";
}

TEST_F(PostgresOwnership, CountsOfForgottenNodesStay) {
  store->begin_at(first);
  ASSERT_EQ(write(*store, turn(*store, ann)).what, batch_result::kind::done);
  take(a, a, b);
  ASSERT_TRUE(ownership->declare_dead(a, 1, true, "gone"));
  EXPECT_EQ(*ownership->forget(0ms), 1u);
  auto reader = std::move(store->reader()).value();
  EXPECT_EQ(reader->totals()->entities, 1u);
}

} // namespace
} // namespace hive::test
