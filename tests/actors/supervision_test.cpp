// Crash isolation, restarts, intensity, quarantine. (R2)
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class SupervisionTest : public KitTest {
protected:
  /// Three ledgers below supervisor "s", all in memory, with one entry each.
  std::unique_ptr<testkit> group(json supervisor, json agent = json::object()) {
    auto kit = make();
    kit->add_supervisor("s", std::move(supervisor));
    for (const char* name : {"a", "b", "c"}) {
      apply(*kit, name, agent);
      EXPECT_TRUE(kit->ask(name, "set", {{"value", name}}));
    }
    return kit;
  }
  static void apply(testkit& kit, const std::string& name, json spec, const std::string& supervisor = "s") {
    spec["behaviour"] = spec.value("behaviour", "puppet");
    if (!supervisor.empty()) spec["supervisor"] = supervisor;
    const auto r = kit.admin("directory.apply", {{"agents", json::array({{{"name", name}, {"spec", spec}}})}});
    ASSERT_TRUE(r) << to_string(r.error());
  }
  static void crash(testkit& kit, const std::string& name) {
    EXPECT_FALSE(kit.ask(name, "poison", nullptr));
    kit.settle();
  }
  static std::vector<std::uint32_t> lives(testkit& kit) {
    std::vector<std::uint32_t> all;
    for (const char* name : {"a", "b", "c"}) all.push_back(kit.explain(name).value("incarnation", 0U));
    return all;
  }
  static json command(testkit& kit, const std::string& verb, const std::string& kind, const std::string& name, bool reset = false) {
    const auto r = kit.admin("entity." + verb, {{"kind", kind}, {"name", name}, {"reset", reset}});
    EXPECT_TRUE(r) << to_string(r.error());
    kit.settle();
    return r ? *r : json();
  }
  using numbers = std::vector<std::uint32_t>;
};

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

TEST_F(SupervisionTest, StrategiesDecideWhoBeginsANewLife) {
  for (const auto& [strategy, expected] : std::vector<std::pair<std::string, numbers>>{
         {"one_for_one", {0, 1, 0}}, {"one_for_all", {1, 1, 1}}, {"rest_for_one", {0, 1, 1}}}) {
    auto kit = group({{"strategy", strategy}});
    crash(*kit, "b");
    EXPECT_EQ(lives(*kit), expected) << strategy;
    for (const char* name : {"a", "b", "c"}) EXPECT_EQ(kit->ask(name, "get", nullptr)->at("value"), name) << "state of the last committed turn";
  }
}

TEST_F(SupervisionTest, GroupIsStartedInOrderOfCreation) {
  auto kit = group({{"strategy", "one_for_all"}});
  crash(*kit, "c");
  std::vector<std::string> order;
  for (const auto& [type, source] : kit->events())
    if (type == "agent.restarted") order.push_back(source);
  EXPECT_EQ(order, (std::vector<std::string>{"agent/a", "agent/b", "agent/c"}));
}

TEST_F(SupervisionTest, ChildrenNotInMemoryBelongToTheGroup) {
  config::settings quick;
  quick.passivation.idle = std::chrono::milliseconds{200};
  auto kit = make(quick);
  kit->add_supervisor("s", {{"strategy", "one_for_all"}});
  for (const char* name : {"a", "b"}) {
    apply(*kit, name, json::object());
    ASSERT_TRUE(kit->ask(name, "set", {{"value", name}}));
  }
  kit->advance(std::chrono::seconds{5});
  ASSERT_EQ(kit->status(entity_kind::agent, "a"), "inactive");
  crash(*kit, "b");
  kit->advance(std::chrono::seconds{5});
  EXPECT_EQ(kit->ask("a", "get", nullptr)->at("value"), "a");
  EXPECT_EQ(kit->explain("a")["incarnation"], 1);
}

