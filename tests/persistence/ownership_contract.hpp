/// @file
/// What every ownership store does, whatever it is made of. Leases are short and real: the clock is the store's.
#pragma once

#include "persistence/ownership_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <thread>

namespace hive::test {

using namespace persistence;
using namespace std::chrono_literals;

class ownership_home {
public:
  virtual ~ownership_home() = default;
  /// Another node's view of the same data.
  virtual result<std::unique_ptr<ownership_store>> open() = 0;
  virtual std::uint16_t shard_count() const = 0;
};
using ownership_factory = std::function<std::unique_ptr<ownership_home>()>;

class OwnershipContract : public testing::TestWithParam<ownership_factory> {
protected:
  void SetUp() override {
    home = GetParam()();
    store = another();
  }
  std::unique_ptr<ownership_store> another() { return std::move(home->open()).value(); }
  static node_description called(const std::string& name) {
    return {.name = name,
            .link = "127.0.0.1:7072",
            .http = "127.0.0.1:7070",
            .pool = "default",
            .zone = "z1",
            .version = "0.1.0",
            .capacity = 100};
  }
  node_generation joined(const std::string& name, std::chrono::milliseconds ttl = 60s) {
    auto row = store->join(called(name), ttl, {});
    if (!row) throw std::runtime_error(to_string(row.error()));
    EXPECT_TRUE(store->change_state(row->generation, node_state::joining, node_state::active));
    return row->generation;
  }
  ownership_view view() { return std::move(store->read()).value(); }
  node_row row_of(node_generation g) {
    for (const auto& n : view().nodes)
      if (n.generation == g) return n;
    throw std::runtime_error("no such generation");
  }
  shard_row shard(std::uint16_t number) { return view().shards.at(number); }
  /// One shard from whoever has it now.
  std::vector<changed_shard> move(node_generation by, std::uint16_t number, node_generation to) {
    const auto now = shard(number);
    const std::vector<owner_change> one{{now.shard, now.owner, now.fence, to}};
    auto done = store->change_owners(by, one);
    EXPECT_TRUE(done) << to_string(done.error());
    return done ? *done : std::vector<changed_shard>{};
  }

  std::unique_ptr<ownership_home> home;
  std::unique_ptr<ownership_store> store;
};

// -- lives of nodes

TEST_P(OwnershipContract, AFreshStoreHasItsShardsAndNobody) {
  const auto v = view();
  EXPECT_TRUE(v.nodes.empty());
  ASSERT_EQ(v.shards.size(), home->shard_count());
  for (std::size_t i = 0; i < v.shards.size(); ++i) {
    EXPECT_EQ(v.shards[i].shard.value(), i);
    EXPECT_EQ(v.shards[i].owner, node_generation{});
  }
  EXPECT_EQ(v.grace_left, 0ms);
}

TEST_P(OwnershipContract, AJoinedNodeIsSeenByOthersWithAllThatItSaid) {
  auto what = called("node-1");
  what.capacity = 250;
  const auto made = store->join(what, 5s, {});
  ASSERT_TRUE(made);
  const auto seen = std::move(another()->read()).value();
  ASSERT_EQ(seen.nodes.size(), 1u);
  const node_row& n = seen.nodes[0];
  EXPECT_EQ(n.generation, made->generation);
  EXPECT_EQ(n.what.name, "node-1");
  EXPECT_EQ(n.what.link, what.link);
  EXPECT_EQ(n.what.http, what.http);
  EXPECT_EQ(n.what.pool, "default");
  EXPECT_EQ(n.what.zone, "z1");
  EXPECT_EQ(n.what.version, "0.1.0");
  EXPECT_EQ(n.what.capacity, 250u);
  EXPECT_EQ(n.state, node_state::joining);
  EXPECT_EQ(n.renewal, 1u);
  EXPECT_GT(n.lease_left, 1s);
  EXPECT_LE(n.lease_left, 5s);
}

TEST_P(OwnershipContract, OneLiveGenerationOfANameAndGenerationsNeverReturn) {
  std::set<node_generation> seen;
  const auto first = joined("node-1");
  seen.insert(first);
  const auto taken = store->join(called("node-1"), 5s, {});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, errc::already_exists);
  EXPECT_EQ(taken.error().reason, "node_name_taken");
  EXPECT_GT(taken.error().retry_after, 0ms);
  EXPECT_FALSE(store->join(called("node-1"), 5s, node_generation{first.value() + 1})) << "that was not its last life";
  EXPECT_TRUE(is_live(row_of(first).state));
  EXPECT_THAT(row_of(first).reason, testing::HasSubstr("asks for this node's name")) << "it hears of the other one";

