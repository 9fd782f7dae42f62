// Tasks: durable work with a result. (R3, first part)
#include "actors/system/queue_explain.hpp"
#include "actors/system/queue_memory.hpp"
#include "tests/actors/tasks_fixture.hpp"

namespace hive::actors {
namespace {

class QueueTest : public KitTest {};

TEST_F(QueueTest, TaskRunsOnceAndKeepsItsResult) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  const auto t = kit->task("l", "append", {{"op", "a"}});
  ASSERT_TRUE(t);
  EXPECT_EQ(t->at("state"), "succeeded");
  EXPECT_EQ(t->at("result").at("count"), 1);
}

TEST_F(QueueTest, TaskWhoseAgentCrashesFailsWithTheReason) {
  auto kit = make();
  kit->add_agent("l", "ledger");
  const auto t = kit->task("l", "crash", nullptr);
  EXPECT_EQ(t->at("state"), "failed");
  EXPECT_EQ(t->at("error").at("reason"), "agent_crashed");
}

TEST_F(QueueTest, TaskForNobodyIsRefused) {
  auto kit = make();
  const auto t = kit->task("nobody", "x", nullptr);
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().code, errc::not_found);
  EXPECT_EQ(t.error().field, "agent");
}

TEST_F(QueueTest, LaterTurnMayFinishATaskWithProgressOnTheWay) {
  auto kit = make();
  kit->add_agent("p", "puppet");
  const auto t = kit->task("p", "work", nullptr);
  EXPECT_EQ(t->at("state"), "succeeded");
  EXPECT_EQ(t->at("result").at("done"), true);
  EXPECT_EQ(t->at("progress").at("note"), "half way");
}

TEST_F(QueueTest, TaskIsDoneOnceWhateverCommitThePowerGoesAfter) {
  crash_at_every_commit(
    [&] {
      auto kit = make();
      kit->add_agent("l", "ledger");
      return kit;
    },
    [](testkit& kit) { (void)kit.task("l", "append", {{"op", "a"}}); },
    [](testkit& kit) { EXPECT_LE(ops_of(kit, "l").size(), 1U); });
}

/// Everything of tasks, whatever the number of partitions.
class TasksTest : public TasksFixture, public ::testing::WithParamInterface<std::uint32_t> {
protected:
  std::unique_ptr<testkit> make_workers(config::settings settings = {}) {
    settings.tasks.partitions = GetParam();
    return TasksFixture::make_workers(std::move(settings));
  }
};
INSTANTIATE_TEST_SUITE_P(Partitions, TasksTest, ::testing::Values(1U, 2U, 4U));

