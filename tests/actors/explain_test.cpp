// What the hive tells when somebody asks why: agents, supervisors, queues and tasks. (O9)
#include "actors/directory.hpp"
#include "actors/system/queue_explain.hpp"
#include "tests/actors/kit_fixture.hpp"

namespace hive::actors {
namespace {

class ExplainTest : public KitTest {
protected:
  static void stop(testkit& kit, const char* kind, const std::string& name) {
    ASSERT_TRUE(kit.admin("entity.stop", {{"kind", kind}, {"name", name}}));
    kit.settle();
  }
  static std::string waits_for(const json& explained) { return explained.contains("waits") ? explained["waits"]["for"].get<std::string>() : ""; }

  /// As `explain task/ID` has it from the queue.
  static json of_task(testkit& kit, const std::string& id, std::string* agent = nullptr) {
    const auto* memory = kit.memory_of(queue_of(kit.context().tenant(), 0U));
    if (!memory) return nullptr;
    entity_id who;
    auto e = explain_task(static_cast<const queue_memory&>(*memory), *scheduling::task_id_from(id), kit.now(), who);
    if (agent) *agent = who ? e.value("agent", "") : "";
    return e;
  }
  static std::string submit(testkit& kit, json body) {
    body["type"] = body.value("type", "sleep");
    if (!body.contains("payload")) body["payload"] = {{"ms", 60'000}};
    const auto made = kit.submit_task(body);
    EXPECT_TRUE(made) << to_string(made.error());
    kit.advance(std::chrono::milliseconds{50});
    return made ? made->at("id").get<std::string>() : "t0000000000000000";
  }
};

TEST_F(ExplainTest, IdleAgentHasItsFactsAndItsLastTurns) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  ASSERT_TRUE(kit->ask("p", "set", {{"value", "x"}}));
  EXPECT_FALSE(kit->ask("p", "fail", nullptr));
  EXPECT_FALSE(kit->ask("p", "no such type", nullptr));
  EXPECT_FALSE(kit->ask("p", "poison", nullptr));
  kit->settle();
  const auto e = kit->explain("p");
  EXPECT_EQ(e["active"], true);
  EXPECT_EQ(e["desired"], "running");
  EXPECT_EQ(e["status"], "idle");
  EXPECT_EQ(e["incarnation"], 1);
  EXPECT_EQ(e["last_error"], "poison");
  EXPECT_EQ(e["lanes"], json({{"system", 0}, {"urgent", 0}, {"user", 0}, {"bytes", 0}}));
  EXPECT_FALSE(e.contains("waits")) << "nothing keeps it from working";
  std::vector<std::string> turns;
  for (const auto& t : e["last_turns"]) turns.push_back(t["message"].get<std::string>() + " " + t["how"].get<std::string>());
  EXPECT_EQ(turns, (std::vector<std::string>{"poison crashed", "no such type refused", "fail failed", "set done"})) << "newest first";
  EXPECT_EQ(e["last_turns"][2]["why"], "said_no");
  EXPECT_GE(e["last_turns"][3]["ended"], e["last_turns"][3]["began"]);
}

TEST_F(ExplainTest, TurnSaysWhatItWaitsForAndLanesWhatIsBehindIt) {
  auto kit = make();
  for (const char* name : {"p", "slow"}) kit->add_agent(name, "puppet");
  std::vector<result<json>> answers;
  kit->ask_later("slow", "sleep", {{"ms", 5000}}, answers);
  kit->ask_later("p", "ask", {{"to", "slow"}, {"type", "get"}, {"body", nullptr}}, answers);
  kit->ask_later("p", "get", nullptr, answers);
  kit->ask_later("p", "get", nullptr, answers);
  kit->advance(std::chrono::milliseconds{100});
  const auto p = kit->explain("p");
  EXPECT_EQ(p["status"], "waiting");
  EXPECT_EQ(waits_for(p), "the answer of agent/slow");
  EXPECT_EQ(p["waits"]["message"], "ask");
  EXPECT_EQ(p["lanes"]["user"], 2);
  EXPECT_EQ(waits_for(kit->explain("slow")), "the time to come");
  EXPECT_GT(kit->explain("slow")["waits"]["until"], kit->explain("slow")["waits"]["since"]);
  kit->settle();
  EXPECT_EQ(answers.size(), 4U);
}

TEST_F(ExplainTest, WhoeverIsNotInMemoryIsExplainedFromTheStore) {
  config::settings quick;
  quick.passivation.idle = std::chrono::milliseconds{200};
  auto kit = make(quick);
  kit->add_supervisor("s");
  for (const char* name : {"a", "b"}) kit->add_agent(name, "puppet", json::object(), "s");
  ASSERT_TRUE(kit->ask("a", "set", {{"value", "x"}}));
  kit->advance(std::chrono::seconds{5});
  auto a = kit->explain("a");
  EXPECT_EQ(a["active"], false);
  EXPECT_EQ(a["status"], "inactive");
  EXPECT_EQ(a["desired"], "running");
  EXPECT_GT(a["version"], 0);
  EXPECT_EQ(a["last_turns"].size(), 1U) << "still known";
  stop(*kit, "supervisor", "s");
  kit->advance(std::chrono::seconds{5});
  for (const bool crashed : {false, true}) {
    if (crashed) kit->crash();
    a = kit->explain("a");
    EXPECT_EQ(a["active"], false);
    EXPECT_EQ(a["status"], "stopped");
    EXPECT_EQ(a["desired"], "running") << "its own";
    EXPECT_EQ(waits_for(a), "supervisor/s, which does not run");
    EXPECT_EQ(kit->explain("s", entity_kind::supervisor)["desired"], "stopped");
  }
}

TEST_F(ExplainTest, SupervisorTellsHowNearItIsToItsIntensity) {
  auto kit = make();
  kit->add_supervisor("s", {{"strategy", "one_for_one"}, {"intensity", 5}, {"backoff_ms", 1000}});
  kit->add_agent("a", "puppet", json::object(), "s");
  EXPECT_FALSE(kit->ask("a", "poison", nullptr));
  kit->advance(std::chrono::milliseconds{100});
  auto s = kit->explain("s", entity_kind::supervisor);
  EXPECT_EQ(s["supervises"], json({{"strategy", "one_for_one"}, {"intensity", 5}, {"period_ms", 5000}, {"restarts_in_period", 1}, {"children_in_backoff", 1}}));
  EXPECT_EQ(waits_for(kit->explain("a")), "its supervisor, which decides whether and when it begins a new life");
  kit->advance(std::chrono::milliseconds{1500});
  EXPECT_EQ(kit->explain("s", entity_kind::supervisor)["supervises"]["children_in_backoff"], 0);
  kit->crash();
  s = kit->explain("s", entity_kind::supervisor);
  EXPECT_EQ(s["active"], false);
  EXPECT_EQ(s["supervises"]["intensity"], 5) << "also when it is not in memory";
  EXPECT_EQ(waits_for(kit->explain("a")), "");
}

TEST_F(ExplainTest, TaskSaysWhatItWaitsFor) {
  config::settings s;
  s.tasks.breaker_failures = 1;
  s.tasks.breaker_open = std::chrono::milliseconds{60'000};
  auto kit = make(s);
  for (const char* name : {"one", "two", "failing"}) kit->add_agent(name, "puppet");
  const auto running = submit(*kit, {{"agent", "one"}});
  const auto behind = submit(*kit, {{"agent", "one"}});
  const auto last = submit(*kit, {{"agent", "one"}, {"priority", 5}});
  const auto after = submit(*kit, {{"agent", "two"}, {"depends_on", {running, behind}}});
  std::string agent;
  EXPECT_EQ(waits_for(of_task(*kit, running, &agent)), "the answer of agent/one");
  EXPECT_EQ(agent, "one");
  EXPECT_EQ(waits_for(of_task(*kit, behind)), "agent/one, which has 1 of the 1 tasks that it may have at a time; `hivectl queue limit one N` changes that");
  EXPECT_EQ(of_task(*kit, behind)["position"], 1);
  EXPECT_EQ(of_task(*kit, last)["position"], 2);
  EXPECT_EQ(waits_for(of_task(*kit, after)), "tasks that must succeed first");
  EXPECT_EQ(of_task(*kit, after)["waits"]["tasks"], json({running, behind}));

  const auto able = submit(*kit, {{"capability", "fly"}, {"complexity", 3}});
  EXPECT_EQ(waits_for(of_task(*kit, able)), "an agent with the capability \"fly\" up to complexity 3: there is none");

  submit(*kit, {{"agent", "failing"}, {"type", "poison"}});
  const auto broken = submit(*kit, {{"agent", "failing"}});
  EXPECT_EQ(waits_for(of_task(*kit, broken)), "the circuit breaker of agent/failing, which failed too often in a row");
  EXPECT_EQ(of_task(*kit, broken)["waits"]["breaker"]["state"], "open");

  ASSERT_TRUE(kit->queue("queue.control", {{"agent", "two"}, {"paused", true}}));
  const auto paused = submit(*kit, {{"agent", "two"}});
  EXPECT_EQ(waits_for(of_task(*kit, paused)), "agent/two, to which this queue is paused; `hivectl queue resume two` goes on");
  ASSERT_TRUE(kit->queue("queue.control", {{"paused", true}}));
  EXPECT_EQ(waits_for(of_task(*kit, paused)), "the queue, which is paused; `hivectl queue resume` goes on");

  const auto* memory = kit->memory_of(queue_of(kit->context().tenant(), 0U));
  ASSERT_NE(memory, nullptr);
  const auto q = explain_queue(static_cast<const queue_memory&>(*memory), kit->now());
  EXPECT_EQ(q["paused"], true);
  EXPECT_EQ(q["agents"][0]["agent"], "one") << "the busiest first: " << q.dump();
  EXPECT_EQ(q["agents"][0]["queued"], 2);
  EXPECT_TRUE(of_task(*kit, "t00000000000000ff").is_null());
}

TEST_F(ExplainTest, RetriesAndGroupsSayWhatTheyWaitFor) {
  auto kit = make();
  for (const char* name : {"one", "two"}) kit->add_agent(name, "puppet");
  const auto again = submit(*kit, {{"agent", "one"}, {"type", "fail"}, {"retry", {{"attempts", 3}, {"backoff_ms", 50'000}}}});
  EXPECT_EQ(waits_for(of_task(*kit, again)), "its next attempt, after its backoff and when the queue's budget for retries allows");
  EXPECT_GT(of_task(*kit, again)["waits"]["until"], kit->now().time_since_epoch().count());
  const json two = {{"agent", "two"}, {"type", "sleep"}, {"payload", {{"ms", 60'000}}}};
  const auto made = kit->submit_task({{"policy", "all"}, {"tasks", json::array({two, two})}});
  ASSERT_TRUE(made) << to_string(made.error());
  kit->advance(std::chrono::milliseconds{50});
  const auto group = of_task(*kit, made->at("id"));
  EXPECT_EQ(waits_for(group), "2 of its tasks, which have not ended");
  EXPECT_EQ(group["waits"]["tasks"], made->at("ids"));
}

} // namespace
} // namespace hive::actors
