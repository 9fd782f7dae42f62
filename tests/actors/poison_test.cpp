// Messages that the agent, or the whole process, dies of. (R2; tests/faults/poison_test.py does it with real processes)
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class PoisonTest : public KitTest {
protected:
  static std::uint64_t ask_with(testkit& kit, const std::string& key) { return persistence::key_hash_of(key, kit.context().principal_hash()); }
  static std::uint64_t sent_by(testkit& kit, const std::string& agent, std::uint64_t sequence) {
    envelope e(kit.context(), kit.id_of("victim"), envelope::origin::send);
    e.sender = kit.id_of(agent);
    e.sequence = sequence;
    return message_of(e);
  }
  std::vector<std::string> dead_letters(testkit& kit) {
    std::vector<std::string> reasons;
    for (const auto& d : *kit.reader().dead_letters(kit.context(), 0, 100)) reasons.push_back(d.letter.reason);
    return reasons;
  }
};

TEST_F(PoisonTest, AskIsRefusedAfterTwoDeathsOfTheProcessAndTheAgentGoesOn) {
  auto kit = make();
  kit->add_agent("victim", "puppet");
  ASSERT_TRUE(kit->ask("victim", "set", {{"value", "kept"}}));
  const auto poison = ask_with(*kit, "bad");
  for (int death = 1; death <= 2; ++death) {
    kit->crash();
    kit->suspect("victim", poison);
    kit->settle();
  }
  kit->crash(); // what was counted is on disk
  EXPECT_EQ(kit->ask("victim", "get", nullptr, "bad").error().reason, "poison");
  EXPECT_EQ(kit->ask("victim", "get", nullptr, "good")->at("value"), "kept");
}

TEST_F(PoisonTest, OneDeathMayBeAnAccidentAndAGoodEndClearsTheMessage) {
  auto kit = make();
  kit->add_agent("victim", "puppet");
  const auto message = ask_with(*kit, "key");
  kit->suspect("victim", message);
  ASSERT_TRUE(kit->ask("victim", "set", {{"value", "v"}}, "key"));
  kit->crash();
  kit->suspect("victim", message);
  kit->settle();
  EXPECT_TRUE(kit->ask("victim", "set", {{"value", "v"}}, "key")) << "the first death was forgotten";
}

TEST_F(PoisonTest, MessageBetweenAgentsBecomesADeadLetterAndThoseBehindItAreHandled) {
  auto kit = make();
  kit->add_agent("sender", "puppet");
  kit->add_agent("victim", "ledger");
  for (int death = 1; death <= 2; ++death) { // the message was on its way both times
    kit->suspect("victim", sent_by(*kit, "sender", 1));
    kit->settle();
    kit->crash();
  }
  ASSERT_TRUE(kit->ask("sender", "send", {{"to", "victim"}, {"ops", {"poison", "next"}}}));
  kit->settle();
  EXPECT_EQ(dead_letters(*kit), std::vector<std::string>{"poison"});
  EXPECT_EQ(ops_of(*kit, "victim").dump(), json({"next"}).dump());
}

TEST_F(PoisonTest, AgentThatWasThereAtTooManyDeathsIsQuarantinedUntilItIsStarted) {
  auto kit = make();
  kit->add_agent("victim", "ledger");
  for (std::uint64_t message = 100; message < 104; ++message) {
    EXPECT_TRUE(kit->ask("victim", "append", {{"op", std::to_string(message)}})) << "not yet";
    kit->crash();
    kit->suspect("victim", message);
    kit->settle();
  }
  EXPECT_EQ(kit->ask("victim", "append", {{"op", "x"}}).error().reason, "quarantined");
  ASSERT_TRUE(kit->admin("entity.start", {{"kind", "agent"}, {"name", "victim"}}));
  kit->settle();
  EXPECT_EQ(kit->ask("victim", "append", {{"op", "x"}})->at("count"), 5);
}

TEST_F(PoisonTest, CrashesOfTheAgentAreCountedAcrossRestartsOfTheNode) {
  auto kit = make();
  kit->add_agent("sender", "puppet");
  kit->add_agent("victim", "puppet");
  ASSERT_TRUE(kit->ask("sender", "send_poison", {{"to", "victim"}}));
  for (int run = 0; run < 3; ++run) { // one attempt each: the next one waits for a timer
    EXPECT_TRUE(dead_letters(*kit).empty()) << run;
    kit->run();
    kit->crash();
  }
  kit->run();
  EXPECT_EQ(dead_letters(*kit), std::vector<std::string>{"attempts_exhausted"});
}

TEST_F(PoisonTest, TurnThatWaitedWhenTheProcessDiedIsEndedNotRun) {
  auto kit = make();
  kit->add_agent("victim", "puppet");
  std::vector<result<json>> answers;
  kit->ask_later("victim", "sleep", {{"ms", 60'000}}, answers, "bad");
  kit->advance(std::chrono::milliseconds{100});
  for (int death = 1; death <= 2; ++death) {
    kit->crash();
    kit->suspect("victim", ask_with(*kit, "bad"));
    kit->advance(std::chrono::milliseconds{100});
  }
  kit->settle();
  EXPECT_EQ(kit->status(entity_kind::agent, "victim"), "idle");
  EXPECT_EQ(kit->ask("victim", "get", nullptr)->at("value"), "") << "the turn had no effect";
}

} // namespace
} // namespace hive::actors
