// tests/actors/shard_test.cpp mirrors actors/shard_core.hpp: one entity, its turns, its keys, its mailbox. (R1, R4, R6)
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class ShardTest : public KitTest {};

TEST_F(ShardTest, LedgerCountsWhatIsCommittedAndListsItInOrder) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  for (int i = 1; i <= 5; ++i) EXPECT_EQ(kit->ask("l", "append", {{"op", "op" + std::to_string(i)}})->at("count"), i);
  kit->crash();
  EXPECT_EQ(kit->ask("l", "append", {{"op", "op6"}})->at("count"), 6);
  EXPECT_EQ(ops_of(*kit, "l"), json({"op1", "op2", "op3", "op4", "op5", "op6"}));
}

TEST_F(ShardTest, RepeatOfAKeyGetsTheStoredAnswerAndIsNotAppliedTwice) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  EXPECT_EQ(kit->ask("l", "append", {{"op", "a"}}, "k1")->at("count"), 1);
  EXPECT_EQ(kit->ask("l", "append", {{"op", "b"}}, "k2")->at("count"), 2);
  EXPECT_EQ(kit->ask("l", "append", {{"op", "a"}}, "k1")->at("count"), 1);
  kit->crash(); // the index is gone; the chain in the journal is not
  EXPECT_EQ(kit->ask("l", "append", {{"op", "b"}}, "k2")->at("count"), 2);
  EXPECT_EQ(kit->ask("l", "append", {{"op", "a"}}, "k1")->at("count"), 1);
  EXPECT_EQ(ops_of(*kit, "l"), json({"a", "b"}));
}

// Found by the kill test: the walk of the chain began at a row that was not on disk yet, and found nothing.
TEST_F(ShardTest, OldKeysAreFoundWhileNewerTurnsAreOnTheirWayToTheDisk) {
  for (seed_ = 1; seed_ <= 30; ++seed_) {
    auto kit = make();
    kit->add_agent("p", "puppet");
    ASSERT_TRUE(kit->ask("p", "set", {{"value", "1"}}, "k1"));
    std::vector<result<json>> answers;
    kit->ask_later("p", "sleep", {{"ms", 100}}, answers, "k2");
    kit->run();
    kit->crash(); // the waiting turn goes on by itself, and the index of keys is not there
    answers.clear();
    kit->ask_later("p", "rows", {{"key", "a"}, {"value", "b"}}, answers, "k3");
    kit->advance(std::chrono::milliseconds{100});
    kit->ask_later("p", "rows", {{"key", "a"}, {"value", "b"}}, answers, "k4");
    kit->ask_later("p", "set", {{"value", "1"}}, answers, "k1");
    kit->settle();
    ASSERT_EQ(answers.size(), 3U);
    EXPECT_EQ(kit->ask("p", "get", nullptr)->at("value"), "slept") << "k1 was applied again; seed " << seed_;
  }
}

TEST_F(ShardTest, KeyWithAnotherRequestIsRefused) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  ASSERT_TRUE(kit->ask("l", "append", {{"op", "a"}}, "k1"));
  const auto other = kit->ask("l", "append", {{"op", "b"}}, "k1");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, errc::already_exists);
  EXPECT_EQ(other.error().field, "idempotency_key");
  EXPECT_EQ(ops_of(*kit, "l"), json({"a"}));
}

TEST_F(ShardTest, RepeatsThatComeWhileTheFirstRunsHearItsAnswer) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  std::vector<result<json>> answers;
  for (int i = 0; i < 3; ++i) kit->ask_later("p", "sleep", {{"ms", 100}}, answers, "same");
  kit->run();
  EXPECT_TRUE(answers.empty());
  kit->advance(std::chrono::milliseconds{200});
  ASSERT_EQ(answers.size(), 3U);
  for (const auto& a : answers) EXPECT_EQ(*a, *answers[0]);
}

