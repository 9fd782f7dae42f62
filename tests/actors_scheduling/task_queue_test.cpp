#include "actors/scheduling/task_queue.hpp"

#include "actors/scheduling/task_rows.hpp"

#include <gtest/gtest.h>

namespace hive::actors::scheduling {
namespace {

using std::chrono::milliseconds;
constexpr tenant_id tenant{1};

/// A queue whose agents answer when the test says so.
class TaskQueueTest : public ::testing::Test {
protected:
  TaskQueueTest() { core_.emplace(limits(), now_); }
  static queue_limits limits() {
    queue_limits l;
    l.breaker.failures = 3;
    return l;
  }
  static entity_id agent(int n) { return {tenant, static_cast<std::uint64_t>(100 + n)}; }
  task_spec spec(int agent_number) {
    task_spec s;
    s.id = core_->next_id(now_);
    s.agent = agent(agent_number);
    s.submitted = now_;
    core_->agent(s.agent, "a" + std::to_string(agent_number));
    return s;
  }
  task_id add(task_spec s) {
    const auto id = s.id;
    core_->submit(std::move(s), now_, chance_);
    drain();
    return id;
  }
  task_id add(int agent_number) { return add(spec(agent_number)); }
  task_id child(task_id parent, int agent_number, int undo_agent = 0) {
    auto s = spec(agent_number);
    s.parent = parent;
    if (undo_agent != 0) {
      s.undo_agent = agent(undo_agent);
      core_->agent(s.undo_agent, "u");
    }
    return add(s);
  }
  task_id group(fan_in policy, std::uint32_t quorum = 0) {
    task_spec s;
    s.id = core_->next_id(now_);
    s.submitted = now_;
    s.group = policy;
    s.quorum = quorum;
    return add(s);
  }
  void drain() {
    while (core_->next_wake() <= now_) core_->wake(now_, chance_);
    auto out = core_->take();
    for (auto& m : out.messages) sent_.push_back(m);
    for (auto& [id, status] : out.ended) over_[id] = status;
    for (auto& s : out.created) created_.push_back(s);
  }
  void answer(task_id id, verdict v) {
    core_->answer(id, core_->find(id)->attempt, v, now_, chance_);
    drain();
  }
  void succeed(task_id id) { answer(id, {}); }
  void fail(task_id id, bool final = false) { answer(id, {verdict::kind::failed, final, {"no", "said no", {}}}); }
  void acknowledge(task_id id) { answer(id, {verdict::kind::cancelled, false, {"cancelled", "", {}}}); }
  void cancel(task_id id) {
    core_->cancel(id, now_, chance_);
    drain();
  }
  /// The node dies: all that is left is the rows of these.
  void restart(const std::vector<task_id>& ids) {
    std::vector<std::pair<task_spec, task_status>> rows;
    for (const auto id : ids) rows.emplace_back(*core_->find(id), *core_->find(id));
    core_.emplace(limits(), now_);
    for (auto& [spec, status] : rows) {
      core_->agent(spec.agent, "a" + std::to_string(spec.agent.serial() - 100));
      core_->restore(std::move(spec), std::move(status));
    }
    core_->restored({}, now_, chance_);
    drain();
  }
  void pass(milliseconds time) {
    now_ += time;
    drain();
  }
  task_state state(task_id id) { return over_.contains(id) ? over_[id].state : core_->find(id) ? core_->find(id)->state : task_state::queued; }
  std::vector<task_id> begun() {
    std::vector<task_id> ids;
    for (const auto& m : std::exchange(sent_, {}))
      if (!m.recall) ids.push_back(m.task);
    return ids;
  }
  std::vector<task_id> recalled() {
    std::vector<task_id> ids;
    for (const auto& m : std::exchange(sent_, {}))
      if (m.recall) ids.push_back(m.task);
    return ids;
  }

