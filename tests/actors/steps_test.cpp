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
  EXPECT_EQ(kit->ask("p", "run", {{"x", 1}}, "k")->at("run"), 1);
  kit->crash();
  EXPECT_EQ(kit->ask("p", "run", {{"x", 1}}, "k")->at("run"), 1) << "the stored answer";
  EXPECT_EQ(runs_, 1);
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