TEST_F(ShardTest, ManyAsksInFlightAreAnsweredInOrderAndRunAheadOfTheDisk) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  std::vector<result<json>> answers;
  for (int i = 0; i < 500; ++i) kit->ask_later("l", "append", {{"op", std::to_string(i)}}, answers);
  const auto before = kit->commits();
  kit->run();
  ASSERT_EQ(answers.size(), 500U);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(answers[static_cast<std::size_t>(i)]->at("count"), i + 1);
  EXPECT_LT(kit->commits() - before, 250U) << "turns share commits";
}

TEST_F(ShardTest, FullMailboxRejectsWithAHint) {
  config::settings s;
  s.entity.mailbox_messages = 10;
  auto kit = make(s);
  kit->add_agent("p", "puppet");
  std::vector<result<json>> answers;
  kit->ask_later("p", "sleep", {{"ms", 1000}}, answers);
  kit->run();
  for (int i = 0; i < 15; ++i) kit->ask_later("p", "get", nullptr, answers);
  kit->run();
  ASSERT_EQ(answers.size(), 5U);
  EXPECT_EQ(answers[0].error().reason, "mailbox_full");
  EXPECT_GT(answers[0].error().retry_after.count(), 0);
  kit->advance(std::chrono::seconds{2});
  EXPECT_EQ(answers.size(), 16U) << "what was accepted is answered";
}

TEST_F(ShardTest, BadMessageIsTheCallersErrorAndChangesNothing) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  for (const auto& [body, field] : std::vector<std::pair<json, std::string>>{
         {json::object(), "payload.op"}, {{{"op", 3}}, "payload.op"}, {{{"op", "a"}, {"x", 1}}, "payload.x"}, {json("text"), "payload"}}) {
    const auto r = kit->ask("l", "append", body);
    ASSERT_FALSE(r) << body;
    EXPECT_EQ(r.error().code, errc::invalid_argument);
    EXPECT_EQ(r.error().field, field);
  }
  EXPECT_EQ(ops_of(*kit, "l"), json::array());
  EXPECT_EQ(kit->explain("l")["restarts"], 0);
}

TEST_F(ShardTest, ApplicationErrorIsAnAnswerAndTheTurnIsCommitted) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  for (int i = 0; i < 2; ++i) { // the second time from the stored row
    const auto r = kit->ask("p", "fail", nullptr, "k");
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, errc::application);
    EXPECT_EQ(r.error().reason, "said_no");
  }
  EXPECT_EQ(kit->ask("p", "get", nullptr)->at("value"), "failed but kept");
}

TEST_F(ShardTest, RowsSeeWhatTheTurnWroteAndSurviveACrash) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  EXPECT_EQ(*kit->ask("p", "rows", {{"key", "a"}, {"value", "1"}}), json({{"a", "1"}}));
  EXPECT_EQ(*kit->ask("p", "rows", {{"key", "b"}, {"value", "2"}}), json({{"a", "1"}, {"b", "2"}}));
  kit->crash();
  EXPECT_EQ(*kit->ask("p", "rows", {{"key", "c"}, {"value", "3"}}), json({{"a", "1"}, {"b", "2"}, {"c", "3"}}));
}

TEST_F(ShardTest, IdleActivationsAreUnloadedAndComeBackWithTheirState) {
  config::settings s;
  s.passivation.idle = std::chrono::milliseconds{1000};
  auto kit = make(s);
  for (int i = 0; i < 20; ++i) kit->add_agent("l" + std::to_string(i), "ledger");
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(kit->ask("l" + std::to_string(i), "append", {{"op", "a"}}));
  EXPECT_GE(kit->activations(), 20U);
  kit->advance(std::chrono::seconds{5});
  EXPECT_EQ(kit->activations(), 0U);
  EXPECT_EQ(kit->ask("l3", "append", {{"op", "b"}}, "k")->at("count"), 2);
  kit->advance(std::chrono::seconds{5});
  EXPECT_EQ(kit->ask("l3", "append", {{"op", "b"}}, "k")->at("count"), 2) << "the key outlives the activation";
}

