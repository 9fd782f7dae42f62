// Waiting: asks between agents, timers, executors; replay after crashes; cycles and deadlines. (R4, R6)
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class StepsTest : public KitTest {};

TEST_F(StepsTest, AskGivesTheOthersAnswer) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  kit->add_agent("l", "ledger");
  EXPECT_EQ(kit->ask("p", "ask", {{"to", "l"}, {"type", "append"}, {"body", {{"op", "a"}}}})->at("count"), 1);
  EXPECT_EQ(ops_of(*kit, "l"), json({"a"}));
}

TEST_F(StepsTest, AskSeesTheOthersErrorAndGoesOn) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  kit->add_agent("q", "puppet");
  EXPECT_EQ(kit->ask("p", "ask", {{"to", "q"}, {"type", "fail"}, {"body", nullptr}})->at("error"), "said_no");
  EXPECT_EQ(kit->ask("p", "ask", {{"to", "q"}, {"type", "poison"}, {"body", nullptr}})->at("error"), "agent_crashed");
  EXPECT_EQ(kit->ask("p", "ask", {{"to", "nobody"}, {"type", "x"}, {"body", nullptr}})->at("code"), "not_found");
}

TEST_F(StepsTest, AskIntoItsOwnChainIsACycle) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  kit->add_agent("q", "puppet");
  const json back{{"to", "p"}, {"type", "get"}, {"body", nullptr}};
  const auto r = kit->ask("p", "ask", {{"to", "q"}, {"type", "ask"}, {"body", back}});
  EXPECT_EQ(r->at("code"), "cycle");
  EXPECT_EQ(kit->ask("p", "ask", {{"to", "p"}, {"type", "get"}, {"body", nullptr}})->at("code"), "cycle");
}

TEST_F(StepsTest, SleepIsAsLongAsItWasWhateverCrashes) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  std::vector<result<json>> answers;
  kit->ask_later("p", "sleep", {{"ms", 1000}}, answers, "k");
  kit->advance(std::chrono::milliseconds{400});
  kit->crash();
  answers.clear();
  kit->ask_later("p", "sleep", {{"ms", 1000}}, answers, "k"); // the client asks again
  kit->advance(std::chrono::milliseconds{500});
  EXPECT_TRUE(answers.empty()) << "never early";
  kit->advance(std::chrono::milliseconds{200});
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0]->at("slept").get<bool>());
}

TEST_F(StepsTest, OtherMessagesWaitWhileATurnWaits) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  std::vector<result<json>> answers;
  kit->ask_later("p", "sleep", {{"ms", 100}}, answers);
  kit->ask_later("p", "get", nullptr, answers);
  kit->run();
  EXPECT_TRUE(answers.empty());
  kit->advance(std::chrono::milliseconds{150});
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[1]->at("value"), "slept") << "it ran after the turn that waited";
}

TEST_F(StepsTest, AskAcrossTwoAgentsIsAppliedOnceWhateverCommitThePowerGoesAfter) {
  for (seed_ = 1; seed_ <= 3; ++seed_)
    crash_at_every_commit(
      [&] {
        auto kit = make();
        kit->add_agent("p", "puppet");
        kit->add_agent("l", "ledger");
        return kit;
      },
      [](testkit& kit) {
        const auto r = kit.ask_until_answered("p", "ask", {{"to", "l"}, {"type", "append"}, {"body", {{"op", "a"}}}}, "k1");
        ASSERT_TRUE(r) << to_string(r.error());
        EXPECT_EQ(r->at("count"), 1);
      },
      [](testkit& kit) { EXPECT_EQ(ops_of(kit, "l"), json({"a"})); });
}

TEST_F(StepsTest, FinishedStepIsNotRunAgain) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  std::vector<result<json>> answers;
  kit->ask_later("p", "run", {{"x", 1}, {"then_sleep", 1000}}, answers, "k");
  kit->advance(std::chrono::milliseconds{500}); // the run is done, its turn sleeps
  ASSERT_EQ(runs_, 1);
  kit->crash();
  const auto r = kit->ask_until_answered("p", "run", {{"x", 1}, {"then_sleep", 1000}}, "k");
  EXPECT_EQ(r->at("run"), 1);
  EXPECT_EQ(runs_, 1) << "its stored result";
}

TEST_F(StepsTest, ToldTurnThatWaitsGoesOnAfterAnyCrash) {
  crash_at_every_commit(
    [&] {
      auto kit = make();
      kit->add_agent("p", "puppet");
      kit->add_agent("l", "ledger");
      return kit;
    },
    [](testkit& kit) {
      kit.tell("p", "ask", {{"to", "l"}, {"type", "append"}, {"body", {{"op", "a"}}}});
      kit.settle();
    },
    [](testkit& kit) { // a tell may be lost, but not half of it
      kit.settle();
      const auto ops = ops_of(kit, "l");
      EXPECT_LE(ops.size(), 1U);
      ASSERT_TRUE(kit.ask("p", "get", nullptr)); // so that it is active
      const auto logs = kit.explain("p").at("logs");
      EXPECT_EQ(logs.value("asked", 0U), ops.size()) << logs.dump();
    });
}

TEST_F(StepsTest, WaitingTurnOfADeletedAgentGivesItsSendersTheirWindowsBack) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  for (int i = 0; i < 3; ++i) {
    kit->add_agent("q", "puppet");
    std::vector<result<json>> answers;
    kit->ask_later("p", "ask", {{"to", "q"}, {"type", "sleep"}, {"body", {{"ms", 60'000}}}}, answers);
    kit->advance(std::chrono::milliseconds{500});
    ASSERT_TRUE(kit->admin("directory.delete", {{"kind", "agent"}, {"name", "q"}}));
    kit->advance(std::chrono::milliseconds{500});
    ASSERT_EQ(answers.size(), 1U);
  }
  kit->settle();
  EXPECT_EQ(kit->explain("p").value("outbox", 0), 0);
  kit->crash();
  kit->settle();
  EXPECT_EQ(kit->explain("p").value("outbox", 0), 0) << "and their rows are gone";
}

TEST_F(StepsTest, StepperDoesItsWorkOnceAcrossCrashes) {
  crash_at_every_commit(
    [&] {
      auto kit = make();
      kit->add_agent("s", "stepper");
      kit->add_agent("l", "ledger");
      return kit;
    },
    [](testkit& kit) { EXPECT_EQ(kit.ask_until_answered("s", "work", {{"op", "w"}, {"ms", 5}, {"to", "l"}}, "k")->at("count"), 1); },
    [](testkit& kit) {
      EXPECT_EQ(ops_of(kit, "l"), json({"w"}));
      EXPECT_EQ(ops_of(kit, "s"), json({"w"}));
    });
}

} // namespace
} // namespace hive::actors