TEST_F(SupervisionTest, MessagesThatComeDuringAGroupRestartWaitAndAreHandled) {
  auto kit = group({{"strategy", "one_for_all"}, {"intensity", 100}, {"period_ms", 1}});
  std::vector<result<json>> answers;
  for (int i = 0; i < 20; ++i) {
    kit->ask_later("a", i % 5 == 0 ? "poison" : "set", {{"value", "v"}}, answers);
    kit->ask_later("b", "set", {{"value", "v"}}, answers);
    kit->advance(std::chrono::milliseconds{2});
  }
  kit->settle();
  ASSERT_EQ(answers.size(), 40U);
  std::size_t good = 0;
  for (const auto& a : answers) good += a ? 1 : 0;
  EXPECT_EQ(good, 36U) << "all but the four that crash";
}

TEST_F(SupervisionTest, TurnThatWaitsMayEndWithinTheShutdownTime) {
  auto kit = group({{"strategy", "one_for_all"}}, {{"shutdown_ms", 2000}});
  std::vector<result<json>> answers;
  kit->ask_later("a", "sleep", {{"ms", 1000}}, answers);
  kit->advance(std::chrono::milliseconds{100});
  EXPECT_FALSE(kit->ask("b", "poison", nullptr));
  kit->advance(std::chrono::milliseconds{500});
  EXPECT_EQ(kit->status(entity_kind::agent, "a"), "stopping");
  EXPECT_EQ(kit->status(entity_kind::supervisor, "s"), "restarting");
  kit->settle();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0]) << to_string(answers[0].error());
  EXPECT_EQ(lives(*kit), (numbers{1, 1, 1}));
}

TEST_F(SupervisionTest, AtTheEndOfTheShutdownTimeTheNextLifeTakesTheTurnUp) {
  auto kit = group({{"strategy", "one_for_all"}}, {{"shutdown_ms", 100}});
  std::vector<result<json>> answers;
  kit->ask_later("a", "run", {{"x", 1}}, answers);
  kit->settle();
  const int runs_before = runs_;
  kit->ask_later("a", "sleep", {{"ms", 5000}}, answers);
  kit->advance(std::chrono::milliseconds{50});
  EXPECT_FALSE(kit->ask("b", "poison", nullptr));
  kit->advance(std::chrono::milliseconds{1000});
  EXPECT_EQ(lives(*kit), (numbers{1, 1, 1})) << "nobody waited for the sleeper";
  EXPECT_EQ(kit->status(entity_kind::agent, "a"), "waiting") << "its message is not lost";
  kit->settle();
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_TRUE(answers[1]) << to_string(answers[1].error());
  EXPECT_EQ(runs_, runs_before);
}

TEST_F(SupervisionTest, SupervisorOverItsIntensityIsRestartedByItsParentWithAllItsChildren) {
  auto kit = group({{"intensity", 1}});
  crash(*kit, "b");
  EXPECT_EQ(lives(*kit), (numbers{0, 1, 0}));
  crash(*kit, "b");
  EXPECT_EQ(lives(*kit), (numbers{1, 2, 1})) << "the supervisor ended with its children, and its parent started it again";
  EXPECT_EQ(kit->status(entity_kind::supervisor, "s"), "running");
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(kit->ask(name, "get", nullptr)->at("value"), name);
}

TEST_F(SupervisionTest, RootQuarantinesASupervisorThatEndsTooOftenAndNothingBelowItRuns) {
  config::settings few;
  few.supervisor.root_intensity = 1;
  auto kit = make(few);
  kit->add_supervisor("top", {{"intensity", 0}});
  kit->add_supervisor("s", {{"intensity", 0}, {"supervisor", "top"}});
  apply(*kit, "a", json::object());
  apply(*kit, "other", json::object(), "");
  crash(*kit, "a");
  EXPECT_EQ(kit->status(entity_kind::supervisor, "top"), "running") << "started again by the root";
  ASSERT_TRUE(kit->ask("a", "set", {{"value", "x"}}));
  crash(*kit, "a");
  EXPECT_EQ(kit->status(entity_kind::supervisor, "top"), "quarantined");
  EXPECT_EQ(kit->ask("a", "get", nullptr).error().reason, "stopped");
  EXPECT_TRUE(kit->ask("other", "get", nullptr)) << "the rest of the tenant goes on";
  kit->crash();
  EXPECT_EQ(kit->ask("a", "get", nullptr).error().reason, "stopped") << "also after a restart of the node";
  EXPECT_EQ(kit->status(entity_kind::supervisor, "top"), "quarantined");
  command(*kit, "start", "supervisor", "top");
  EXPECT_EQ(kit->ask("a", "get", nullptr)->at("value"), "x");
}