TEST_F(ShardTest, AWaitingTurnIsNotUnloaded) {
  config::settings s;
  s.passivation.idle = std::chrono::milliseconds{500};
  auto kit = make(s);
  kit->add_agent("p", "puppet");
  std::vector<result<json>> answers;
  kit->ask_later("p", "sleep", {{"ms", 10'000}}, answers);
  kit->advance(std::chrono::seconds{9});
  EXPECT_GE(kit->activations(), 1U);
  kit->advance(std::chrono::seconds{2});
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0]);
}

TEST_F(ShardTest, DiskFullAnswersUnavailableAndRecoversByItself) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  ASSERT_TRUE(kit->ask("l", "append", {{"op", "a"}}));
  bool full = true;
  kit->refuse_commits([&]() -> std::optional<error> {
    if (full) return error{errc::unavailable, "no_space", "the disk is full"};
    return std::nullopt;
  });
  std::vector<result<json>> answers;
  for (int i = 0; i < 10; ++i) kit->ask_later("l", "append", {{"op", "x"}}, answers);
  for (int i = 0; i < 50 && answers.size() < 10; ++i) kit->advance(std::chrono::milliseconds{50});
  ASSERT_EQ(answers.size(), 10U);
  for (const auto& a : answers) {
    ASSERT_FALSE(a);
    EXPECT_EQ(a.error().code, errc::unavailable);
  }
  full = false;
  kit->advance(std::chrono::seconds{1});
  EXPECT_EQ(kit->ask("l", "append", {{"op", "b"}})->at("count"), 2);
  EXPECT_EQ(ops_of(*kit, "l"), json({"a", "b"}));
}

TEST_F(ShardTest, RefusedTurnHurtsItsOwnCallerOnly) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  kit->add_agent("other", "ledger");
  ASSERT_TRUE(kit->ask("l", "append", {{"op", "a"}}));
  ASSERT_TRUE(kit->ask("other", "append", {{"op", "a"}}));
  // Refuse whole batches a few times: the pipeline halves until single turns are refused.
  int left = 6;
  kit->refuse_commits([&]() -> std::optional<error> {
    if (left-- > 0) return error{errc::internal, "constraint", "refused for a test"};
    return std::nullopt;
  });
  std::vector<result<json>> answers;
  for (int i = 0; i < 40; ++i) kit->ask_later(i % 2 == 0 ? "l" : "other", "append", {{"op", std::to_string(i)}}, answers);
  for (int i = 0; i < 50 && answers.size() < 40; ++i) kit->advance(std::chrono::milliseconds{50});
  ASSERT_EQ(answers.size(), 40U);
  std::size_t good = 0;
  for (const auto& a : answers) good += a ? 1 : 0;
  EXPECT_GT(good, 30U);
  EXPECT_EQ(ops_of(*kit, "l").size() + ops_of(*kit, "other").size(), good + 2) << "exactly what was acknowledged is there";
}

TEST_F(ShardTest, NothingAcknowledgedIsLostWhateverCommitThePowerGoesAfter) {
  crash_at_every_commit(
    [&] {
      auto kit = make();
      kit->add_agent("l", "ledger");
      return kit;
    },
    [](testkit& kit) {
      for (int i = 1; i <= 6; ++i) {
        const auto op = "op" + std::to_string(i);
        EXPECT_EQ(kit.ask_until_answered("l", "append", {{"op", op}}, "key-" + op)->at("count"), i);
      }
    },
    [](testkit& kit) { EXPECT_EQ(ops_of(kit, "l"), json({"op1", "op2", "op3", "op4", "op5", "op6"})); });
}

class BoundsTest : public KitTest {
protected:
  /// Commits that ten asks of one agent take, sent at once.
  std::uint64_t commits_of_ten(const config::settings& s, int agents = 1) {
    auto kit = make(s);
    for (int i = 0; i < agents; ++i) {
      kit->add_agent("l" + std::to_string(i), "ledger");
      (void)kit->ask("l" + std::to_string(i), "append", {{"op", "first"}});
    }
    std::vector<result<json>> answers;
    const auto before = kit->commits();
    for (int i = 0; i < 10; ++i) kit->ask_later("l" + std::to_string(i % agents), "append", {{"op", std::to_string(i)}}, answers);
    kit->settle();
    EXPECT_EQ(answers.size(), 10U);
    for (const auto& a : answers) EXPECT_TRUE(a) << to_string(a.error());
    return kit->commits() - before;
  }
  static constexpr std::uint64_t shards = 64; ///< Of a kit.
  static bool active(testkit& kit, const std::string& agent) { return kit.explain(agent).at("active") == true; }
};