  node_generation former = first;
  for (int i = 0; i < 5; ++i) { // it proves that its former life is over
    const auto next = store->join(called("node-1"), 60s, former);
    ASSERT_TRUE(next) << to_string(next.error());
    EXPECT_TRUE(seen.insert(next->generation).second);
    EXPECT_GT(next->generation, former);
    EXPECT_EQ(row_of(former).state, node_state::dead);
    former = next->generation;
  }
  const auto short_life = store->join(called("node-2"), 100ms, {});
  ASSERT_TRUE(short_life);
  std::this_thread::sleep_for(150ms);
  EXPECT_TRUE(store->join(called("node-2"), 5s, {})) << "the lease of the other one has ended";
  EXPECT_EQ(row_of(short_life->generation).state, node_state::dead);
}

TEST_P(OwnershipContract, BadDescriptionsAreRefusedByField) {
  EXPECT_EQ(store->join(called(""), 5s, {}).error().field, "cluster.node");
  EXPECT_EQ(store->join(called(std::string("a\0b", 3)), 5s, {}).error().field, "cluster.node");
  auto none = called("n");
  none.capacity = 0;
  EXPECT_EQ(store->join(none, 5s, {}).error().field, "cluster.capacity");
  EXPECT_EQ(store->join(called("n"), 1ms, {}).error().field, "cluster.lease");
  EXPECT_TRUE(view().nodes.empty());
}

TEST_P(OwnershipContract, RenewalsAreCountedAndLeaveTheViewsVersion) {
  const auto g = joined("node-1", 1s);
  const auto version = view().version;
  for (std::uint64_t i = 2; i < 6; ++i) {
    const auto lease = store->renew(g, 10s);
    ASSERT_TRUE(lease);
    EXPECT_EQ(lease->renewal, i);
    EXPECT_EQ(lease->version, version);
    EXPECT_EQ(lease->grace_left, 0ms);
    EXPECT_EQ(lease->timeline, view().timeline);
  }
  EXPECT_GT(row_of(g).lease_left, 5s);
  EXPECT_EQ(store->renew(node_generation{g.value() + 9}, 5s).error().code, errc::fenced);
}

TEST_P(OwnershipContract, ItTellsTheTimeByItself) {
  const auto now = [] { return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now()); };
  const auto g = joined("node-1");
  const auto begin = now();
  const auto told = store->clock();
  ASSERT_TRUE(told);
  const auto lease = store->renew(g, 10s);
  ASSERT_TRUE(lease);
  EXPECT_GE(*told, begin - 1ms);
  EXPECT_GE(lease->now, *told);
  EXPECT_LE(lease->now, now() + 1ms);
}