TEST_F(SupervisionTest, NodeDeathEatsNoIntensity) {
  auto kit = group({{"intensity", 1}, {"period_ms", 86'400'000}});
  for (int i = 0; i < 5; ++i) {
    kit->crash();
    for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(kit->ask(name, "get", nullptr));
  }
  crash(*kit, "b");
  EXPECT_EQ(lives(*kit), (numbers{0, 1, 0}));
}

TEST_F(SupervisionTest, TransientAgentThatStopsItselfStaysStoppedAndATemporaryOneIsGone) {
  auto kit = make();
  kit->add_supervisor("s");
  apply(*kit, "permanent", json::object());
  apply(*kit, "transient", {{"restart", "transient"}});
  apply(*kit, "temporary", {{"restart", "temporary"}});
  for (const char* name : {"permanent", "transient", "temporary"}) {
    EXPECT_EQ(kit->ask(name, "stop", nullptr)->at("stopped"), true) << name;
    kit->settle();
  }
  EXPECT_EQ(kit->explain("permanent")["incarnation"], 1);
  EXPECT_EQ(kit->ask("transient", "get", nullptr).error().reason, "stopped");
  EXPECT_EQ(kit->status(entity_kind::agent, "temporary"), "absent") << "its spec went with it";
  crash(*kit, "permanent");
  command(*kit, "start", "agent", "transient");
  EXPECT_TRUE(kit->ask("transient", "get", nullptr));
  crash(*kit, "transient");
  EXPECT_TRUE(kit->ask("transient", "get", nullptr)) << "a crash is another matter";
}

TEST_F(SupervisionTest, SignificantChildEndsItsSupervisorAndTheOthersWithIt) {
  auto kit = make();
  kit->add_supervisor("s", {{"auto_shutdown", "any_significant"}, {"restart", "transient"}});
  apply(*kit, "a", json::object());
  apply(*kit, "b", {{"restart", "transient"}, {"significant", true}});
  ASSERT_TRUE(kit->ask("a", "set", {{"value", "x"}}));
  ASSERT_TRUE(kit->ask("b", "stop", nullptr));
  kit->settle();
  EXPECT_EQ(kit->status(entity_kind::supervisor, "s"), "stopped");
  EXPECT_EQ(kit->ask("a", "get", nullptr).error().reason, "stopped");
  EXPECT_EQ(kit->admin("directory.apply", {{"agents", json::array({{{"name", "x"}, {"spec", {{"behaviour", "puppet"}, {"restart", "transient"}, {"significant", true}}}}})}}).error().field,
            "agents[0].spec.significant") << "the root never ends";
}

TEST_F(SupervisionTest, PersonStopsStartsAndRestarts) {
  auto kit = group(json::object());
  command(*kit, "stop", "agent", "b");
  EXPECT_EQ(kit->status(entity_kind::agent, "b"), "stopped");
  EXPECT_EQ(kit->ask("b", "get", nullptr).error().reason, "stopped");
  EXPECT_TRUE(kit->ask("a", "get", nullptr));
  kit->crash();
  EXPECT_EQ(kit->ask("b", "get", nullptr).error().reason, "stopped");
  command(*kit, "start", "agent", "b");
  EXPECT_EQ(kit->ask("b", "get", nullptr)->at("value"), "b");
  command(*kit, "restart", "agent", "b");
  EXPECT_EQ(kit->ask("b", "get", nullptr)->at("value"), "b");
  EXPECT_EQ(kit->explain("b")["incarnation"], 2);
  EXPECT_EQ(kit->admin("entity.stop", {{"kind", "agent"}, {"name", "nobody"}}).error().code, errc::not_found);
}

