// Whole hives in one process, from a seed: see tests/sim/cluster/cluster.hpp. A failure prints the seed that replays it:
//
//   HIVE_SIM_SEED=17 build/release/bin/cluster_sim_test --gtest_filter='*Everything*'     one seed
//   HIVE_SIM_SEEDS=1000 ...                                                               more of them
//
// The named scenarios are the ways in which hives like this one have lost work. Each comes with a defect, planted in the
// store or in a node, that its checks must find.
#include "tests/sim/cluster/cluster.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace hive::sim {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// Every kind of trouble at once.
scenario everything() {
  scenario s;
  s.nodes = 4;
  s.late_nodes = 1;
  s.faults = {.kill = 4, .pause = 4, .cut_pair = 3, .cut_peers = 1, .cut_store = 2, .reset = 1, .stall = 2, .away = 1, .break_all = 2, .drain = 1,
              .restart = 1};
  s.times.break_one_in = 150;
  s.times.lock_step_high = microseconds{60};
  s.drop_one_in = 200;
  s.twice_one_in = 200;
  s.asks.poison = 1;
  s.asks.recreate = 1;
  return s;
}

/// An entity sends to others; its node dies between the delivery and the deletion of the row.
scenario foreign_outbox() {
  scenario s;
  s.name = "foreign outbox and crash";
  s.asks = {.append = 2, .read = 1, .send = 12, .timer = 0, .call = 0};
  s.faults.kill = 1;
  s.faults.every = milliseconds{500};
  s.drop_one_in = 50;
  return s;
}

/// Many turns run ahead on few entities; some are refused, some shards move away in the middle of a batch.
scenario ran_ahead() {
  scenario s;
  s.name = "ran ahead with a fenced neighbour";
  s.asks = {.append = 20, .read = 2, .send = 2, .timer = 0, .call = 0, .poison = 2};
  s.asks.entities = 5;
  s.asks.every = milliseconds{4};
  s.load_to = seconds{9};
  s.faults = {.pause = 2, .drain = 2, .restart = 1};
  return s;
}