TEST_P(OwnershipContract, StatesFollowOneAnotherAndEndsAreFinal) {
  const auto made = store->join(called("node-1"), 60s, {});
  const auto g = made->generation;
  EXPECT_EQ(store->change_state(g, node_state::joining, node_state::dead).error().code, errc::invalid_argument);
  EXPECT_EQ(store->change_state(g, node_state::joining, node_state::draining).error().code, errc::invalid_argument);
  EXPECT_EQ(store->change_state(g, node_state::active, node_state::draining).error().code, errc::conflict);
  auto version = view().version;
  EXPECT_TRUE(store->change_state(g, node_state::joining, node_state::active));
  EXPECT_GT(view().version, version);
  EXPECT_TRUE(store->change_state(g, node_state::joining, node_state::active)) << "it is so already";
  EXPECT_TRUE(store->change_state(g, node_state::active, node_state::draining));
  EXPECT_TRUE(store->change_state(g, node_state::draining, node_state::active));
  ASSERT_EQ(move(g, 3, g).size(), 1u);
  EXPECT_EQ(store->change_state(g, node_state::active, node_state::left).error().reason, "still_owner");
  const auto other = joined("node-2");
  ASSERT_EQ(move(g, 3, other).size(), 1u);
  EXPECT_TRUE(store->change_state(g, node_state::active, node_state::left));
  EXPECT_EQ(store->renew(g, 5s).error().code, errc::fenced);
  EXPECT_EQ(store->change_state(g, node_state::left, node_state::active).error().code, errc::invalid_argument);
  EXPECT_EQ(store->change_state(g, node_state::active, node_state::draining).error().code, errc::fenced);
  EXPECT_TRUE(store->join(called("node-1"), 5s, {})) << "who left may come back at once";
}

TEST_P(OwnershipContract, DeathIsByLeaseOrByAgreementAndNamesTheRenewal) {
  const auto g = joined("node-1", 60s);
  const auto early = store->declare_dead(g, 1, false, "silent");
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().reason, "lease_holds");
  EXPECT_GT(early.error().retry_after, 1s);
  ASSERT_TRUE(store->renew(g, 60s));
  EXPECT_EQ(store->declare_dead(g, 1, true, "all peers agree").error().code, errc::conflict)
      << "it renewed since they saw it";
  EXPECT_TRUE(store->declare_dead(g, 2, true, "all peers agree"));
  EXPECT_EQ(row_of(g).state, node_state::dead);
  EXPECT_EQ(row_of(g).reason, "all peers agree");
  EXPECT_TRUE(store->declare_dead(g, 1, false, "again")) << "it is dead already";
  EXPECT_EQ(row_of(g).reason, "all peers agree");
  EXPECT_EQ(store->renew(g, 60s).error().code, errc::fenced);
  EXPECT_THAT(store->renew(g, 60s).error().message, testing::HasSubstr("all peers agree"));
  EXPECT_EQ(store->declare_dead(node_generation{1}, 1, true, "").error().code, errc::not_found);

  const auto late = joined("node-2", 100ms);
  std::this_thread::sleep_for(150ms);
  EXPECT_LE(row_of(late).lease_left, 0ms);
  EXPECT_TRUE(store->declare_dead(late, 1, false, "lease ended"));
}

TEST_P(OwnershipContract, ALateRenewalIsGoodAsLongAsNobodyDeclaredDeath) {
  const auto other = joined("node-2");
  const auto g = joined("node-1", 100ms);
  std::this_thread::sleep_for(150ms);
  EXPECT_TRUE(store->renew(g, 5s));
  EXPECT_EQ(store->declare_dead(g, 1, false, "too late").error().code, errc::conflict);
  EXPECT_TRUE(is_live(row_of(g).state));
  EXPECT_TRUE(is_live(row_of(other).state));
}

// -- owners

TEST_P(OwnershipContract, AClaimIsACompareAndSet) {
  const auto a = joined("node-1");
  const auto b = joined("node-2");
  const auto before = shard(5);
  const std::vector<owner_change> want_a{{before.shard, before.owner, before.fence, a}};
  const std::vector<owner_change> want_b{{before.shard, before.owner, before.fence, b}};
  const auto version = view().version;
  const auto got = store->change_owners(a, want_a);
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 1u);
  EXPECT_EQ((*got)[0].now.owner, a);
  EXPECT_GT((*got)[0].now.fence, before.fence);
  EXPECT_GT((*got)[0].first.value(), 0u);
  EXPECT_GT(view().version, version);
  EXPECT_TRUE(store->change_owners(b, want_b)->empty()) << "somebody was faster";
  EXPECT_EQ(shard(5).owner, a);
  EXPECT_TRUE(store->change_owners(a, {})->empty());
}

