// Crash isolation, restarts, intensity, quarantine. (R2)
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class SupervisionTest : public KitTest {};

TEST_F(SupervisionTest, CrashLeavesTheStateOfTheLastCommittedTurnAndTheNextLifeGoesOn) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  ASSERT_TRUE(kit->ask("p", "set", {{"value", "good"}}));
  const auto r = kit->ask("p", "set", {{"value", "bad"}, {"throw", true}});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "agent_crashed");
  EXPECT_EQ(kit->ask("p", "get", nullptr)->at("value"), "good");
  const auto e = kit->explain("p");
  EXPECT_EQ(e["incarnation"], 1);
  EXPECT_EQ(e["restarts"], 1);
  EXPECT_NE(e["last_error"].get<std::string>().find("told to"), std::string::npos);
}

TEST_F(SupervisionTest, CrashTouchesNoSibling) {
  auto kit = make();
  kit->add_supervisor("s", {{"intensity", 10}});
  kit->add_agent("a", "ledger", json::object(), "s");
  kit->add_agent("b", "ledger", json::object(), "s");
  ASSERT_TRUE(kit->ask("a", "append", {{"op", "1"}}));
  ASSERT_TRUE(kit->ask("b", "append", {{"op", "1"}}));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(kit->ask("a", "crash", nullptr));
  EXPECT_EQ(kit->explain("b")["incarnation"], 0);
  EXPECT_EQ(kit->ask("b", "append", {{"op", "2"}})->at("count"), 2);
  EXPECT_EQ(kit->ask("a", "append", {{"op", "2"}})->at("count"), 2);
}

TEST_F(SupervisionTest, MoreRestartsThanTheRootAllowsQuarantineTheChildUntilItIsAppliedAgain) {
  config::settings s;
  s.supervisor.root_intensity = 3;
  auto kit = make(s);
  kit->add_agent("a", "ledger");
  kit->add_agent("b", "ledger");
  ASSERT_TRUE(kit->ask("a", "append", {{"op", "1"}}));
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(kit->ask("a", "crash", nullptr));
  kit->run();
  const auto refused = kit->ask("a", "append", {{"op", "2"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "quarantined");
  EXPECT_TRUE(kit->ask("b", "append", {{"op", "1"}})) << "others go on";
  kit->crash();
  EXPECT_EQ(kit->ask("a", "append", {{"op", "2"}}).error().reason, "quarantined") << "also after a restart of the node";
  ASSERT_TRUE(kit->admin("directory.apply", {{"agents", json::array({{{"name", "a"}, {"spec", {{"behaviour", "ledger"}, {"weight", 2}}}}})}}));
  kit->settle();
  EXPECT_EQ(kit->ask("a", "append", {{"op", "2"}})->at("count"), 2);
}

TEST_F(SupervisionTest, RestartsAreEventsOfTheTenant) {
  auto kit = make();
  kit->add_agent("a", "ledger");
  EXPECT_FALSE(kit->ask("a", "crash", nullptr));
  kit->settle();
  std::size_t restarted = 0;
  for (const auto& [type, source] : kit->events()) restarted += type == "agent.restarted" && source == "agent/a" ? 1 : 0;
  EXPECT_EQ(restarted, 1U);
}

TEST_F(SupervisionTest, MessagesBehindTheOneThatCrashedAreHandled) {
  auto kit = make();
  kit->add_agent("a", "ledger");
  std::vector<result<json>> answers;
  kit->ask_later("a", "crash", nullptr, answers);
  for (int i = 0; i < 5; ++i) kit->ask_later("a", "append", {{"op", std::to_string(i)}}, answers);
  kit->run();
  ASSERT_EQ(answers.size(), 6U);
  std::size_t good = 0;
  for (const auto& a : answers) good += a ? 1 : 0;
  EXPECT_EQ(good, 5U);
}

} // namespace
} // namespace hive::actors