scenario poison_row() {
  scenario s;
  s.name = "poison row in a batch";
  s.asks = {.append = 10, .read = 1, .send = 4, .timer = 0, .call = 0, .poison = 2};
  s.asks.every = milliseconds{3};
  s.load_to = seconds{8};
  s.faults.kill = 1;
  s.faults.every = milliseconds{2'000};
  return s;
}

/// A connection breaks, and its statement runs a while later.
scenario orphan_commit() {
  scenario s;
  s.name = "orphan commit";
  s.times.break_one_in = 12;
  s.times.orphan_high = milliseconds{60};
  s.faults.break_all = 1;
  s.faults.every = milliseconds{300};
  return s;
}

/// Batches and takeovers that want the same rows, each row taken by itself.
scenario lock_order() {
  scenario s;
  s.name = "takeover against batch lock order";
  s.shards = 12;
  s.times.lock_step_high = milliseconds{1};
  s.times.commit_high = milliseconds{8};
  s.asks.every = milliseconds{4};
  s.load_to = seconds{10};
  s.faults = {.pause = 4, .reset = 2, .drain = 1};
  s.faults.pause_high = milliseconds{4'500};
  s.cluster.hand_offs = 12;
  s.cluster.moves_per_second = 200;
  return s;
}

/// An asynchronous replica takes over and lacks what was acknowledged last.
scenario store_forgets() {
  scenario s;
  s.name = "store forgets";
  s.asks = {.append = 6, .read = 4, .send = 10, .timer = 1, .call = 0};
  s.asks.every = milliseconds{6};
  s.forgets_at = milliseconds{6'000};
  s.load_to = seconds{11};
  return s;
}

/// A node lives, holds its lease, and all connections to it are refused: its peers agree that it is dead.
scenario reset_socket() {
  scenario s;
  s.name = "reset socket with a live owner reading";
  s.asks = {.append = 10, .read = 20, .send = 1, .timer = 0, .call = 0};
  s.asks.entities = 6;
  s.asks.every = milliseconds{4};
  s.load_to = seconds{11};
  s.faults.reset = 1;
  return s;
}

/// The database is gone for longer than any lease; everybody was well, so nobody may lose a shard.
scenario store_away() {
  scenario s;
  s.name = "store away longer than the lease";
  s.asks.timer = 0;
  s.asks.call = 0;
  s.trouble_from = seconds{4};
  s.faults.away = 1;
  s.faults.every = milliseconds{100};
  s.faults.away_low = milliseconds{4'000};
  s.faults.away_high = milliseconds{8'000};
  s.trouble_to = seconds{11};
  s.owners_stay = true;
  return s;
}

/// Nodes come and drain while turns wait for calls; nothing dies.
scenario hand_off_during_call() {
  scenario s;
  s.name = "hand-off during a model call";
  s.late_nodes = 1;
  s.asks = {.append = 4, .read = 2, .send = 2, .timer = 1, .call = 10};
  s.faults.drain = 1;
  s.faults.every = milliseconds{1'500};
  s.calls_once = true;
  return s;
}

scenario name_again() {
  scenario s;
  s.name = "same name re-created with timers pending";
  s.asks = {.append = 4, .read = 1, .send = 2, .timer = 8, .call = 0, .recreate = 3};
  s.asks.timer_high = milliseconds{3'000};
  s.faults.kill = 1;
  s.faults.every = milliseconds{2'000};
  return s;
}

/// Wall clocks are set wrong, by little and by days, and right again.
scenario wrong_clocks() {
  scenario s;
  s.name = "wrong clocks";
  s.asks.every = milliseconds{5};
  s.faults = {.clock = 1};
  s.faults.every = milliseconds{1'500};
  return s;
}

/// Runs seeds from 1 on; a failure names its seed.
void holds(const scenario& s, std::uint64_t seeds) {
  const auto only = from_environment("HIVE_SIM_SEED", 0);
  for (std::uint64_t seed = only != 0 ? only : 1; seed <= (only != 0 ? only : seeds); ++seed) {
    sim_hive h(seed, s, mutation::none);
    h.time().keep_lines = only != 0 && std::getenv("HIVE_SIM_TRACE") != nullptr;
    const auto wrong = h.run();
    if (h.time().keep_lines)
      for (const auto& line : h.time().lines) std::puts(line.c_str());
    ASSERT_FALSE(wrong) << s.name << ", HIVE_SIM_SEED=" << seed << ": " << *wrong;
    ASSERT_LE(h.counted().served_again, seconds{8}) << s.name << ", HIVE_SIM_SEED=" << seed << ": shards stayed without an owner for long";
    ASSERT_GT(h.counted().ok, 50U) << s.name << ", HIVE_SIM_SEED=" << seed << ": hardly anything was answered";
  }
}

/// @returns the first seed that finds the defect; 0: none within 200.
std::uint64_t found_at(const scenario& s, mutation defect, std::string* how = nullptr) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed)
    if (const auto wrong = sim_hive(seed, s, defect).run()) {
      if (how != nullptr) *how = *wrong;
      return seed;
    }
  return 0;
}

TEST(ClusterSim, EverythingAtOnce) { holds(everything(), from_environment("HIVE_SIM_SEEDS", 100)); }

TEST(ClusterSim, TheSameSeedGivesTheSameTrace) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    std::array<std::uint64_t, 2> traces{};
    for (auto& t : traces) {
      sim_hive h(seed, everything(), mutation::none);
      h.run();
      t = h.time().trace_number();
    }
    EXPECT_EQ(traces[0], traces[1]) << "seed " << seed;
  }
  sim_hive one(1, everything(), mutation::none);
  sim_hive other(2, everything(), mutation::none);
  one.run();
  other.run();
  EXPECT_NE(one.time().trace_number(), other.time().trace_number());
}

/// Many nodes, many shards: nodes die, freeze and are cut off, and the rest takes over.
TEST(ClusterSim, TwoHundredNodes) {
  scenario s;
  s.name = "two hundred nodes";
  s.nodes = 200;
  s.shards = 1'024;
  s.asks.entities = 400;
  s.trouble_to = seconds{8};
  s.load_to = seconds{9};
  s.end = seconds{15};
  s.faults = {.kill = 4, .pause = 3, .cut_pair = 2, .cut_peers = 1};
  s.faults.every = milliseconds{300};
  sim_hive h(from_environment("HIVE_SIM_SEED", 1), s, mutation::none);
  const auto wrong = h.run();
  EXPECT_FALSE(wrong) << *wrong;
  EXPECT_GT(h.counted().ok, 200U);
  EXPECT_GT(h.counted().crashes, 3U);
  std::printf("  %llu events, %llu asks answered, every shard served %lld ms after the trouble\n",
              static_cast<unsigned long long>(h.time().events()), static_cast<unsigned long long>(h.counted().ok),
              static_cast<long long>(h.counted().served_again.count() / 1000));
}

struct named {
  scenario what;
  std::vector<mutation> defects;
  friend void PrintTo(const named& n, std::ostream* out) { *out << n.what.name; }
};

class NamedScenario : public testing::TestWithParam<named> {};

TEST_P(NamedScenario, Holds) { holds(GetParam().what, from_environment("HIVE_SIM_SEEDS", 100) / 10); }

TEST_P(NamedScenario, FindsItsDefects) {
  for (const auto defect : GetParam().defects) {
    std::string how;
    const auto seed = found_at(GetParam().what, defect, &how);
    EXPECT_NE(seed, 0U) << GetParam().what.name << ": mutation " << static_cast<int>(defect) << " was not found";
    if (seed != 0) std::printf("  mutation %d at seed %llu: %s\n", static_cast<int>(defect), static_cast<unsigned long long>(seed), how.c_str());
  }
}

INSTANTIATE_TEST_SUITE_P(Each, NamedScenario,
                         testing::Values(named{everything(), {mutation::no_fence}}, named{foreign_outbox(), {mutation::no_dedup}},
                                         named{ran_ahead(), {mutation::no_base_version}}, named{poison_row(), {mutation::half_of_refused}},
                                         named{orphan_commit(), {mutation::orphan_not_shut_out}},
                                         named{lock_order(), {mutation::unordered_takeover, mutation::weak_lock}},
                                         named{store_forgets(), {mutation::keep_after_forgetting}},
                                         named{reset_socket(), {mutation::reads_without_fence}}, named{store_away(), {mutation::no_grace}},
                                         named{hand_off_during_call(), {mutation::calls_again}}, named{name_again(), {mutation::timers_by_name}},
                                         named{wrong_clocks(), {mutation::any_clock}}));

} // namespace
} // namespace hive::sim