TEST_P(OwnershipContract, NoTwoOwnersAllotTheSamePositionsAndEachBeginsAboveTheOneBefore) {
  const auto a = joined("node-1");
  const auto b = joined("node-2");
  const auto one = shard(1);
  const auto two = shard(2);
  const auto got = store->change_owners(a, std::vector<owner_change>{{one.shard, one.owner, one.fence, a}, {two.shard, two.owner, two.fence, b}});
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 2u);
  EXPECT_NE((*got)[0].first, (*got)[1].first) << "one block for each new owner";
  const auto given = store->change_owners(a, std::vector<owner_change>{{one.shard, a, (*got)[0].now.fence, b}});
  ASSERT_TRUE(given);
  ASSERT_EQ(given->size(), 1u);
  EXPECT_GT((*given)[0].first, std::max((*got)[0].first, (*got)[1].first));
  const auto fresh = store->fresh_positions(); // of an owner that a read told
  ASSERT_TRUE(fresh);
  EXPECT_GT(*fresh, (*given)[0].first);
  EXPECT_GT(*store->fresh_positions(), *fresh);
}

TEST_P(OwnershipContract, ManyShardsChangeInOneStepAndTheRestSaysSo) {
  const auto a = joined("node-1");
  const auto b = joined("node-2");
  ASSERT_EQ(move(b, 7, b).size(), 1u);
  std::vector<owner_change> all;
  for (const auto& s : view().shards) all.push_back({s.shard, {}, s.fence, a});
  std::reverse(all.begin(), all.end());
  const auto got = store->change_owners(a, all);
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), all.size() - 1) << "all but the one that has an owner";
  for (std::size_t i = 1; i < got->size(); ++i) EXPECT_LT((*got)[i - 1].now.shard, (*got)[i].now.shard);
  EXPECT_EQ(shard(7).owner, b);
}

TEST_P(OwnershipContract, OnlyItsOwnerGivesALiveNodesShardAway) {
  const auto a = joined("node-1");
  const auto b = joined("node-2");
  ASSERT_EQ(move(a, 1, a).size(), 1u);
  EXPECT_TRUE(move(b, 1, b).empty());
  EXPECT_EQ(shard(1).owner, a);
  const auto first = shard(1).fence;
  ASSERT_EQ(move(a, 1, b).size(), 1u) << "a hand-off";
  EXPECT_GT(shard(1).fence, first);
  EXPECT_TRUE(store->declare_dead(b, 1, true, "gone"));
  ASSERT_EQ(move(a, 1, a).size(), 1u) << "a take-over";
}

TEST_P(OwnershipContract, NobodyGivesToOrAsksForTheDead) {
  const auto a = joined("node-1");
  const auto gone = joined("node-2", 100ms);
  std::this_thread::sleep_for(150ms);
  EXPECT_TRUE(move(a, 1, gone).empty()) << "its lease has ended";
  const auto now = shard(1);
  const std::vector<owner_change> one{{now.shard, now.owner, now.fence, gone}};
  EXPECT_EQ(store->change_owners(gone, one).error().code, errc::fenced);
  EXPECT_TRUE(store->declare_dead(gone, 1, false, "lease ended"));
  EXPECT_TRUE(move(a, 1, gone).empty());
  EXPECT_EQ(store->change_owners(gone, one).error().code, errc::fenced);
}

