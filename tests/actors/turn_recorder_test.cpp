// What a start learns of a process that died, and when the watch ends one that hangs. (R2)
#include "actors/turn_recorder.hpp"
#include "tests/support/kit.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <sys/wait.h>

namespace hive::actors {
namespace {

using std::chrono::milliseconds;

const entity_id agent{tenant_id{1}, 20};
const entity_id neighbour{tenant_id{1}, 21};

class TurnRecorderTest : public ::testing::Test {
protected:
  /// Runs `life` as a process of its own that records to the file.
  void process(const std::function<void(turn_recorder&)>& life) {
    const auto child = ::fork();
    if (child == 0) {
      auto recorder = std::move(*turn_recorder::open(file_));
      turn_recorder::mark_faults();
      life(*recorder);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
  }
  test::scratch_dir dir_;
  std::string file_ = dir_.path() / "running";
};

TEST_F(TurnRecorderTest, NobodyIsSuspectedAfterTurnsThatEnded) {
  process([](turn_recorder& r) { const turn_recorder::running turn(&r, agent, 7); });
  EXPECT_TRUE((*turn_recorder::open(file_))->suspects().empty());
}

TEST_F(TurnRecorderTest, TheTurnThatTheProcessDiedOfIsNamedOnce) {
  process([](turn_recorder& r) {
    const turn_recorder::running turn(&r, agent, 7);
    ::kill(::getpid(), SIGKILL);
  });
  const auto opened = turn_recorder::open(file_);
  ASSERT_TRUE(opened);
  const auto& suspects = (*opened)->suspects();
  ASSERT_EQ(suspects.size(), 1U);
  EXPECT_EQ(suspects[0].entity, agent);
  EXPECT_EQ(suspects[0].message, 7U);
  EXPECT_EQ(suspects[0].fault, 0U) << "nobody says what killed it";
  EXPECT_TRUE((*turn_recorder::open(file_))->suspects().empty()) << "told once";
}

TEST_F(TurnRecorderTest, TheThreadThatFaultedIsBlamedAndItsNeighbourIsNot) {
  process([](turn_recorder& r) {
    const turn_recorder::running turn(&r, neighbour, 1);
    std::thread([&] {
      const turn_recorder::running bad(&r, agent, 7);
      ::raise(SIGSEGV);
    }).join();
  });
  const auto opened = turn_recorder::open(file_);
  ASSERT_TRUE(opened);
  const auto& suspects = (*opened)->suspects();
  ASSERT_EQ(suspects.size(), 1U);
  EXPECT_EQ(suspects[0].entity, agent);
  EXPECT_EQ(suspects[0].fault, static_cast<std::uint32_t>(SIGSEGV));
}

class OverdueTurnsTest : public TurnRecorderTest {
protected:
  OverdueTurnsTest() : recorder_(std::move(*turn_recorder::open(file_))) {}
  overdue_turns watch(std::size_t workers) {
    return {*recorder_, {workers, milliseconds{100}, milliseconds{1000}}, [this](entity_id e, milliseconds) { reported_.push_back(e); }};
  }
  std::unique_ptr<turn_recorder> recorder_;
  std::vector<entity_id> reported_;
};

TEST_F(OverdueTurnsTest, LongTurnIsReportedOnceAndShortOnesAreNot) {
  auto turns = watch(2);
  for (int i = 0; i < 10; ++i) {
    const turn_recorder::running turn(recorder_.get(), neighbour, 1);
    EXPECT_FALSE(turns.look(milliseconds{60}));
  }
  EXPECT_TRUE(reported_.empty());
  const turn_recorder::running turn(recorder_.get(), agent, 7);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(turns.look(milliseconds{60}));
  EXPECT_EQ(reported_, std::vector<entity_id>{agent});
}

TEST_F(OverdueTurnsTest, ProcessEndsWhenAllWorkersAreOverTheLimit) {
  auto turns = watch(1);
  const turn_recorder::running turn(recorder_.get(), agent, 7);
  EXPECT_FALSE(turns.look(milliseconds{60})); // the first look only sees it
  EXPECT_FALSE(turns.look(milliseconds{60}));
  EXPECT_TRUE(turns.look(milliseconds{60}));
  const auto next = turn_recorder::open(file_);
  ASSERT_TRUE(next);
  ASSERT_EQ((*next)->suspects().size(), 1U);
  EXPECT_EQ((*next)->suspects()[0].fault, turn_recorder::overdue);
}

TEST_F(OverdueTurnsTest, OneTurnOfManyEndsTheProcessAtItsEnd) {
  auto turns = watch(8);
  const turn_recorder::running turn(recorder_.get(), agent, 7);
  int looks = 0;
  while (looks < 100 && !turns.look(milliseconds{100})) ++looks;
  EXPECT_EQ(looks, 10);
}

} // namespace
} // namespace hive::actors
