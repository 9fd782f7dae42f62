// tests/cluster/placement_test.cpp mirrors cluster/placement.hpp
#include "cluster/placement.hpp"

#include "config/base/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace hive::cluster {
namespace {

/// Tables in which everything can be said in a line.
struct PlacementTest : testing::Test {
  tables t;
  std::uint64_t next = 1;

  PlacementTest() { shards(256); }
  void shards(std::uint16_t n) {
    t.shards.clear();
    for (std::uint16_t i = 0; i < n; ++i) t.shards.push_back({shard_id{i}, {}, epoch{0}, {}});
  }
  node_row& node(std::string name, std::uint32_t capacity = 100, std::string zone = "", node_state state = node_state::active) {
    node_row n;
    n.generation = node_generation{next++};
    n.facts.name = std::move(name);
    n.facts.capacity = capacity;
    n.facts.zone = std::move(zone);
    n.state = state;
    n.lease_left = milliseconds{2'000};
    t.nodes.push_back(n);
    return t.nodes.back();
  }
  void nodes(unsigned n) {
    for (unsigned i = 0; i < n; ++i) node("node-" + std::to_string(next));
  }
  std::vector<shard_id> orphans() const {
    std::vector<shard_id> all;
    for (const auto& s : t.shards)
      if (!has_live_owner(t, s)) all.push_back(s.shard);
    return all;
  }
  void obey(const std::vector<shard_placement>& all) {
    for (const auto& p : all) t.shards[p.shard.value()].owner = p.to;
  }
  std::size_t place_all() {
    const auto placed = placement(t, {}).place(orphans());
    obey(placed);
    return placed.size();
  }
  /// Everybody hands off what it should, until nobody should. @returns how many moves that were.
  std::size_t settle() {
    std::size_t moves = 0;
    for (int round = 0; round < 20; ++round) {
      std::vector<shard_placement> all;
      for (const auto& n : t.nodes) {
        const auto some = placement(t, {}).moves(n.generation);
        all.insert(all.end(), some.begin(), some.end());
      }
      if (all.empty()) return moves;
      moves += all.size();
      obey(all);
    }
    ADD_FAILURE() << "it never comes to rest";
    return moves;
  }
  std::map<node_generation, int> loads() const {
    std::map<node_generation, int> l;
    for (const auto& s : t.shards) ++l[s.owner];
    return l;
  }
  void expect_even(double tolerance = 0.2) const {
    const placement p(t, {});
    for (const auto* n : p.nodes()) {
      const double share = p.quota_of(n->generation);
      EXPECT_NEAR(p.load_of(n->generation), share, std::max(1.0, share * tolerance)) << n->facts.name << " of " << p.nodes().size();
    }
  }
};

TEST_F(PlacementTest, EveryShardIsPlacedAndNodesAreEven) {
  for (const unsigned n : {1U, 2U, 3U, 5U, 16U, 100U, 200U}) {
    t.nodes.clear();
    shards(n > 50 ? 1024 : 256);
    nodes(n);
    EXPECT_EQ(place_all(), t.shards.size());
    EXPECT_TRUE(orphans().empty());
    expect_even();
    EXPECT_EQ(settle(), 0U) << "what was just placed does not move";
  }
}

TEST_F(PlacementTest, TheSameTablesGiveTheSamePlaces) {
  nodes(5);
  auto other = t;
  EXPECT_EQ(placement(t, {}).place(orphans()), placement(other, {}).place(orphans()));
}

TEST_F(PlacementTest, CapacityIsShare) {
  node("small", 100);
  node("large", 300);
  place_all();
  EXPECT_EQ(loads()[node_generation{1}], 64);
  EXPECT_EQ(loads()[node_generation{2}], 192);
}

TEST_F(PlacementTest, ScoreFollowsCapacity) {
  int large = 0;
  for (std::uint16_t s = 0; s < 4000; ++s) large += rendezvous_score(shard_id{s}, "large", 300) > rendezvous_score(shard_id{s}, "small", 100) ? 1 : 0;
  EXPECT_NEAR(large, 3000, 120);
}

TEST_F(PlacementTest, OnlyTheShardsOfADeadNodeMove) {
  nodes(5);
  place_all();
  const auto before = t.shards;
  t.nodes[2].state = node_state::dead;
  const auto its = orphans().size();
  EXPECT_EQ(place_all(), its);
  for (std::size_t i = 0; i < before.size(); ++i)
    if (before[i].owner != node_generation{3}) {
      EXPECT_EQ(t.shards[i].owner, before[i].owner);
    }
  expect_even();
  EXPECT_EQ(settle(), 0U);
}

TEST_F(PlacementTest, ANewNodeGetsItsShareAndNothingElseMoves) {
  nodes(4);
  place_all();
  const auto before = t.shards;
  const auto joined = node("node-5").generation;
  const auto moves = settle();
  EXPECT_LE(moves, 256U / 5 + 1) << "no more than its share";
  for (std::size_t i = 0; i < before.size(); ++i)
    if (t.shards[i].owner != before[i].owner) {
      EXPECT_EQ(t.shards[i].owner, joined);
    }
  expect_even();
}

TEST_F(PlacementTest, WithinToleranceNothingMoves) {
  nodes(2);
  place_all();
  int given = 0;
  for (auto& s : t.shards)
    if (s.owner == node_generation{1} && given < 12) {
      s.owner = node_generation{2};
      ++given;
    }
  EXPECT_EQ(settle(), 0U) << "12 of 128 is within ten percent";
  for (auto& s : t.shards)
    if (s.owner == node_generation{1}) {
      s.owner = node_generation{2};
      break;
    }
  EXPECT_GT(settle(), 0U);
}

TEST_F(PlacementTest, RandomHistoriesStayEvenAndMoveLittle) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_source chance(seed);
    t.nodes.clear();
    next = 1;
    shards(static_cast<std::uint16_t>(64 + chance.below(450)));
    for (auto n = 1 + chance.below(5); n > 0; --n) node("node-" + std::to_string(next), static_cast<std::uint32_t>(50 + chance.below(200)));
    place_all();
    for (int step = 0; step < 12; ++step) {
      std::vector<node_row*> active;
      for (auto& n : t.nodes)
        if (n.state == node_state::active) active.push_back(&n);
      std::size_t least = 0; // how many shards have to move
      if (chance.one_in(2) || active.size() == 1) {
        const auto g = node("node-" + std::to_string(next), static_cast<std::uint32_t>(50 + chance.below(200))).generation;
        least = placement(t, {}).quota_of(g);
      } else {
        auto& gone = *active[chance.below(active.size())];
        for (const auto& s : t.shards) least += s.owner == gone.generation ? 1 : 0;
        gone.state = chance.one_in(2) ? node_state::dead : node_state::draining;
      }
      const auto before = t.shards;
      place_all();
      settle();
      std::size_t moved = 0;
      for (std::size_t i = 0; i < before.size(); ++i) moved += before[i].owner != t.shards[i].owner ? 1 : 0;
      // The tolerance lets some unevenness of earlier steps be put right now: never more than that on top.
      EXPECT_LE(moved, least + t.shards.size() / 5 + 2);
      EXPECT_TRUE(orphans().empty());
      expect_even();
      for (auto& n : t.nodes)
        if (n.state == node_state::draining) {
          EXPECT_EQ(loads()[n.generation], 0);
        }
    }
  }
}

