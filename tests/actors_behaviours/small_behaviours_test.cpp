#include "tests/actors_behaviours/kit.hpp"

namespace hive::actors {
namespace {

class SmallBehavioursTest : public BehaviourTest {
protected:
  std::unique_ptr<testkit> make_all() {
    auto kit = make();
    kit->add_agent("echo", "echo");
    kit->add_agent("ledger", "ledger");
    kit->add_agent("relay", "relay");
    kit->add_agent("stepper", "stepper", {{"program", "/bin/true"}});
    return kit;
  }
};

TEST_F(SmallBehavioursTest, EchoAnswersAnyTypeWithItsPayload) {
  auto kit = make_all();
  EXPECT_EQ(*kit->ask("echo", "anything", {{"a", {1, 2}}}), (json{{"a", {1, 2}}}));
  EXPECT_EQ(*kit->ask("echo", "else", nullptr), nullptr);
}

TEST_F(SmallBehavioursTest, LedgerCountsAndListsInOrder) {
  auto kit = make_all();
  EXPECT_EQ(*kit->ask("ledger", "append", {{"op", "a"}}), (json{{"count", 1}}));
  EXPECT_EQ(*kit->ask("ledger", "append", {{"op", "b\n\"c\""}}), (json{{"count", 2}}));
  EXPECT_EQ(*kit->ask("ledger", "list", json::object()), (json{{"ops", {"a", "b\n\"c\""}}}));
  EXPECT_EQ(*kit->ask("ledger", "list", {{"from", 1}, {"limit", 5}}), (json{{"ops", json::array({"b\n\"c\""})}}));
  EXPECT_EQ(*kit->ask("ledger", "list", {{"from", 9}, {"limit", 5}}), (json{{"ops", json::array()}}));
}

TEST_F(SmallBehavioursTest, LedgerRefusesBadInputAndNamesTheField) {
  auto kit = make_all();
  EXPECT_EQ(field_of(kit->ask("ledger", "append", json::object())), "payload.op");
  EXPECT_EQ(field_of(kit->ask("ledger", "append", {{"op", 7}})), "payload.op");
  EXPECT_EQ(field_of(kit->ask("ledger", "append", {{"op", ""}})), "payload.op");
  EXPECT_EQ(field_of(kit->ask("ledger", "append", {{"op", "a"}, {"colour", 1}})), "payload.colour");
  EXPECT_EQ(field_of(kit->ask("ledger", "append", {1, 2})), "payload");
  EXPECT_EQ(field_of(kit->ask("ledger", "list", {{"limit", -1}})), "payload.limit");
  EXPECT_EQ(field_of(kit->ask("ledger", "subtract", nullptr)), "type");
  EXPECT_EQ(ops_of(*kit, "ledger"), json::array());
}

TEST_F(SmallBehavioursTest, LedgerCrashKeepsWhatWasCommitted) {
  auto kit = make_all();
  (void)kit->ask("ledger", "append", {{"op", "a"}});
  const auto crashed = kit->ask("ledger", "crash", nullptr);
  ASSERT_FALSE(crashed);
  EXPECT_EQ(crashed.error().code, errc::application);
  kit->settle();
  EXPECT_EQ(*kit->ask("ledger", "append", {{"op", "b"}}), (json{{"count", 2}}));
}

TEST_F(SmallBehavioursTest, RelayForwardsExactlyOnceWhateverCommitThePowerGoesAfter) {
  crash_at_every_commit([&] { return make_all(); },
                        [](testkit& kit) {
                          EXPECT_EQ(*kit.ask_until_answered("relay", "forward", {{"to", "ledger"}, {"op", "x"}}, "k1"),
                                    (json{{"forwarded", true}}));
                          (void)kit.ask_until_answered("relay", "forward", {{"to", "ledger"}, {"op", "y"}}, "k2");
                        },
                        [](testkit& kit) {
                          EXPECT_EQ(ops_of(kit, "ledger"), (json{"x", "y"}));
                        });
}

TEST_F(SmallBehavioursTest, RelayNamesTheFieldAtFault) {
  auto kit = make_all();
  EXPECT_EQ(field_of(kit->ask("relay", "forward", {{"op", "x"}})), "payload.to");
  EXPECT_EQ(field_of(kit->ask("relay", "forward", {{"to", "no such name!"}, {"op", "x"}})), "payload.to");
  EXPECT_EQ(field_of(kit->ask("relay", "forward", {{"to", "ledger"}})), "payload.op");
}

TEST_F(SmallBehavioursTest, StepperDoesEachStepOnceWhateverCommitThePowerGoesAfter) {
  crash_at_every_commit([&] { return make_all(); },
                        [](testkit& kit) {
                          std::vector<result<json>> answers;
                          kit.ask_later("stepper", "work", {{"op", "x"}, {"ms", 5}, {"to", "ledger"}}, answers, "k1");
                          kit.settle();
                          if (answers.empty() || !answers[0]) { // the client was cut off: it asks again with its key
                            kit.ask_later("stepper", "work", {{"op", "x"}, {"ms", 5}, {"to", "ledger"}}, answers, "k1");
                            kit.settle();
                          }
                        },
                        [](testkit& kit) {
                          EXPECT_EQ(ops_of(kit, "ledger"), json::array({"x"}));
                          EXPECT_EQ(ops_of(kit, "stepper"), json::array({"x"}));
                        });
}

TEST_F(SmallBehavioursTest, LedgerListsAsMuchAsAnAnswerHoldsAndNeverMore) {
  auto kit = make_all();
  const auto fill = [&](const std::string& agent, std::size_t count, std::size_t bytes) {
    kit->add_agent(agent, "ledger");
    std::vector<result<json>> answers;
    for (std::size_t i = 0; i < count; ++i) {
      std::string op = std::to_string(i);
      op.resize(std::max(bytes, op.size()), 'x');
      kit->ask_later(agent, "append", {{"op", op}}, answers);
      if (answers.size() + 500 < i) kit->run(); // its mailbox is bounded
    }
    kit->run();
    ASSERT_EQ(answers.size(), count);
  };
  fill("short", 5'000, 1);
  fill("long", 400, 4096);
  for (const auto& [agent, count] : {std::pair<std::string, std::size_t>{"short", 5'000}, {"long", 400}}) {
    std::size_t seen = 0;
    for (;;) { // as the fault tests read it
      const auto page = kit->ask(agent, "list", {{"from", seen}, {"limit", std::uint64_t{1} << 62U}});
      ASSERT_TRUE(page) << to_string(page.error());
      EXPECT_LE(page->dump().size(), 1024U * 1024U);
      const auto& ops = page->at("ops");
      if (ops.empty()) break;
      for (const auto& op : ops) ASSERT_EQ(std::stoul(op.get<std::string>()), seen++);
    }
    EXPECT_EQ(seen, count);
  }
  EXPECT_EQ(kit->ask("long", "list", nullptr).error().reason, "list_too_long");
  EXPECT_EQ(kit->ask("short", "list", nullptr)->at("ops").size(), 5'000U);
}

} // namespace
} // namespace hive::actors