TEST_P(TasksTest, SecondTaskOfAnAgentWaitsForTheFirst) {
  auto kit = make_workers();
  const auto a = submit(*kit, {{"agent", "w"}, {"type", "sleep"}});
  const auto b = submit(*kit, {{"agent", "w"}, {"type", "sleep"}});
  pass(*kit, 500);
  EXPECT_EQ(state(*kit, a), "running");
  EXPECT_EQ(state(*kit, b), "queued");
  pass(*kit, 1'000);
  EXPECT_EQ(state(*kit, a), "succeeded");
  EXPECT_EQ(state(*kit, b), "running");
  pass(*kit, 2'000);
  EXPECT_EQ(state(*kit, b), "succeeded");
}

TEST_P(TasksTest, CancelledTaskHasNoEffectWhereverItIs) {
  auto kit = make_workers();
  const auto running = submit(*kit, {{"agent", "w"}, {"type", "sleep"}});
  const auto queued = submit(*kit, {{"agent", "w"}, {"type", "sleep"}});
  const auto nested = submit(*kit, {{"agent", "v"}, {"type", "ask"}}); // its step waits in "inner"
  pass(*kit, 300);
  for (const auto& id : {running, queued, nested}) ASSERT_TRUE(kit->queue("task.cancel", {{"id", id}}));
  kit->run();
  for (const auto& id : {running, queued, nested}) EXPECT_EQ(state(*kit, id), "cancelled");
  pass(*kit, 10'000);
  EXPECT_EQ(ops_of(*kit, "ledger"), json::array()) << "neither the task's nor that of what it asked";
  EXPECT_EQ(kit->task("w", "now", nullptr)->at("state"), "succeeded") << "the agent is free again";
  const auto again = kit->queue("task.cancel", {{"id", running}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason, "task_ended");
}

TEST_P(TasksTest, CancelReachesATaskBehindAnotherMessageOfItsAgent) {
  config::settings s;
  s.tasks.concurrency = 3;
  auto kit = make_workers(s);
  const auto first = submit(*kit, {{"agent", "w"}, {"type", "sleep"}});
  const auto second = submit(*kit, {{"agent", "w"}, {"type", "x"}});
  const auto third = submit(*kit, {{"agent", "w"}, {"type", "y"}});
  pass(*kit, 100);
  ASSERT_TRUE(kit->queue("task.cancel", {{"id", second}}));
  pass(*kit, 5'000);
  EXPECT_EQ(state(*kit, first), "succeeded");
  EXPECT_EQ(state(*kit, second), "cancelled");
  EXPECT_EQ(state(*kit, third), "succeeded");
  EXPECT_EQ(ops_of(*kit, "ledger"), (json{"w.sleep", "w.y"}));
}

TEST_P(TasksTest, CancelMeansCancelWhateverCommitThePowerGoesAfter) {
  std::optional<std::size_t> at_acknowledgement; // effects that were there when the caller was told
  int acknowledged = 0;
  crash_at_every_commit([&] { return make_workers(); },
                        [&](testkit& kit) {
                          at_acknowledgement.reset();
                          const auto made = kit.submit_task({{"agent", "v"}, {"type", "ask"}});
                          if (!made) return;
                          const auto id = made->at("id").get<std::string>();
                          kit.advance(std::chrono::milliseconds{100});
                          for (int i = 0; i < 200 && !at_acknowledgement; ++i) { // a client that heard nothing asks again
                            (void)kit.queue("task.cancel", {{"id", id}});
                            if (state(kit, id) == "cancelled") at_acknowledgement = effects(kit);
                            kit.advance(std::chrono::milliseconds{10});
                          }
                        },
                        [&](testkit& kit) {
                          kit.advance(std::chrono::milliseconds{20'000});
                          if (!at_acknowledgement) return; // it ended before it could be cancelled
                          ++acknowledged;
                          EXPECT_EQ(effects(kit), *at_acknowledgement) << "an effect after the acknowledgement";
                        });
  EXPECT_GE(acknowledged, 10);
}

TEST_P(TasksTest, CancelOfWorkThatIsAnsweredLaterLastsUntilItsAgentSaysSo) {
  config::settings s;
  s.tasks.concurrency = 3;
  auto kit = make_workers(s);
  const auto told = submit(*kit, {{"agent", "later"}, {"type", "work"}});
  const auto deaf = submit(*kit, {{"agent", "later"}, {"type", "deaf"}});
  const auto nested = submit(*kit, {{"agent", "w"}, {"type", "ask_later"}}); // its step waits for it
  pass(*kit, 300);
  for (const auto& id : {told, deaf, nested}) ASSERT_TRUE(kit->queue("task.cancel", {{"id", id}}));
  pass(*kit, 100);
  EXPECT_EQ(state(*kit, told), "cancelled");
  EXPECT_EQ(state(*kit, nested), "cancelled");
  EXPECT_EQ(state(*kit, deaf), "running") << "nobody told its agent: it works";
  EXPECT_EQ(effects(*kit), 0U);
  pass(*kit, 2'000);
  EXPECT_EQ(state(*kit, deaf), "succeeded") << "the cancel came too late for it";
  EXPECT_EQ(effects(*kit), 1U);
  pass(*kit, 20'000);
  EXPECT_EQ(effects(*kit), 1U);
  const auto next = submit(*kit, {{"agent", "later"}, {"type", "work"}});
  pass(*kit, 2'000);
  EXPECT_EQ(state(*kit, next), "succeeded");
}

TEST_P(TasksTest, CancelOfWorkThatIsAnsweredLaterMeansCancelWhateverCommitThePowerGoesAfter) {
  std::optional<std::size_t> at_acknowledgement;
  int ended = 0;
  for (const char* type : {"work", "deaf"})
    crash_at_every_commit([&] { return make_workers(); },
                          [&](testkit& kit) {
                            at_acknowledgement.reset();
                            const auto made = kit.submit_task({{"agent", "later"}, {"type", type}});
                            if (!made) return;
                            const auto id = made->at("id").get<std::string>();
                            kit.advance(std::chrono::milliseconds{100});
                            for (int i = 0; i < 300 && !at_acknowledgement; ++i) {
                              (void)kit.queue("task.cancel", {{"id", id}});
                              const auto is = state(kit, id);
                              if (is == "cancelled") at_acknowledgement = effects(kit);
                              else if (is == "succeeded") at_acknowledgement = 1;
                              kit.advance(std::chrono::milliseconds{10});
                            }
                          },
                          [&](testkit& kit) {
                            kit.advance(std::chrono::milliseconds{20'000});
                            if (!at_acknowledgement) return;
                            ++ended;
                            EXPECT_EQ(effects(kit), *at_acknowledgement) << type << ": an effect after the acknowledgement, or none";
                          });
  EXPECT_GE(ended, 10);
}

TEST_P(TasksTest, WorkThatIsAnsweredLaterEndsWithItsAgent) {
  config::settings s;
  s.tasks.concurrency = 3;
  auto kit = make_workers(s);
  const auto waits = [&] {
    const auto id = submit(*kit, {{"agent", "later"}, {"type", "work"}, {"retry", {{"attempts", 1}}}});
    pass(*kit, 300);
    EXPECT_EQ(state(*kit, id), "running");
    return id;
  };
  const auto reset = waits();
  ASSERT_TRUE(kit->admin("entity.restart", {{"kind", "agent"}, {"name", "later"}, {"reset", true}}));
  pass(*kit, 100);
  EXPECT_EQ(kit->read_task(reset)->at("error").at("reason"), "reset");

  const auto stopped = waits();
  ASSERT_TRUE(kit->admin("entity.stop", {{"kind", "agent"}, {"name", "later"}}));
  ASSERT_TRUE(kit->queue("task.cancel", {{"id", stopped}}));
  pass(*kit, 100);
  EXPECT_EQ(state(*kit, stopped), "cancelled") << "there is nobody to wait for";
  ASSERT_TRUE(kit->admin("entity.start", {{"kind", "agent"}, {"name", "later"}}));
  pass(*kit, 100);

  const auto deleted = waits();
  ASSERT_TRUE(kit->admin("directory.delete", {{"kind", "agent"}, {"name", "later"}}));
  pass(*kit, 100);
  EXPECT_EQ(kit->read_task(deleted)->at("error").at("reason"), "deleted");
}

TEST_P(TasksTest, AnswersThatAnAgentPutsOffHaveABound) {
  config::settings s;
  s.tasks.concurrency = 3;
  s.entity.open_replies = 2;
  auto kit = make_workers(s);
  std::vector<std::string> all;
  for (int i = 0; i < 3; ++i) all.push_back(submit(*kit, {{"agent", "later"}, {"type", "work"}, {"retry", {{"attempts", 1}}}}));
  pass(*kit, 3'000);
  EXPECT_EQ(state(*kit, all[0]), "succeeded");
  EXPECT_EQ(state(*kit, all[1]), "succeeded");
  const auto third = kit->read_task(all[2]);
  EXPECT_EQ(third->at("state"), "failed");
  EXPECT_NE(third->at("error").at("message").get<std::string>().find("entity.open_replies"), std::string::npos) << third->dump();
}

TEST_P(TasksTest, RetriesAndDeadlinesSurviveACrash) {
  auto kit = make_workers();
  const auto dies = submit(*kit, {{"agent", "w"}, {"type", "no"}, {"retry", {{"attempts", 3}, {"backoff_ms", 200}}}});
  const auto late = submit(*kit, {{"agent", "v"}, {"type", "sleep"}, {"deadline_ms", 400}});
  kit->run();
  EXPECT_EQ(state(*kit, dies), "waiting");
  kit->crash();
  pass(*kit, 5'000);
  EXPECT_EQ(state(*kit, dies), "dead");
  EXPECT_EQ(kit->read_task(dies)->at("attempts"), 3);
  EXPECT_EQ(state(*kit, late), "failed");
  EXPECT_EQ(kit->read_task(late)->at("error").at("reason"), "deadline_passed");
  EXPECT_EQ(ops_of(*kit, "ledger"), json::array());
}

TEST_P(TasksTest, GroupRunsAsItsGraphSaysAndUndoesInReverse) {
  auto kit = make_workers();
  const json undo{{"agent", "ledger"}, {"type", "append"}};
  const auto step = [&](const char* name, json needs, bool fails) {
    json u = undo;
    u["payload"] = {{"op", std::string("undo ") + name}};
    return json{{"agent", fails ? "w" : "ledger"}, {"type", fails ? "no" : "append"}, {"payload", {{"op", name}}}, {"name", name}, {"depends_on", needs}, {"undo", u}};
  };
  const auto group = submit(*kit, {{"policy", "all"}, {"tasks", {step("c", {"b"}, true), step("a", json::array(), false), step("b", {"a"}, false)}}});
  pass(*kit, 1'000);
  EXPECT_EQ(state(*kit, group), "failed");
  EXPECT_EQ(ops_of(*kit, "ledger"), (json{"a", "b", "undo b", "undo a"}));
}

TEST_P(TasksTest, GroupSurvivesWhateverCommitThePowerGoesAfter) {
  crash_at_every_commit([&] { return make_workers(); },
                        [](testkit& kit) {
                          const json undo{{"agent", "ledger"}, {"type", "append"}, {"payload", {{"op", "undo"}}}};
                          (void)kit.submit_task({{"policy", "all"},
                                                 {"tasks", {{{"agent", "ledger"}, {"type", "append"}, {"payload", {{"op", "do"}}}, {"name", "a"}, {"undo", undo}},
                                                            {{"agent", "w"}, {"type", "no"}, {"name", "b"}, {"depends_on", {"a"}}}}}});
                        },
                        [](testkit& kit) {
                          kit.advance(std::chrono::milliseconds{10'000});
                          const auto tasks = tasks_of(kit);
                          for (const auto& t : tasks) EXPECT_TRUE(scheduling::ended(t.report.status.state)) << scheduling::to_json(t);
                          EXPECT_EQ(ops_of(kit, "ledger"), tasks.empty() ? json::array() : (json{"do", "undo"}));
                        });
}

TEST_P(TasksTest, BehaviourWaitsForATaskOfItsOwn) {
  auto kit = make_workers();
  const auto alone = kit->ask("boss", "go", {{"agent", "w"}, {"type", "sleep"}});
  ASSERT_TRUE(alone) << to_string(alone.error());
  EXPECT_EQ(alone->at("by"), "w");
  const auto failing = kit->ask("boss", "go", {{"agent", "w"}, {"type", "no"}});
  ASSERT_FALSE(failing);
  EXPECT_EQ(failing.error().reason, "agent_crashed");
  const auto nobody = kit->ask("boss", "go", {{"agent", "nobody"}, {"type", "no"}});
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().reason, "not_found");
  const auto wrong = kit->ask("boss", "go", {{"agent", "w"}, {"type", "x"}, {"priority", 9}});
  ASSERT_FALSE(wrong);
  const auto late = kit->ask("boss", "go", {{"capability", "nobody-has-it"}, {"type", "x"}});
  ASSERT_FALSE(late);
  EXPECT_EQ(ops_of(*kit, "ledger"), (json{"w.sleep", "boss", "boss", "boss", "boss", "boss"}));
}

TEST_P(TasksTest, BehaviourFansOutAndHearsWhoFailed) {
  auto kit = make_workers();
  const auto one = [](const char* name, const char* agent, const char* type) { return json{{"name", name}, {"agent", agent}, {"type", type}}; };
  const json three{one("a", "w", "x"), one("b", "v", "no"), one("c", "inner", "x")};
  const auto r = kit->ask("boss", "go", {{"policy", "best_effort"}, {"tasks", three}});
  ASSERT_TRUE(r) << to_string(r.error());
  EXPECT_EQ(r->at("state"), "succeeded");
  ASSERT_EQ(r->at("tasks").size(), 3U);
  EXPECT_EQ(r->at("tasks")[0].at("result").at("by"), "w");
  EXPECT_EQ(r->at("tasks")[1].at("name"), "b");
  EXPECT_EQ(r->at("tasks")[1].at("state"), "failed");
  EXPECT_EQ(r->at("tasks")[1].at("error").at("reason"), "agent_crashed");
  const auto all = kit->ask("boss", "go", {{"policy", "all"}, {"tasks", three}});
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().reason, "group_failed");
  const auto loose = kit->ask("boss", "go", {{"tasks", three}});
  ASSERT_FALSE(loose);
  EXPECT_NE(loose.error().message.find("policy"), std::string::npos);
}

TEST_P(TasksTest, TaskForOneWhoWaitsForItIsACycle) {
  auto kit = make_workers();
  const auto own = kit->ask("boss", "go", {{"agent", "boss"}, {"type", "go"}, {"payload", nullptr}});
  ASSERT_FALSE(own);
  EXPECT_EQ(own.error().reason, "cycle");
  const json back{{"agent", "boss"}, {"type", "go"}, {"payload", {{"agent", "w"}, {"type", "x"}}}};
  const auto around = kit->ask("boss", "go", {{"agent", "boss-2"}, {"type", "go"}, {"payload", back}});
  ASSERT_FALSE(around);
  EXPECT_EQ(around.error().reason, "cycle");
}

TEST_P(TasksTest, SubmittedTaskBelongsToTheTaskThatSubmittedIt) {
  auto kit = make_workers();
  const auto parent = submit(*kit, {{"agent", "boss"}, {"type", "submit"}, {"payload", {{"agent", "w"}, {"type", "x"}}}});
  pass(*kit, 1'000);
  EXPECT_EQ(state(*kit, parent), "succeeded");
  const auto tasks = tasks_of(*kit);
  ASSERT_EQ(tasks.size(), 2U);
  EXPECT_EQ(scheduling::to_text(tasks.back().record.parent()), parent);
  EXPECT_EQ(ops_of(*kit, "ledger"), json{"w.x"});
}

TEST_P(TasksTest, CancelReachesWhatATaskHasDoneByOthers) {
  auto kit = make_workers();
  const auto as_task = submit(*kit, {{"agent", "boss"}, {"type", "go"}, {"payload", {{"agent", "w"}, {"type", "sleep"}}}});
  pass(*kit, 300);
  ASSERT_TRUE(kit->queue("task.cancel", {{"id", as_task}}));
  pass(*kit, 10'000);
  EXPECT_EQ(state(*kit, as_task), "cancelled");
  const auto tasks = tasks_of(*kit);
  for (const auto& t : tasks) EXPECT_EQ(t.report.status.state, scheduling::task_state::cancelled);
  EXPECT_EQ(ops_of(*kit, "ledger"), json::array());
}

TEST_P(TasksTest, TaskOfABehaviourIsDoneOnceWhateverCommitThePowerGoesAfter) {
  crash_at_every_commit([&] { return make_workers(); },
                        [](testkit& kit) {
                          const json both{{"policy", "all"}, {"tasks", {{{"agent", "w"}, {"type", "x"}}, {{"agent", "v"}, {"type", "x"}}}}};
                          (void)kit.submit_task({{"agent", "boss"}, {"type", "go"}, {"payload", both}});
                        },
                        [](testkit& kit) {
                          kit.advance(std::chrono::milliseconds{10'000});
                          const auto tasks = tasks_of(kit);
                          for (const auto& t : tasks) EXPECT_EQ(t.report.status.state, scheduling::task_state::succeeded) << scheduling::to_json(t);
                          auto ops = ops_of(kit, "ledger");
                          std::sort(ops.begin(), ops.end());
                          EXPECT_EQ(ops, tasks.empty() ? json::array() : (json{"boss", "v.x", "w.x"}));
                        });
}

TEST_P(TasksTest, CapabilityFindsAnAgentAlsoOneThatComesLater) {
  auto kit = make_workers();
  const auto t = submit(*kit, {{"capability", "math"}, {"complexity", 4}, {"type", "x"}});
  kit->run();
  EXPECT_EQ(state(*kit, t), "queued");
  const auto add = [&](const std::string& name, json can) {
    ASSERT_TRUE(kit->admin("directory.apply", {{"agents", {{{"name", name}, {"spec", {{"behaviour", "slow"}, {"capabilities", can}}}}}}}));
    kit->run();
  };
  add("weak", {"math:3"});
  EXPECT_EQ(state(*kit, t), "queued");
  add("able", {"math:5"});
  pass(*kit, 100);
  EXPECT_EQ(state(*kit, t), "succeeded");
  EXPECT_EQ(kit->read_task(t)->at("agent"), "able");
}

TEST_P(TasksTest, PausedAgentAndQueueStayPausedOverACrash) {
  auto kit = make_workers();
  ASSERT_TRUE(kit->queue("queue.control", {{"agent", "w"}, {"paused", true}}));
  const auto t = submit(*kit, {{"agent", "w"}, {"type", "x"}});
  kit->crash();
  pass(*kit, 1'000);
  EXPECT_EQ(state(*kit, t), "queued");
  EXPECT_EQ(kit->task("v", "x", nullptr)->at("state"), "succeeded");
  ASSERT_TRUE(kit->queue("queue.control", {{"agent", "w"}, {"paused", false}}));
  pass(*kit, 1'000);
  EXPECT_EQ(state(*kit, t), "succeeded");
}

TEST_P(TasksTest, ScheduleSubmitsOneTaskForEachSlotAcrossCrashes) {
  auto kit = make_workers();
  ASSERT_TRUE(kit->queue("schedule.put", {{"name", "beat"},
                                          {"spec", {{"every_ms", 1'000}, {"catch_up", "all"}, {"catch_up_max", 100},
                                                    {"task", {{"agent", "ledger"}, {"type", "append"}, {"payload", {{"op", "beat"}}}}}}}}));
  pass(*kit, 3'500);
  EXPECT_EQ(ops_of(*kit, "ledger").size(), 3U);
  kit->crash();
  pass(*kit, 3'000);
  EXPECT_EQ(ops_of(*kit, "ledger").size(), 6U);
  ASSERT_TRUE(kit->queue("schedule.delete", {{"name", "beat"}}));
  pass(*kit, 5'000);
  EXPECT_EQ(ops_of(*kit, "ledger").size(), 6U);
  EXPECT_EQ(kit->queue("schedule.delete", {{"name", "beat"}}).error().code, errc::not_found);
}

TEST_P(TasksTest, SchedulePutAgainBeforeEachSlotStillFires) {
  auto kit = make_workers();
  const json put{{"name", "beat"}, {"spec", {{"every_ms", 1'000}, {"task", {{"agent", "ledger"}, {"type", "append"}, {"payload", {{"op", "beat"}}}}}}}};
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(kit->queue("schedule.put", put));
    pass(*kit, 400);
  }
  EXPECT_GE(ops_of(*kit, "ledger").size(), 3U);
}

TEST_P(TasksTest, ScheduleThatNeverWorksSaysSo) {
  auto kit = make_workers();
  const auto row = [&](const std::string& name) { return json::parse(**kit->reader().item(kit->context(), queue_of(kit->context().tenant(), 0U), "schedule/" + name)); };
  ASSERT_TRUE(kit->queue("schedule.put", {{"name", "lost"}, {"spec", {{"every_ms", 1'000}, {"task", {{"agent", "nobody"}, {"type", "x"}}}}}}));
  ASSERT_TRUE(kit->queue("schedule.put", {{"name", "well"}, {"spec", {{"every_ms", 1'000}, {"task", {{"agent", "ledger"}, {"type", "append"}, {"payload", {{"op", "x"}}}}}}}}));
  pass(*kit, 2'500);
  EXPECT_EQ(row("lost").at("failed"), 2);
  EXPECT_EQ(row("lost").at("fired"), 0);
  EXPECT_EQ(row("lost").at("last_error").at("reason"), "not_found");
  EXPECT_EQ(row("well").at("fired"), 2);
  EXPECT_FALSE(row("well").contains("failed"));
  const auto* memory = kit->memory_of(queue_of(kit->context().tenant(), 0U));
  ASSERT_NE(memory, nullptr);
  const auto told = explain_queue(static_cast<const queue_memory&>(*memory), kit->now());
  ASSERT_EQ(told.at("schedules_failing").size(), 1U) << told;
  EXPECT_EQ(told.at("schedules_failing")[0].at("schedule"), "lost");
}

TEST_P(TasksTest, SlotOfAFullQueueCountsAsFailed) {
  config::settings s;
  s.tasks.live = 8;
  auto kit = make_workers(s);
  ASSERT_TRUE(kit->queue("schedule.put", {{"name", "beat"}, {"spec", {{"every_ms", 100}, {"task", {{"agent", "w"}, {"type", "sleep"}}}}}}));
  pass(*kit, 2'050);
  const auto row = json::parse(**kit->reader().item(kit->context(), queue_of(kit->context().tenant(), 0U), "schedule/beat"));
  EXPECT_EQ(row.at("fired").get<int>() + row.at("failed").get<int>(), 20);
  EXPECT_EQ(row.at("last_error").at("reason"), "queue_full");
}

TEST_P(TasksTest, AttemptThatAStoppedAgentRefusesIsTheQueuesAndNoDeadLetter) {
  auto kit = make_workers();
  const auto letters = [&] { return kit->reader().dead_letters(kit->context(), 0, 10)->size(); };
  ASSERT_TRUE(kit->admin("entity.stop", {{"kind", "agent"}, {"name", "w"}}));
  kit->settle();
  const json retry{{"attempts", 20}, {"backoff_ms", 500}, {"backoff_max_ms", 500}};
  const auto kept = submit(*kit, {{"agent", "w"}, {"type", "x"}, {"retry", retry}});
  const auto able = submit(*kit, {{"tasks", {{{"agent", "w"}, {"type", "y"}, {"retry", retry}}, {{"agent", "v"}, {"type", "z"}}}}, {"policy", "all"}}); // may be lent
  const auto gone = submit(*kit, {{"agent", "w"}, {"type", "gone"}, {"retry", retry}});
  pass(*kit, 1'200);
  EXPECT_EQ(kit->read_task(kept)->at("error").at("reason"), "receiver_stopped");
  ASSERT_TRUE(kit->queue("task.cancel", {{"id", gone}}));
  ASSERT_TRUE(kit->admin("entity.start", {{"kind", "agent"}, {"name", "w"}}));
  pass(*kit, 300'000);
  EXPECT_EQ(state(*kit, kept), "succeeded");
  EXPECT_EQ(state(*kit, able), "succeeded");
  EXPECT_EQ(state(*kit, gone), "cancelled");
  EXPECT_EQ(letters(), 0U);
  for (const auto& [type, source] : kit->events()) EXPECT_NE(type, "message.dead_letter") << source;
  EXPECT_EQ(effects(*kit), 3U);
}

TEST_P(TasksTest, EndedTasksAreForgottenAfterTheirRetention) {
  config::settings s;
  s.keep.tasks = std::chrono::milliseconds{60'000};
  auto kit = make_workers(s);
  for (int round = 0; round < 2; ++round) { // and nobody does anything meanwhile
    std::vector<std::string> old;
    for (int i = 0; i < 450; ++i) old.push_back(kit->task("ledger", "append", {{"op", "x"}})->at("id").get<std::string>());
    pass(*kit, 50'000);
    EXPECT_TRUE(kit->read_task(old.back()));
    kit->crash();
    pass(*kit, 20'000);
    for (const auto& id : old) EXPECT_FALSE(kit->read_task(id)) << id;
  }
}

TEST_P(TasksTest, StoppedAgentUsesUpNoTaskThatACapabilityGaveIt) {
  auto kit = make_workers();
  ASSERT_TRUE(kit->admin("directory.apply", {{"agents", {{{"name", "able"}, {"spec", {{"behaviour", "slow"}, {"capabilities", {"x"}}}}}}}}));
  ASSERT_TRUE(kit->admin("entity.stop", {{"kind", "agent"}, {"name", "able"}}));
  pass(*kit, 500);
  const auto id = kit->submit_task({{"capability", "x"}, {"type", "work"}})->at("id").get<std::string>();
  pass(*kit, 3'000);
  EXPECT_EQ(state(*kit, id), "queued");
  ASSERT_TRUE(kit->admin("entity.start", {{"kind", "agent"}, {"name", "able"}}));
  pass(*kit, 20'000);
  EXPECT_EQ(state(*kit, id), "succeeded");
}

TEST_P(TasksTest, ResultsOfSchedulesAreForgottenToo) {
  config::settings s;
  s.keep.tasks = std::chrono::milliseconds{2'000};
  auto kit = make_workers(s);
  ASSERT_TRUE(kit->queue("schedule.put", {{"name", "beat"}, {"spec", {{"every_ms", 1'000}, {"task", {{"agent", "ledger"}, {"type", "append"}, {"payload", {{"op", "beat"}}}}}}}}));
  pass(*kit, 1'500);
  const auto first = kit->queue("schedule.put", {{"name", "beat"}, {"spec", {{"every_ms", 1'000}, {"paused", true}, {"task", {{"agent", "ledger"}, {"type", "append"}, {"payload", {{"op", "beat"}}}}}}}})->at("last_task").get<std::string>();
  EXPECT_TRUE(kit->read_task(first));
  pass(*kit, 4'000);
  EXPECT_FALSE(kit->read_task(first));
}

} // namespace
} // namespace hive::actors
