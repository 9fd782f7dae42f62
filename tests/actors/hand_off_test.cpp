// Shards at many nodes, seen from their entities: links that lose what is on its way, owners that change. (R2, R6, C1)
#include "tests/actors/kit_fixture.hpp"

#include <cstdlib>

namespace hive::actors {
namespace {

/// HIVE_SEEDS asks for more.
std::uint64_t seeds_of_cancels() {
  const char* many = std::getenv("HIVE_SEEDS");
  return many ? std::stoull(many) : 60;
}

class HandOffTest : public KitTest {
protected:
  static json numbers(const std::string& by, int from, int to) {
    json ops = json::array();
    for (int i = from; i < to; ++i) ops.push_back(by + "-" + std::to_string(i));
    return ops;
  }
  /// Of one sender, in order.
  static json of(const json& ops, const std::string& by) {
    json mine = json::array();
    for (const auto& op : ops)
      if (op.get<std::string>().starts_with(by + "-")) mine.push_back(op);
    return mine;
  }
};

TEST_F(HandOffTest, SendsOverLinksThatLoseArriveOnceAndInOrder) {
  for (seed_ = 1; seed_ <= 40; ++seed_) {
    auto kit = make();
    kit->add_agent("l", "ledger");
    for (const std::string p : {"a", "b", "c"}) kit->add_agent(p, "puppet");
    kit->scatter(15);
    for (int round = 0; round < 5; ++round)
      for (const std::string p : {"a", "b", "c"}) {
        ASSERT_TRUE(kit->ask_until_answered(p, "send", {{"to", "l"}, {"ops", numbers(p, round * 20, round * 20 + 20)}}, p + std::to_string(round)));
        if (round % 2 == 0) kit->advance(std::chrono::milliseconds{300});
      }
    kit->settle();
    const auto ops = ops_of(*kit, "l");
    EXPECT_EQ(ops.size(), 300U) << "seed " << seed_;
    for (const std::string p : {"a", "b", "c"}) EXPECT_EQ(of(ops, p), numbers(p, 0, 100)) << "seed " << seed_;
  }
}

TEST_F(HandOffTest, WhatWaitsInAMailboxIsThereOnceHoweverOftenItIsSent) {
  for (const std::uint64_t lost_in : {0U, 20U}) {
    auto kit = make();
    kit->add_agent("l", "stepper");
    for (const std::string p : {"a", "b"}) kit->add_agent(p, "puppet");
    kit->scatter(0);
    std::vector<result<json>> heard;
    kit->ask_later("l", "work", {{"op", "long"}, {"ms", 600'000}}, heard, "long");
    const auto pass = [&](int seconds) {
      for (int i = 0; i < seconds; ++i) kit->advance(std::chrono::seconds{1});
    };
    pass(1);
    kit->scatter(lost_in);
    for (const std::string p : {"a", "b"})
      ASSERT_TRUE(kit->ask_until_answered(p, "send", {{"to", "l"}, {"type", "work"}, {"ops", numbers(p, 0, 30)}}, p));
    for (int minutes = 1; minutes < 8; ++minutes) {
      pass(60);
      EXPECT_EQ(kit->explain("l")["lanes"]["user"], 60) << "minute " << minutes << ", lost in " << lost_in;
    }
    pass(200);
    kit->settle();
    const auto ops = ops_of(*kit, "l");
    EXPECT_EQ(ops.size(), 61U);
    for (const std::string p : {"a", "b"}) EXPECT_EQ(of(ops, p), numbers(p, 0, 30)) << "lost in " << lost_in;
  }
}

TEST_F(HandOffTest, SendsArriveOnceAndInOrderWhileShardsMove) {
  for (seed_ = 1; seed_ <= 40; ++seed_) {
    auto kit = make();
    kit->add_agent("l", "ledger");
    for (const std::string p : {"a", "b"}) kit->add_agent(p, "puppet");
    kit->scatter(seed_ % 2 == 0 ? 20 : 0);
    random_source chance(seed_);
    for (int round = 0; round < 6; ++round)
      for (const std::string p : {"a", "b"}) {
        std::vector<result<json>> heard;
        const std::string key = p + std::to_string(round);
        kit->ask_later(p, "send", {{"to", "l"}, {"ops", numbers(p, round * 10, round * 10 + 10)}}, heard, key);
        if (chance.one_in(2)) kit->move(chance.one_in(2) ? "l" : p); // with the ask still on its way
        ASSERT_TRUE(kit->ask_until_answered(p, "send", {{"to", "l"}, {"ops", numbers(p, round * 10, round * 10 + 10)}}, key)) << "seed " << seed_;
        if (chance.one_in(2)) kit->move(chance.one_in(2) ? "l" : p);
      }
    kit->settle();
    const auto ops = ops_of(*kit, "l");
    EXPECT_EQ(ops.size(), 120U) << "seed " << seed_;
    for (const std::string p : {"a", "b"}) EXPECT_EQ(of(ops, p), numbers(p, 0, 60)) << "seed " << seed_;
  }
}

TEST_F(HandOffTest, AskBetweenAgentsIsAnsweredWhereverTheyGo) {
  for (seed_ = 1; seed_ <= 40; ++seed_) {
    auto kit = make();
    kit->add_agent("l", "ledger");
    kit->add_agent("p", "puppet");
    kit->scatter(seed_ % 3 == 0 ? 10 : 0);
    random_source chance(seed_);
    for (int i = 0; i < 8; ++i) {
      const json body{{"to", "l"}, {"type", "append"}, {"body", {{"op", std::to_string(i)}}}};
      const std::string key = "k" + std::to_string(i);
      std::vector<result<json>> heard;
      kit->ask_later("p", "ask", body, heard, key);
      kit->move(chance.one_in(2) ? "l" : "p");
      const auto r = kit->ask_until_answered("p", "ask", body, key);
      ASSERT_TRUE(r) << "seed " << seed_;
      EXPECT_EQ(r->value("count", 0), i + 1) << "seed " << seed_ << " " << r->dump();
    }
    kit->settle();
    EXPECT_EQ(ops_of(*kit, "l").size(), 8U) << "seed " << seed_;
  }
}

TEST_F(HandOffTest, StepsAndSleepsGoOnAtTheNewOwner) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  std::vector<result<json>> heard;
  kit->ask_later("p", "run", {{"then_sleep", 5000}}, heard, "k");
  kit->advance(std::chrono::seconds{1});
  EXPECT_EQ(runs_, 1);
  kit->move("p");
  const auto r = kit->ask_until_answered("p", "run", {{"then_sleep", 5000}}, "k");
  ASSERT_TRUE(r);
  EXPECT_EQ(runs_, 1) << "the step's result was on disk";
}

TEST_F(HandOffTest, CrashedChildOfASupervisorThatMovesIsRestarted) {
  for (seed_ = 1; seed_ <= 20; ++seed_) {
    auto kit = make();
    kit->add_supervisor("s", {{"strategy", "one_for_all"}, {"intensity", 100}});
    kit->add_agent("a", "ledger", json::object(), "s");
    kit->add_agent("b", "ledger", json::object(), "s");
    kit->scatter(0);
    (void)kit->ask("a", "append", {{"op", "1"}});
    (void)kit->ask("b", "append", {{"op", "2"}});
    std::vector<result<json>> heard;
    kit->ask_later("a", "crash", nullptr, heard, "");
    kit->move("a");
    kit->move("b");
    kit->settle();
    EXPECT_TRUE(kit->ask_until_answered("a", "append", {{"op", "3"}}, "k3")) << "seed " << seed_;
    EXPECT_TRUE(kit->ask_until_answered("b", "append", {{"op", "4"}}, "k4")) << "seed " << seed_;
  }
}

TEST_F(HandOffTest, TasksEndOnceWhileQueueAndAgentsMove) {
  for (seed_ = 1; seed_ <= 20; ++seed_) {
    auto kit = make();
    kit->add_agent("l", "ledger");
    kit->scatter(seed_ % 2 == 0 ? 12 : 0);
    std::vector<std::string> ids;
    for (int i = 0; i < 10; ++i) {
      const auto made = kit->submit_task({{"agent", "l"}, {"type", "append"}, {"payload", {{"op", std::to_string(i)}}}});
      ASSERT_TRUE(made);
      ids.push_back(made->at("id"));
      if (i % 3 == 2) kit->move("l");
    }
    kit->settle();
    for (const auto& id : ids) EXPECT_EQ(kit->read_task(id)->at("state"), "succeeded") << "seed " << seed_;
    EXPECT_EQ(ops_of(*kit, "l").size(), 10U) << "seed " << seed_;
  }
}

/// Attempts and their recalls go by different lanes: what is lost of one overtakes nothing of the other.
TEST_F(HandOffTest, NothingOfATaskTakesEffectAfterItsCancelWhateverLinksLose) {
  std::size_t cancelled = 0;
  for (seed_ = 1; seed_ <= seeds_of_cancels(); ++seed_) {
    auto kit = make();
    kit->add_agent("l", "ledger");
    kit->add_agent("p", "puppet");
    kit->scatter(2 + seed_ % 5);
    random_source chance(seed_);
    std::vector<std::string> ids;
    std::map<std::string, json> done_by_then; // by cancelled task: what the ledger held when its cancel was acknowledged
    for (int i = 0; i < 8; ++i) {
      const json append{{"op", std::to_string(i)}};
      const auto made = chance.one_in(2) ? kit->submit_task({{"agent", "l"}, {"type", "append"}, {"payload", append}})
                                         : kit->submit_task({{"agent", "p"}, {"type", "ask"}, {"payload", {{"to", "l"}, {"type", "append"}, {"body", append}}}});
      ASSERT_TRUE(made);
      ids.push_back(made->at("id"));
    }
    const auto look = [&] {
      for (const auto& id : ids)
        if (!done_by_then.contains(id) && kit->read_task(id)->at("state") == "cancelled") done_by_then[id] = ops_of(*kit, "l");
    };
    for (const auto& id : ids)
      if (chance.one_in(2)) {
        (void)kit->queue("task.cancel", {{"id", id}});
        look();
        if (chance.one_in(2)) kit->advance(std::chrono::milliseconds{chance.below(1'500)});
        if (chance.one_in(4)) kit->move(chance.one_in(2) ? "l" : "p");
        look();
      }
    for (int i = 0; i < 200; ++i) {
      kit->advance(std::chrono::milliseconds{100});
      look();
    }
    kit->settle();
    look();
    const auto ops = ops_of(*kit, "l");
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto op = json(std::to_string(i));
      const auto times = std::count(ops.begin(), ops.end(), op);
      if (const auto then = done_by_then.find(ids[i]); then != done_by_then.end()) {
        ++cancelled;
        EXPECT_EQ(times, std::count(then->second.begin(), then->second.end(), op)) << "seed " << seed_ << ", task " << i;
      } else {
        const auto task = *kit->read_task(ids[i]);
        EXPECT_EQ(task.at("state"), "succeeded") << "seed " << seed_ << ", task " << i;
        // Of the ask that its agent made: its time may have passed, or the cancel come while that agent moved.
        const bool unheard = task.value("result", json::object()).contains("error");
        EXPECT_TRUE(times == 1 || (unheard && times == 0)) << times << " times: seed " << seed_ << ", task " << i << ": " << task.dump();
      }
    }
  }
  EXPECT_GT(cancelled, seeds_of_cancels()) << "most were too late";
}

} // namespace
} // namespace hive::actors