TEST_F(SupervisionTest, ResetClearsStateLogsAndRows) {
  auto kit = make();
  apply(*kit, "a", json::object(), "");
  apply(*kit, "l", {{"behaviour", "ledger"}}, "");
  ASSERT_TRUE(kit->ask("a", "set", {{"value", "x"}}));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(kit->ask("a", "rows", {{"key", "k" + std::to_string(i)}, {"value", "v"}}));
  ASSERT_TRUE(kit->ask("l", "append", {{"op", "1"}}));
  command(*kit, "restart", "agent", "a", true);
  command(*kit, "restart", "agent", "l", true);
  kit->crash();
  EXPECT_EQ(kit->ask("a", "get", nullptr)->at("value"), "");
  EXPECT_EQ(kit->ask("a", "rows", {{"key", "new"}, {"value", "v"}})->dump(), json({{"new", "v"}}).dump());
  EXPECT_EQ(kit->ask("l", "append", {{"op", "2"}})->at("count"), 1);
}

TEST_F(SupervisionTest, StoppedSupervisorStopsWhatIsBelowItUntilItIsStarted) {
  auto kit = group(json::object());
  command(*kit, "stop", "agent", "c");
  command(*kit, "stop", "supervisor", "s");
  EXPECT_EQ(kit->status(entity_kind::supervisor, "s"), "stopped");
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(kit->ask(name, "get", nullptr).error().reason, "stopped");
  kit->crash();
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(kit->ask(name, "get", nullptr).error().reason, "stopped");
  command(*kit, "start", "supervisor", "s");
  EXPECT_TRUE(kit->ask("a", "get", nullptr));
  EXPECT_TRUE(kit->ask("b", "get", nullptr));
  EXPECT_EQ(kit->ask("c", "get", nullptr).error().reason, "stopped") << "a person stopped it by itself";
}

TEST_F(SupervisionTest, ChildSaysWithWhichSupervisorItIsDownAlsoWhenItIsNotInMemory) {
  config::settings quick;
  quick.passivation.idle = std::chrono::milliseconds{200};
  auto kit = make(quick);
  kit->add_supervisor("top");
  kit->add_supervisor("s", {{"supervisor", "top"}});
  for (const char* name : {"a", "b", "never_used"}) apply(*kit, name, json::object());
  ASSERT_TRUE(kit->ask("a", "get", nullptr));
  ASSERT_TRUE(kit->ask("b", "get", nullptr));
  command(*kit, "stop", "agent", "b");
  command(*kit, "stop", "supervisor", "top");
  const auto down_with = [&](entity_kind kind, const char* name) {
    const auto f = kit->facts(kind, name);
    return f["status"].get<std::string>() + " " + f.value("stopped_by", "");
  };
  const auto expect_all = [&](const char* when) {
    EXPECT_EQ(down_with(entity_kind::supervisor, "top"), "stopped ") << when;
    EXPECT_EQ(down_with(entity_kind::supervisor, "s"), "stopped supervisor/top") << when;
    EXPECT_EQ(down_with(entity_kind::agent, "a"), "stopped supervisor/top") << when;
    EXPECT_EQ(down_with(entity_kind::agent, "never_used"), "stopped supervisor/top") << when;
    EXPECT_EQ(down_with(entity_kind::agent, "b"), "stopped ") << when << ": by a person, not by its supervisor";
  };
  expect_all("in memory");
  kit->advance(std::chrono::seconds{5});
  expect_all("passive");
  kit->crash();
  expect_all("after a restart of the node");

  command(*kit, "stop", "supervisor", "s");
  EXPECT_EQ(down_with(entity_kind::agent, "a"), "stopped supervisor/s") << "the nearest one";
  command(*kit, "start", "supervisor", "s");
  EXPECT_EQ(down_with(entity_kind::agent, "a"), "stopped supervisor/top") << "it wants to run, and the one above does not";
  command(*kit, "start", "supervisor", "top");
  EXPECT_EQ(kit->facts(entity_kind::agent, "a").value("stopped_by", ""), "");
  EXPECT_TRUE(kit->ask("a", "get", nullptr));
  EXPECT_EQ(down_with(entity_kind::agent, "b"), "stopped ");
}