TEST_F(BoundsTest, NoMoreTurnsRunAheadThanMay) {
  config::settings s;
  s.entity.run_ahead_turns = 1;
  EXPECT_EQ(commits_of_ten(s), 10U);
  s.entity.run_ahead_turns = 64;
  EXPECT_LT(commits_of_ten(s), 10U);
}

TEST_F(BoundsTest, NoMoreBytesRunAheadThanMay) {
  config::settings s;
  s.entity.run_ahead_bytes = 1;
  EXPECT_EQ(commits_of_ten(s), 10U);
}

TEST_F(BoundsTest, AllEntitiesTogetherRunAheadNoFurtherThanTheNodeMay) {
  config::settings s;
  s.node.turns_per_slice = 1;
  const auto free = commits_of_ten(s, 10);
  s.node.run_ahead_bytes = 1;
  EXPECT_GT(commits_of_ten(s, 10), free);
}

TEST_F(BoundsTest, AMailboxHoldsNoMoreBytesThanItMay) {
  config::settings s;
  s.entity.mailbox_bytes = 4096;
  auto kit = make(s);
  kit->add_agent("p", "puppet");
  std::vector<result<json>> answers;
  kit->ask_later("p", "sleep", {{"ms", 1000}}, answers);
  kit->run();
  kit->ask_later("p", "set", {{"value", std::string(3000, 'x')}}, answers);
  kit->ask_later("p", "set", {{"value", std::string(3000, 'y')}}, answers);
  kit->run();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].error().reason, "mailbox_full");
  kit->advance(std::chrono::seconds{2});
  EXPECT_EQ(answers.size(), 3U) << "what was accepted is answered";
}

TEST_F(BoundsTest, WhatAnAgentRemembersCountsAndWhoHoldsTooMuchIsUnloaded) {
  config::settings s;
  s.passivation.idle = std::chrono::hours{1};
  s.passivation.bytes = shards * 16 * 1024;
  auto kit = make(s);
  kit->add_agent("keys", "ledger");
  kit->add_agent("state", "puppet");
  kit->add_agent("small", "puppet");
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(kit->ask("keys", "append", {{"op", "x"}}, "k" + std::to_string(i)));
  for (const char* a : {"state", "small"}) ASSERT_TRUE(kit->ask(a, "set", {{"value", "first"}}));
  ASSERT_TRUE(kit->ask("state", "set", {{"value", std::string(100'000, 'x')}}));
  kit->advance(std::chrono::seconds{10});
  EXPECT_FALSE(active(*kit, "keys")) << "its index of keys is beyond the bound";
  EXPECT_FALSE(active(*kit, "state")) << "what it grew to after it was loaded is";
  EXPECT_TRUE(active(*kit, "small"));
  EXPECT_EQ(kit->ask("keys", "append", {{"op", "x"}}, "k7")->at("count"), 8) << "and nothing is lost by it";
}

TEST_F(BoundsTest, NoMoreAgentsStayInMemoryThanMay) {
  config::settings s;
  s.passivation.idle = std::chrono::hours{1};
  auto kit = make(s);
  const auto use = [](testkit& k) {
    for (int i = 0; i < 300; ++i) {
      k.add_agent("a" + std::to_string(i), "echo");
      (void)k.ask("a" + std::to_string(i), "x", nullptr);
    }
    k.advance(std::chrono::seconds{20});
    return k.activations();
  };
  EXPECT_GE(use(*kit), 300U);
  s.passivation.activations = shards; // one each
  auto few = make(s);
  EXPECT_LE(use(*few), shards);
}

} // namespace
} // namespace hive::actors