TEST_F(PlacementTest, OrphansLeaveTheZoneThatFails) {
  node("a1", 100, "a");
  node("a2", 100, "a");
  node("b1", 100, "b");
  place_all();
  t.nodes[0].state = node_state::dead;
  const auto placed = placement(t, {}).place(orphans());
  std::size_t in_b = 0;
  for (const auto& p : placed) in_b += p.to == node_generation{3} ? 1 : 0;
  EXPECT_GE(in_b, placed.size() / 2) << "as many as there is room for";
  const placement p(t, {});
  for (const auto& s : t.shards)
    if (s.owner == node_generation{1}) {
      EXPECT_EQ(p.preference(s.shard).front()->generation, node_generation{3});
    }
}

TEST_F(PlacementTest, TheMostPreferredGetsTheShard) {
  nodes(3);
  place_all();
  const placement before(t, {});
  std::map<shard_id, node_generation> preferred;
  for (const auto& s : t.shards) preferred[s.shard] = before.preference(s.shard).front()->generation;
  t.nodes[0].state = node_state::dead;
  std::size_t right = 0;
  const auto placed = placement(t, {}).place(orphans());
  for (const auto& p : placed) right += preferred[p.shard] == p.to ? 1 : 0;
  EXPECT_GT(right * 10, placed.size() * 8) << "all but those that there was no room for";
}