/// Asks, steps and tasks alike: who does not run, by whose will, and the command that mends it.
TEST_F(SupervisionTest, WhoeverMeetsAnAgentThatDoesNotRunHearsWhyAndWhatToDo) {
  config::settings few;
  few.supervisor.root_intensity = 0;
  auto kit = make(few);
  kit->add_supervisor("top");
  kit->add_supervisor("s", {{"supervisor", "top"}});
  for (const char* name : {"asker", "crashing"}) apply(*kit, name, json::object(), "");
  apply(*kit, "a", json::object());
  const auto all_say = [&](const std::string& to, const std::string& reason, const std::string& text) {
    const auto asked = kit->ask(to, "get", nullptr);
    ASSERT_FALSE(asked) << text;
    EXPECT_EQ(asked.error().reason, reason);
    EXPECT_EQ(asked.error().message, text);
    const auto stepped = kit->ask("asker", "ask", {{"to", to}, {"type", "get"}, {"body", nullptr}});
    ASSERT_TRUE(stepped) << to_string(stepped.error());
    EXPECT_EQ(stepped->at("error"), "receiver_" + reason);
    EXPECT_EQ(stepped->at("message"), text);
    auto task = kit->task(to, "get", nullptr);
    ASSERT_TRUE(task) << to_string(task.error());
    if (!task->contains("error")) { // the refusal of an earlier one keeps it in the queue, until the breaker tries one
      kit->advance(std::chrono::seconds{2});
      task = kit->read_task(task->at("id").get<std::string>());
      ASSERT_TRUE(task && task->contains("error"));
    }
    EXPECT_EQ(task->at("error").at("reason"), "receiver_" + reason);
    EXPECT_EQ(task->at("error").at("message"), text);
    const auto letters = kit->reader().dead_letters(kit->context(), 0, 1);
    ASSERT_TRUE(letters && letters->size() == 1);
    EXPECT_EQ(json::parse(letters->front().letter.detail)["error"], text);
  };
  command(*kit, "stop", "agent", "a");
  all_say("a", "stopped", "agent/a is stopped; `hivectl start agent/a` starts it again");
  command(*kit, "start", "agent", "a");
  command(*kit, "stop", "supervisor", "top");
  all_say("a", "stopped", "agent/a is stopped, because supervisor/top above it is stopped; `hivectl start supervisor/top` starts it again");
  kit->crash();
  all_say("a", "stopped", "agent/a is stopped, because supervisor/top above it is stopped; `hivectl start supervisor/top` starts it again");
  crash(*kit, "crashing");
  all_say("crashing", "quarantined", "agent/crashing is quarantined after repeated crashes; `hivectl start agent/crashing` releases it");
}