  wall_time now_{milliseconds{1'700'000'000'000}};
  random_source chance_{1};
  std::optional<task_queue> core_;
  std::vector<queue_effects::assignment> sent_;
  std::map<task_id, task_status> over_;
  std::vector<task_spec> created_;
};

TEST_F(TaskQueueTest, QueueThatFillsUpRefusesTheLowestPriorityFirst) {
  auto l = limits();
  l.tasks = 100;
  core_.emplace(l, now_);
  for (int i = 0; i < 79; ++i) add(1);
  EXPECT_FALSE(core_->full(1, 5));
  add(1);
  EXPECT_TRUE(core_->full(1, 5));
  EXPECT_FALSE(core_->full(1, 3));
  for (int i = 80; i < 100; ++i) {
    EXPECT_FALSE(core_->full(1, 1)) << i;
    add(1);
  }
  EXPECT_TRUE(core_->full(1, 1));
}

TEST_F(TaskQueueTest, AgentHasOneAtATimeAndTheOthersKeepTheirPlaces) {
  const auto a = add(1), b = add(1), c = add(1);
  EXPECT_EQ(begun(), std::vector{a});
  EXPECT_EQ(core_->position(b), 0U);
  EXPECT_EQ(core_->position(c), 1U);
  succeed(a);
  EXPECT_EQ(begun(), std::vector{b});
  EXPECT_EQ(core_->position(c), 0U);
}

TEST_F(TaskQueueTest, PriorityGoesFirstUntilAgeOutweighsIt) {
  const auto running = add(1);
  auto low = spec(1);
  low.priority = 5;
  const auto patient = add(low);
  pass(milliseconds{30'000});
  const auto normal = add(1); // 30 s younger; two steps of 10 s ahead
  auto high = spec(1);
  high.priority = 1;
  const auto urgent = add(high);
  begun();
  succeed(running);
  EXPECT_EQ(begun(), std::vector{urgent});
  succeed(urgent);
  EXPECT_EQ(begun(), std::vector{patient}) << "it waited for longer than its priority takes back";
  succeed(patient);
  EXPECT_EQ(begun(), std::vector{normal});
}

TEST_F(TaskQueueTest, OldAttemptsAnswerIsIgnored) {
  auto s = spec(1);
  s.retry.attempts = 3;
  const auto t = add(s);
  fail(t);
  EXPECT_EQ(state(t), task_state::waiting);
  pass(milliseconds{2'000});
  ASSERT_EQ(core_->find(t)->attempt, 2U);
  EXPECT_FALSE(core_->answer(t, 1, {}, now_, chance_));
  EXPECT_EQ(state(t), task_state::running);
  EXPECT_TRUE(core_->answer(t, 2, {}, now_, chance_));
  EXPECT_FALSE(core_->answer(t, 2, {}, now_, chance_)) << "and only once";
}

TEST_F(TaskQueueTest, RetriesBackOffAndEndDead) {
  auto s = spec(1);
  s.retry = {3, milliseconds{1'000}, milliseconds{60'000}};
  const auto t = add(s);
  fail(t);
  EXPECT_GE(core_->find(t)->not_before, now_ + milliseconds{500});
  EXPECT_LE(core_->find(t)->not_before, now_ + milliseconds{1'000});
  pass(milliseconds{1'000});
  fail(t);
  EXPECT_GE(core_->find(t)->not_before, now_ + milliseconds{1'000});
  EXPECT_LE(core_->find(t)->not_before, now_ + milliseconds{2'000});
  pass(milliseconds{2'000});
  ASSERT_EQ(core_->find(t)->past.size(), 2U);
  EXPECT_EQ(core_->find(t)->past[0].error.reason, "no");
  EXPECT_EQ(core_->find(t)->past[1].number, 2U);
  EXPECT_EQ(core_->find(t)->past[1].agent, "a1");
  EXPECT_EQ(core_->find(t)->past[1].ended, now_ - milliseconds{2'000});
  fail(t);
  EXPECT_EQ(state(t), task_state::dead);
  EXPECT_EQ(over_[t].past.size(), 2U) << "the last one's error is the task's";
}

TEST_F(TaskQueueTest, OfPastAttemptsTheLastAreKeptAndTheirMessagesCut) {
  auto s = spec(1);
  s.retry = {20, milliseconds{1}, milliseconds{1}};
  const auto t = add(s);
  verdict wordy;
  wordy.what = verdict::kind::failed;
  wordy.error.reason = "no";
  wordy.error.message.assign(past_message_max - 1, 'x');
  wordy.error.message += "é";
  for (int i = 0; i < 15; ++i) {
    answer(t, wordy);
    core_->find_agent(agent(1))->breaker.succeeded();
    pass(milliseconds{1});
  }
  const auto& past = core_->find(t)->past;
  ASSERT_EQ(past.size(), past_attempts_max);
  EXPECT_EQ(past.back().number, 15U);
  EXPECT_EQ(past.back().error.message, std::string(past_message_max - 1, 'x'));
}

TEST_F(TaskQueueTest, WrongRequestIsNotTriedAgain) {
  auto s = spec(1);
  s.retry.attempts = 9;
  const auto t = add(s);
  fail(t, true);
  EXPECT_EQ(state(t), task_state::failed);
}

TEST_F(TaskQueueTest, DeadlineEndsWhatWaitsAndRecallsWhatRuns) {
  auto s = spec(1);
  s.deadline = now_ + milliseconds{100};
  const auto running = add(s);
  s = spec(1);
  s.deadline = now_ + milliseconds{100};
  const auto queued = add(s);
  begun();
  pass(milliseconds{100});
  EXPECT_EQ(state(queued), task_state::failed);
  EXPECT_EQ(over_[queued].error.reason, "deadline_passed");
  EXPECT_EQ(state(running), task_state::running) << "until its agent has acknowledged";
  EXPECT_EQ(recalled(), std::vector{running});
  acknowledge(running);
  EXPECT_EQ(state(running), task_state::failed);
  EXPECT_EQ(over_[running].error.reason, "deadline_passed");
}

TEST_F(TaskQueueTest, CancelledTaskEndsByItsAgentsWordOnly) {
  const auto t = add(1);
  begun();
  cancel(t);
  EXPECT_EQ(state(t), task_state::running);
  EXPECT_EQ(recalled(), std::vector{t});
  cancel(t);
  EXPECT_TRUE(recalled().empty()) << "once is enough";
  acknowledge(t);
  EXPECT_EQ(state(t), task_state::cancelled);
}

TEST_F(TaskQueueTest, CancelThatCameTooLateSaysSo) {
  const auto t = add(1);
  cancel(t);
  succeed(t);
  EXPECT_EQ(state(t), task_state::succeeded);
}

TEST_F(TaskQueueTest, WholeTreeOfWorkIsCancelledBeforeItsRootSaysSo) {
  const auto root = add(1);
  const auto left = child(root, 2);
  const auto right = child(root, 3);
  const auto leaf = child(left, 4);
  const auto queued = child(left, 4);
  begun();
  cancel(root);
  EXPECT_EQ(recalled(), (std::vector{root, left, right, leaf}));
  EXPECT_EQ(state(queued), task_state::cancelled);
  acknowledge(root);
  acknowledge(left);
  acknowledge(right);
  EXPECT_FALSE(over_.contains(root)) << "a leaf still runs";
  EXPECT_FALSE(over_.contains(left));
  acknowledge(leaf);
  EXPECT_EQ(state(left), task_state::cancelled);
  EXPECT_EQ(state(root), task_state::cancelled);
}

TEST_F(TaskQueueTest, CancelReachesWhatIsUnderOneThatHasEnded) {
  for (const bool restarted : {false, true}) {
    const auto root = add(1);
    const auto middle = child(root, 2);
    const auto leaf = child(middle, 3);
    const auto waits = child(middle, 3);
    succeed(middle);
    begun();
    if (restarted) restart({root, middle, leaf, waits});
    cancel(root);
    EXPECT_EQ(recalled(), (std::vector{root, leaf}));
    EXPECT_EQ(state(waits), task_state::cancelled);
    acknowledge(root);
    EXPECT_FALSE(over_.contains(root)) << "the leaf still runs";
    acknowledge(leaf);
    EXPECT_EQ(state(root), task_state::cancelled);
    EXPECT_EQ(core_->size(), 0U) << "nothing is kept for nobody";
  }
}

TEST_F(TaskQueueTest, WhatHasEndedIsKeptAsLongAsSomethingUnderItHasNot) {
  const auto root = add(1);
  const auto middle = child(root, 2);
  const auto leaf = child(middle, 3);
  succeed(root);
  succeed(middle);
  EXPECT_EQ(core_->size(), 3U);
  EXPECT_FALSE(core_->cancel(root, now_, chance_));
  succeed(leaf);
  EXPECT_EQ(core_->size(), 0U);
}

TEST_F(TaskQueueTest, GroupThatSucceedsLeavesTheWorkUnderItsTasksAlone) {
  const auto g = group(fan_in::first);
  const auto winner = child(g, 1);
  const auto goes_on = child(winner, 2);
  const auto loser = child(g, 3);
  const auto lost = child(loser, 4);
  begun();
  succeed(winner);
  EXPECT_EQ(recalled(), (std::vector{loser, lost}));
  acknowledge(loser);
  acknowledge(lost);
  EXPECT_EQ(state(g), task_state::succeeded);
  EXPECT_EQ(state(goes_on), task_state::running);
  succeed(goes_on);
  EXPECT_EQ(core_->size(), 0U);
}

TEST_F(TaskQueueTest, ChildOfWhatHasEndedDoesNotBegin) {
  const auto root = add(1);
  succeed(root);
  begun();
  const auto late = child(root, 2);
  EXPECT_EQ(state(late), task_state::cancelled);
  EXPECT_TRUE(begun().empty());
}

TEST_F(TaskQueueTest, DependentWaitsAndFailsWithWhatItNeeds) {
  const auto a = add(1);
  auto s = spec(2);
  s.needs = {{a, false}};
  const auto b = add(s);
  s = spec(3);
  s.needs = {{b, false}};
  const auto c = add(s);
  s = spec(3);
  s.needs = {{b, true}};
  const auto either = add(s);
  EXPECT_EQ(begun(), std::vector{a});
  succeed(a);
  EXPECT_EQ(begun(), std::vector{b});
  fail(b);
  EXPECT_EQ(state(c), task_state::failed);
  EXPECT_EQ(over_[c].error.reason, "dependency_failed");
  EXPECT_EQ(begun(), std::vector{either});
}

TEST_F(TaskQueueTest, LongChainOfFailuresNeedsNoDeepStack) {
  const auto first = add(1);
  auto before = first;
  for (int i = 0; i < 50'000; ++i) {
    auto s = spec(1);
    s.needs = {{before, false}};
    before = add(s);
  }
  fail(first);
  EXPECT_EQ(state(before), task_state::failed);
  EXPECT_EQ(core_->size(), 0U);
}

struct group_case {
  fan_in policy;
  std::uint32_t quorum;
  std::string ends;    ///< Of three tasks in order: 's' or 'f'.
  task_state state;    ///< Of the group after these.
  std::size_t recalls; ///< Of those that are not needed any more.
};
TEST_F(TaskQueueTest, GroupsByTheTable) {
  const std::vector<group_case> table{
    {fan_in::all, 0, "sss", task_state::succeeded, 0}, {fan_in::all, 0, "ss", task_state::running, 0},    {fan_in::all, 0, "f", task_state::failed, 2},
    {fan_in::all, 0, "sf", task_state::failed, 1},     {fan_in::first, 0, "s", task_state::succeeded, 2}, {fan_in::first, 0, "fs", task_state::succeeded, 1},
    {fan_in::first, 0, "fff", task_state::failed, 0},  {fan_in::first, 0, "ff", task_state::running, 0},  {fan_in::quorum, 2, "ss", task_state::succeeded, 1},
    {fan_in::quorum, 2, "sfs", task_state::succeeded, 0}, {fan_in::quorum, 2, "ff", task_state::failed, 1}, {fan_in::quorum, 3, "f", task_state::failed, 2},
    {fan_in::best_effort, 0, "fff", task_state::succeeded, 0}, {fan_in::best_effort, 0, "sf", task_state::running, 0}};
  int agents = 0;
  for (const auto& row : table) {
    agents += 3; // others each time: their breakers are not the matter here
    const auto g = group(row.policy, row.quorum);
    std::vector<task_id> children{child(g, agents), child(g, agents + 1), child(g, agents + 2)};
    begun();
    for (std::size_t i = 0; i < row.ends.size(); ++i) row.ends[i] == 's' ? succeed(children[i]) : fail(children[i]);
    const auto lost = recalled();
    EXPECT_EQ(lost.size(), row.recalls) << row.ends;
    EXPECT_EQ(over_.contains(g), row.recalls == 0 && row.state != task_state::running) << "it ends when all of it has";
    for (const auto id : lost) acknowledge(id);
    EXPECT_EQ(state(g), row.state) << "policy " << static_cast<int>(row.policy) << " after " << row.ends;
    if (!over_.contains(g)) {
      cancel(g);
      for (const auto id : recalled()) acknowledge(id);
    }
    EXPECT_EQ(core_->size(), 0U) << "nothing of a group stays behind";
  }
}

TEST_F(TaskQueueTest, FailedGroupUndoesWhatSucceededInReverseOrder) {
  const auto g = group(fan_in::all);
  const auto a = child(g, 1, 11);
  const auto b = child(g, 2, 12);
  const auto c = child(g, 3); // cannot be undone
  const auto d = child(g, 4, 14);
  begun();
  succeed(b);
  pass(milliseconds{1});
  succeed(a);
  pass(milliseconds{1});
  succeed(c);
  fail(d);
  pass(milliseconds{0});
  ASSERT_EQ(created_.size(), 2U);
  EXPECT_EQ(created_[0].undo_of, a);
  EXPECT_EQ(created_[1].undo_of, b);
  EXPECT_EQ(begun(), std::vector{created_[0].id}) << "one after the other";
  EXPECT_FALSE(over_.contains(g));
  fail(created_[0].id, true); // even when one cannot be undone
  EXPECT_EQ(begun(), std::vector{created_[1].id});
  succeed(created_[1].id);
  EXPECT_EQ(state(g), task_state::failed);
  EXPECT_EQ(over_[g].error.reason, "undo_failed");
  EXPECT_NE(over_[g].error.message.find(to_text(a) + " (no)"), std::string::npos) << over_[g].error.message;
  EXPECT_EQ(core_->size(), 0U);
}

TEST_F(TaskQueueTest, PausedAgentAndQueueHandOutNothing) {
  core_->agent(agent(1), "a1");
  core_->pause_agent(agent(1), true, now_, chance_);
  const auto t = add(1);
  EXPECT_TRUE(begun().empty());
  core_->pause(true, now_, chance_);
  core_->pause_agent(agent(1), false, now_, chance_);
  const auto other = add(2);
  EXPECT_TRUE(begun().empty());
  core_->pause(false, now_, chance_);
  drain();
  auto ids = begun();
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, (std::vector{t, other}));
}

TEST_F(TaskQueueTest, FailingAgentGetsNoWorkUntilAProbeSucceeds) {
  for (int i = 0; i < 3; ++i) fail(add(1));
  begun();
  const auto waiting = add(1);
  const auto second = add(1);
  EXPECT_TRUE(begun().empty());
  pass(milliseconds{1'200});
  EXPECT_EQ(begun(), std::vector{waiting});
  fail(waiting);
  EXPECT_TRUE(begun().empty());
  pass(milliseconds{2'400});
  EXPECT_EQ(begun(), std::vector{second});
  succeed(second);
  const auto t = add(1);
  EXPECT_EQ(begun(), std::vector{t});
}

TEST_F(TaskQueueTest, CapabilityTasksWaitForOneWhoIsAbleAndFree) {
  auto s = spec(1);
  s.agent = {};
  s.capability = "read";
  s.complexity = 5;
  const auto t = add(s);
  EXPECT_TRUE(begun().empty());
  core_->describe_agent(agent(1), "a1", {{"read", 4}}, 1, now_, chance_);
  drain();
  EXPECT_TRUE(begun().empty()) << "not able enough";
  core_->describe_agent(agent(2), "a2", {{"read", 5}}, 1, now_, chance_);
  drain();
  EXPECT_EQ(begun(), std::vector{t});
  s.id = core_->next_id(now_);
  s.complexity = 1;
  const auto easy = add(s);
  EXPECT_EQ(begun(), std::vector{easy});
  EXPECT_EQ(core_->find(easy)->agent_of(), agent(1));
}

TEST_F(TaskQueueTest, StoppedAgentGivesBackWhatACapabilityGaveIt) {
  core_->describe_agent(agent(1), "a1", {{"read", 9}}, 1, now_, chance_);
  auto s = spec(1);
  s.agent = {};
  s.capability = "read";
  const auto t = add(s);
  const verdict refused{verdict::kind::refused, false, {"receiver_stopped", "", {}}};
  for (int i = 0; i < 5; ++i) { // with one attempt allowed
    EXPECT_EQ(begun(), std::vector{t});
    answer(t, refused);
    EXPECT_EQ(state(t), task_state::queued);
    EXPECT_TRUE(begun().empty()) << "not to the same at once";
    pass(milliseconds{60'000});
  }
  begun();
  answer(t, refused);
  core_->describe_agent(agent(2), "a2", {{"read", 9}}, 1, now_, chance_);
  drain();
  EXPECT_EQ(begun(), std::vector{t});
  EXPECT_EQ(core_->find(t)->agent_of(), agent(2));
  fail(t);
  EXPECT_EQ(state(t), task_state::failed) << "that was its one attempt";
}

TEST_F(TaskQueueTest, RefusedTaskOfANamedAgentHasUsedAnAttempt) {
  const auto t = add(1);
  answer(t, {verdict::kind::refused, false, {"receiver_stopped", "", {}}});
  EXPECT_EQ(state(t), task_state::failed);
}

TEST_F(TaskQueueTest, RetriesOfOneAgentDoNotPutOffAnothers) {
  for (int i = 0; i < 300; ++i) {
    auto s = spec(1);
    s.retry = {2, milliseconds{1}, milliseconds{1}};
    fail(add(s));
    core_->find_agent(agent(1))->breaker.succeeded();
  }
  auto s = spec(2);
  s.retry = {2, milliseconds{1}, milliseconds{1}};
  const auto t = add(s);
  fail(t);
  EXPECT_LE(core_->find(t)->not_before, now_ + milliseconds{1});
}

TEST(TaskGraphTest, InAnOrderThatCyclesAreMissingIn) {
  using order = std::vector<std::size_t>;
  EXPECT_EQ(in_order({}), order{});
  EXPECT_EQ(in_order({{1, 2}, {2}, {}}), (order{2, 1, 0}));
  EXPECT_EQ(in_order({{2, 2}, {}, {}}), (order{1, 2, 0})) << "named twice is named";
  EXPECT_EQ(in_order({{0}}), order{});
  EXPECT_EQ(in_order({{1}, {2}, {0}, {}, {0}}), order{3});
}

} // namespace
} // namespace hive::actors::scheduling