TEST_P(OwnershipContract, AfterAnOutageNobodyTakesOverBeforeTheOwnersCouldComeBack) {
  const auto a = joined("node-1", 200ms);
  const auto b = joined("node-2", 200ms);
  ASSERT_EQ(move(a, 1, a).size(), 1u);
  ASSERT_EQ(move(b, 2, b).size(), 1u);
  std::this_thread::sleep_for(250ms); // the store is out of reach: nobody renews
  const auto lease = store->renew(b, 1s);
  ASSERT_TRUE(lease);
  EXPECT_GT(lease->grace_left, 500ms);
  EXPECT_GT(view().grace_left, 500ms);
  // `b` is the first back, sees `a` silent, and has it declared dead; it still waits.
  ASSERT_TRUE(store->declare_dead(a, 1, false, "lease ended"));
  const auto now = shard(1);
  const std::vector<owner_change> take{{now.shard, now.owner, now.fence, b}};
  const auto refused = store->change_owners(b, take);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "grace");
  EXPECT_GT(refused.error().retry_after, 0ms);
  EXPECT_EQ(move(b, 2, b).size(), 1u) << "its own it may change";
  EXPECT_EQ(move(b, 3, b).size(), 1u) << "and take what nobody had";
  ASSERT_TRUE(store->renew(b, 5s));
  std::this_thread::sleep_for(refused.error().retry_after + 50ms);
  EXPECT_EQ(store->change_owners(b, take)->size(), 1u);
  EXPECT_EQ(store->renew(b, 5s)->grace_left, 0ms) << "no second grace";
}

TEST_P(OwnershipContract, RacingNodesNeverShareAShard) {
  std::vector<node_generation> nodes;
  for (int i = 0; i < 4; ++i) nodes.push_back(joined("node-" + std::to_string(i)));
  std::mutex guard;
  std::map<shard_id, std::vector<epoch>> won;
  std::vector<std::thread> threads;
  for (const auto g : nodes) {
    threads.emplace_back([&, g] {
      auto own = another();
      for (int round = 0; round < 10; ++round) {
        const auto v = std::move(own->read()).value();
        std::vector<owner_change> wants;
        for (const auto& s : v.shards)
          if (s.shard.value() < 16 && (s.owner == node_generation{} || s.owner == g))
            wants.push_back({s.shard, s.owner, s.fence,
                             nodes[(g.value() + s.shard.value() + static_cast<std::uint64_t>(round)) % nodes.size()]});
        const auto got = own->change_owners(g, wants);
        ASSERT_TRUE(got) << to_string(got.error());
        std::lock_guard lock(guard);
        for (const auto& c : *got) won[c.now.shard].push_back(c.now.fence);
      }
    });
  }
  for (auto& t : threads) t.join();
  std::size_t changes = 0;
  for (auto& [id, epochs] : won) {
    changes += epochs.size();
    std::sort(epochs.begin(), epochs.end());
    EXPECT_EQ(std::adjacent_find(epochs.begin(), epochs.end()), epochs.end()) << "one epoch, one owner";
    EXPECT_EQ(shard(id.value()).fence, epochs.back());
  }
  EXPECT_GT(changes, 16u) << "they never met: the test shows nothing";
}

TEST_P(OwnershipContract, TheDeadAreForgottenWhenTheyOwnNothing) {
  const auto a = joined("node-1");
  const auto b = joined("node-2");
  const auto c = joined("node-3");
  ASSERT_EQ(move(b, 1, b).size(), 1u);
  ASSERT_TRUE(store->declare_dead(b, 1, true, "gone"));
  ASSERT_TRUE(store->declare_dead(c, 1, true, "gone"));
  EXPECT_EQ(*store->forget(1h), 0u);
  EXPECT_EQ(*store->forget(0ms), 1u) << "the other one still has a shard";
  ASSERT_EQ(move(a, 1, a).size(), 1u);
  EXPECT_EQ(*store->forget(0ms), 1u);
  EXPECT_EQ(view().nodes.size(), 1u);
  EXPECT_EQ(store->renew(b, 5s).error().code, errc::fenced);
}

} // namespace hive::test