TEST_F(SupervisionTest, RestartsAndTheLastErrorAreStillKnownWhenNobodyIsInMemoryAnyMore) {
  config::settings quick;
  quick.passivation.idle = std::chrono::milliseconds{200};
  auto kit = make(quick);
  kit->add_supervisor("s", {{"intensity", 10}});
  for (const char* name : {"a", "b"}) apply(*kit, name, json::object());
  for (int i = 0; i < 2; ++i) crash(*kit, "a");
  ASSERT_TRUE(kit->ask("b", "get", nullptr));
  const auto in_memory = kit->activations();
  kit->advance(std::chrono::minutes{2});
  ASSERT_LT(kit->activations(), in_memory);
  ASSERT_EQ(kit->status(entity_kind::agent, "a"), "inactive");
  auto a = kit->facts(entity_kind::agent, "a");
  EXPECT_EQ(a["restarts"], 2);
  EXPECT_EQ(a["incarnation"], 2);
  EXPECT_EQ(a["last_error"], "poison");
  EXPECT_EQ(kit->facts(entity_kind::supervisor, "s")["restarts"], 2) << "those that it carried out";
  EXPECT_EQ(kit->facts(entity_kind::agent, "b").value("restarts", 0), 0);

  crash(*kit, "a");
  EXPECT_EQ(kit->facts(entity_kind::agent, "a")["restarts"], 3);
  EXPECT_EQ(kit->facts(entity_kind::supervisor, "s")["restarts"], 3);
  kit->advance(std::chrono::minutes{2});
  ASSERT_TRUE(kit->admin("directory.delete", {{"kind", "agent"}, {"name", "a"}}));
  kit->advance(std::chrono::minutes{2});
  apply(*kit, "a", json::object());
  EXPECT_EQ(kit->facts(entity_kind::agent, "a").value("restarts", 0), 0) << "another one of that name";
}

/// A supervisor without work is not in memory: what stands below it stops all the same.
TEST_F(SupervisionTest, StopReachesWhatStandsBelowASupervisorThatIsNotInMemoryWhateverTheOrder) {
  for (seed_ = 1; seed_ <= 40; ++seed_) {
    auto kit = make();
    kit->add_supervisor("top");
    kit->add_supervisor("s", {{"supervisor", "top"}});
    apply(*kit, "a", json::object());
    ASSERT_TRUE(kit->ask("a", "set", {{"value", "x"}}));
    command(*kit, "stop", "supervisor", "top");
    const auto refused = kit->ask("a", "get", nullptr);
    ASSERT_FALSE(refused) << "seed " << seed_;
    EXPECT_EQ(refused.error().reason, "stopped");
    command(*kit, "start", "supervisor", "top");
    const auto again = kit->ask("a", "get", nullptr);
    ASSERT_TRUE(again) << "seed " << seed_ << ": " << to_string(again.error());
    EXPECT_EQ(again->at("value"), "x");
  }
}

TEST_F(SupervisionTest, StopLeavesTheTurnThatWaitsToTheNextLife) {
  auto kit = group(json::object(), {{"shutdown_ms", 100}});
  std::vector<result<json>> answers;
  kit->ask_later("a", "sleep", {{"ms", 5000}}, answers);
  kit->advance(std::chrono::milliseconds{50});
  ASSERT_TRUE(kit->admin("entity.stop", {{"kind", "agent"}, {"name", "a"}}));
  kit->advance(std::chrono::milliseconds{1000});
  EXPECT_EQ(kit->status(entity_kind::agent, "a"), "stopped");
  EXPECT_TRUE(answers.empty());
  ASSERT_TRUE(kit->admin("entity.start", {{"kind", "agent"}, {"name", "a"}}));
  kit->settle();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0]);
}

TEST_F(SupervisionTest, BackoffKeepsTheChildDownForAWhile) {
  auto kit = group({{"backoff_ms", 1000}, {"intensity", 10}});
  std::vector<result<json>> answers;
  kit->ask_later("a", "poison", nullptr, answers);
  kit->ask_later("a", "get", nullptr, answers);
  kit->advance(std::chrono::milliseconds{400});
  EXPECT_EQ(kit->status(entity_kind::agent, "a"), "crashed");
  EXPECT_EQ(answers.size(), 1U);
  kit->advance(std::chrono::milliseconds{700});
  EXPECT_EQ(answers.size(), 2U);
  EXPECT_EQ(kit->explain("a")["incarnation"], 1);
}

