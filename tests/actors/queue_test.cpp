// Tasks: durable work with a result. (R3, first part)
#include "tests/actors/kit_fixture.hpp"

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

} // namespace
} // namespace hive::actors