TEST_F(PlacementTest, AnotherPoolIsNotLookedAt) {
  nodes(2);
  node("other").facts.pool = "large";
  place_all();
  EXPECT_EQ(loads()[node_generation{3}], 0);
  EXPECT_EQ(placement(t, {"large", 10}).nodes().size(), 1U);
}

TEST_F(PlacementTest, OnlyActiveNodesWithALeaseOwn) {
  nodes(1);
  node("joining", 100, "", node_state::joining);
  node("draining", 100, "", node_state::draining);
  node("lapsed").lease_left = milliseconds{0};
  EXPECT_EQ(placement(t, {}).nodes().size(), 1U);
}

TEST_F(PlacementTest, WhoComesBackGetsBackWhatItHad) {
  nodes(3);
  place_all();
  const auto before = t.shards;
  t.nodes[1].state = node_state::dead;
  auto& back = node("node-2", 100, "", node_state::joining);
  EXPECT_TRUE(placement(t, {}).place(orphans()).empty()) << "it is joining: a moment more";
  back.state = node_state::active;
  const auto its = orphans().size();
  const auto placed = placement(t, {}).place(orphans());
  EXPECT_EQ(placed.size(), its);
  for (const auto& p : placed) EXPECT_EQ(p.to, node_generation{4});
}

TEST_F(PlacementTest, ADrainPlanNamesEveryShardAndFillsRoomOnly) {
  nodes(3);
  place_all();
  const auto plan = drain_plan(t, node_generation{2}, {});
  EXPECT_EQ(plan.size(), static_cast<std::size_t>(loads()[node_generation{2}]));
  for (const auto& p : plan) {
    EXPECT_EQ(p.from, node_generation{2});
    EXPECT_NE(p.to, node_generation{2});
  }
  obey(plan);
  EXPECT_EQ(loads()[node_generation{2}], 0);
  t.nodes[1].state = node_state::draining;
  expect_even();
}

TEST_F(PlacementTest, HotShardsMoveLast) {
  nodes(2);
  place_all();
  std::vector<std::uint64_t> heat(t.shards.size());
  for (std::size_t i = 0; i < heat.size(); i += 3) heat[i] = 1000 + i;
  const auto plan = drain_plan(t, node_generation{1}, {}, heat);
  EXPECT_TRUE(std::is_sorted(plan.begin(), plan.end(), [&](const auto& a, const auto& b) { return heat[a.shard.value()] < heat[b.shard.value()]; }));
}

TEST_F(PlacementTest, DonorsDoNotFillTheSameRoom) {
  nodes(3);
  place_all();
  node("node-4");
  node("node-5");
  std::map<node_generation, std::uint32_t> coming;
  for (const auto& n : t.nodes)
    for (const auto& p : placement(t, {}).moves(n.generation)) ++coming[p.to];
  const placement p(t, {});
  for (const auto& [g, n] : coming) EXPECT_LE(p.load_of(g) + n, p.quota_of(g));
}

} // namespace
} // namespace hive::cluster