TEST_F(SupervisionTest, SimpleOneForOneTakesChildrenOfItsBehaviourOnly) {
  auto kit = make();
  kit->add_supervisor("s", {{"strategy", "simple_one_for_one"}, {"behaviour", "puppet"}});
  for (const char* name : {"a", "b", "c"}) apply(*kit, name, json::object());
  const auto refused = kit->admin("directory.apply", {{"agents", json::array({{{"name", "l"}, {"spec", {{"behaviour", "ledger"}, {"supervisor", "s"}}}}})}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "agents[0].spec.behaviour");
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(kit->ask(name, "get", nullptr));
  crash(*kit, "b");
  EXPECT_EQ(lives(*kit), (numbers{0, 1, 0}));
  ASSERT_TRUE(kit->admin("directory.delete", {{"kind", "agent"}, {"name", "b"}}));
  kit->settle();
  EXPECT_EQ(kit->status(entity_kind::agent, "b"), "absent");
}

/// Whatever the order in which messages, commits and answers arrive: nothing is lost, and all are back.
TEST_F(SupervisionTest, RandomCrashesOfATreeHealWhateverTheOrder) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    seed_ = seed;
    random_source chance{seed};
    auto kit = make();
    const char* strategies[] = {"one_for_one", "one_for_all", "rest_for_one"};
    kit->add_supervisor("top", {{"strategy", strategies[chance.below(3)]}, {"intensity", 1000}});
    kit->add_supervisor("s", {{"strategy", strategies[chance.below(3)]}, {"intensity", chance.below(3)}, {"supervisor", "top"}});
    for (const char* name : {"a", "b", "c"}) apply(*kit, name, {{"behaviour", "ledger"}, {"shutdown_ms", chance.below(100)}});
    apply(*kit, "d", {{"behaviour", "ledger"}}, "top");
    std::vector<result<json>> answers;
    std::size_t asked = 0;
    std::size_t crashes = 0;
    const char* names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 60; ++i) {
      const bool crash_it = chance.one_in(6);
      ++asked;
      crashes += crash_it ? 1 : 0;
      kit->ask_later(names[chance.below(4)], crash_it ? "crash" : "append", {{"op", std::to_string(i)}}, answers);
      if (chance.one_in(3)) kit->advance(std::chrono::milliseconds{static_cast<int>(chance.below(20))});
    }
    kit->settle();
    std::string facts;
    for (const char* name : names) facts += kit->explain(name).dump() + "\n";
    for (const char* name : {"top", "s"}) facts += std::string(name) + " " + kit->status(entity_kind::supervisor, name) + "\n";
    ASSERT_EQ(answers.size(), asked) << "seed " << seed << "\n" << facts;
    std::size_t good = 0;
    for (const auto& a : answers) good += a ? 1 : 0;
    EXPECT_EQ(good, asked - crashes) << "seed " << seed;
    std::size_t kept = 0;
    for (const char* name : names) kept += ops_of(*kit, name).size();
    EXPECT_EQ(kept, asked - crashes) << "seed " << seed;
    for (const char* name : {"top", "s"}) {
      const auto status = kit->status(entity_kind::supervisor, name);
      EXPECT_TRUE(status == "running" || status == "inactive") << "seed " << seed << " " << name << " " << status;
    }
  }
}

TEST_F(SupervisionTest, ResetEmptiesTheLogAndItStaysEmptyAcrossRestarts) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(kit->ask("l", "append", {{"op", "old" + std::to_string(i)}}));
  EXPECT_EQ(ops_of(*kit, "l").size(), 5U);
  ASSERT_TRUE(kit->admin("entity.restart", {{"kind", "agent"}, {"name", "l"}, {"reset", true}}));
  kit->settle();
  EXPECT_EQ(ops_of(*kit, "l"), json::array());
  EXPECT_EQ(kit->ask("l", "append", {{"op", "new0"}})->at("count"), 1);
  EXPECT_EQ(kit->ask("l", "append", {{"op", "new1"}})->at("count"), 2);
  EXPECT_EQ(ops_of(*kit, "l"), json({"new0", "new1"}));
  kit->crash();
  EXPECT_EQ(ops_of(*kit, "l"), json({"new0", "new1"}));
  EXPECT_EQ(kit->ask("l", "list", {{"from", 1}, {"limit", 5}})->at("ops"), json({"new1"}));
}

/// State, log and more rows than one commit takes away.
static void fill(testkit& kit) {
  ASSERT_TRUE(kit.ask("p", "set", {{"value", "old"}}));
  ASSERT_TRUE(kit.ask("p", "run", json::object())); // a log entry
  ASSERT_TRUE(kit.ask("p", "fill", {{"rows", 2'300}}));
}
static void expect_empty(testkit& kit) {
  EXPECT_EQ(kit.ask("p", "get", nullptr)->at("value"), "");
  EXPECT_TRUE(kit.reader().items(kit.context(), kit.id_of("p"), "", "", 10)->empty());
}

TEST_F(SupervisionTest, ResetThatWasAcknowledgedIsCarriedOutWhateverCommitThePowerGoesAfter) {
  for (seed_ = 1; seed_ <= 2; ++seed_)
    crash_at_every_commit(
      [&] {
        auto kit = make();
        kit->add_agent("p", "puppet");
        fill(*kit);
        kit->settle();
        return kit;
      },
      [](testkit& kit) {
        while (!kit.admin("entity.restart", {{"kind", "agent"}, {"name", "p"}, {"reset", true}})) {}
        kit.settle();
      },
      expect_empty);
}

TEST_F(SupervisionTest, WhatIsWrittenAfterAResetStaysOverACrash) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  fill(*kit);
  command(*kit, "restart", "agent", "p", true);
  expect_empty(*kit);
  ASSERT_TRUE(kit->ask("p", "set", {{"value", "new"}}));
  kit->crash();
  EXPECT_EQ(kit->ask("p", "get", nullptr)->at("value"), "new");
}

TEST_F(SupervisionTest, ResetOfAnAgentBelowAStoppedSupervisorIsDoneWhenThatStarts) {
  auto kit = make();
  kit->add_supervisor("s");
  kit->add_agent("p", "puppet", json::object(), "s");
  fill(*kit);
  command(*kit, "stop", "supervisor", "s");
  command(*kit, "restart", "agent", "p", true);
  EXPECT_FALSE(kit->ask("p", "get", nullptr));
  kit->crash();
  command(*kit, "start", "supervisor", "s");
  expect_empty(*kit);
}

TEST_F(SupervisionTest, ResetGoesOnWhenTheStoreAnswersAgain) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  fill(*kit);
  int refused = 0;
  ASSERT_TRUE(kit->admin("entity.restart", {{"kind", "agent"}, {"name", "p"}, {"reset", true}}));
  kit->refuse_reads([&]() -> std::optional<error> {
    if (++refused > 5) return std::nullopt;
    return error{errc::unavailable, "store_unavailable", "away"};
  });
  kit->settle();
  expect_empty(*kit);
}

TEST_F(SupervisionTest, ChildrenThatCannotBeListedAreListedAgain) {
  auto kit = make();
  kit->add_supervisor("s", {{"strategy", "one_for_all"}});
  for (const char* name : {"a", "b", "c"}) kit->add_agent(name, "puppet", json::object(), "s");
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(kit->ask(name, "set", {{"value", name}}));
  const auto before = lives(*kit);
  int refused = 0;
  const auto away = [&]() -> std::optional<error> {
    if (++refused > 6) return std::nullopt;
    return error{errc::unavailable, "store_unavailable", "away"};
  };
  kit->refuse_reads(away);
  crash(*kit, "b");
  EXPECT_GT(refused, 6);
  kit->refuse_reads(nullptr);
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(lives(*kit)[i], before[i] + 1) << "all of the group began anew: " << i;

  refused = 0;
  ASSERT_TRUE(kit->admin("entity.stop", {{"kind", "supervisor"}, {"name", "s"}}));
  kit->refuse_reads(away);
  kit->settle();
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(kit->ask(name, "get", nullptr).error().reason, "stopped") << name;
}

} // namespace
} // namespace hive::actors
