#include "actors/scheduling/circuit_breaker.hpp"
#include "actors/scheduling/retry_budget.hpp"

#include <gtest/gtest.h>

namespace hive::actors::scheduling {
namespace {

using std::chrono::milliseconds;
const wall_time start{milliseconds{1'000'000}};

class CircuitBreakerTest : public ::testing::Test {
protected:
  void fail(int times) {
    for (int i = 0; i < times; ++i) breaker_.failed(limits_, now_, chance_);
  }
  breaker_limits limits_{3, milliseconds{1000}, milliseconds{8000}};
  circuit_breaker breaker_;
  random_source chance_{1};
  wall_time now_ = start;
};

TEST_F(CircuitBreakerTest, OpensAfterSoManyFailuresInARowOnly) {
  fail(2);
  breaker_.succeeded();
  fail(2);
  EXPECT_TRUE(breaker_.allows(now_));
  fail(1);
  EXPECT_FALSE(breaker_.allows(now_));
}

TEST_F(CircuitBreakerTest, LetsOneProbeThroughWhenItsTimeIsOver) {
  fail(3);
  EXPECT_GE(breaker_.until(), now_ + milliseconds{1000});
  EXPECT_LE(breaker_.until(), now_ + milliseconds{1200});
  now_ = breaker_.until();
  ASSERT_TRUE(breaker_.allows(now_));
  breaker_.started(now_);
  EXPECT_FALSE(breaker_.allows(now_)) << "the probe is under way";
  breaker_.succeeded();
  EXPECT_TRUE(breaker_.allows(now_));
  EXPECT_EQ(breaker_.now_is(), circuit_breaker::state::closed);
}

TEST_F(CircuitBreakerTest, FailedProbesKeepItOpenLongerUpToABound) {
  fail(3);
  milliseconds last{};
  for (int i = 0; i < 6; ++i) {
    now_ = breaker_.until();
    breaker_.started(now_);
    fail(1);
    const auto wait = breaker_.until() - now_;
    EXPECT_GE(wait, std::min<milliseconds>(milliseconds{1000} * (2LL << i), milliseconds{8000}));
    EXPECT_LE(wait, milliseconds{9600});
    last = wait;
  }
  EXPECT_GE(last, milliseconds{8000});
}

TEST_F(CircuitBreakerTest, WhatBeganBeforeItOpenedKeepsItOpenNoLonger) {
  fail(3);
  const auto until = breaker_.until();
  fail(7);
  EXPECT_EQ(breaker_.until(), until);
  now_ = until;
  ASSERT_TRUE(breaker_.allows(now_));
  breaker_.started(now_);
  fail(1);
  EXPECT_LE(breaker_.until(), now_ + milliseconds{2400}) << "doubled once";
}

TEST_F(CircuitBreakerTest, OneRefusalOpensIt) {
  breaker_.refused({3, milliseconds{1000}, milliseconds{8000}}, now_, chance_);
  EXPECT_FALSE(breaker_.allows(now_));
  EXPECT_TRUE(breaker_.allows(now_ + milliseconds{1200}));
}

TEST_F(CircuitBreakerTest, CancelledProbeLeavesTheQuestionOpen) {
  fail(3);
  now_ = breaker_.until();
  breaker_.started(now_);
  breaker_.dropped(now_);
  EXPECT_TRUE(breaker_.allows(now_)) << "the next one is the probe";
  breaker_.started(now_);
  EXPECT_FALSE(breaker_.allows(now_));
}

TEST(RetryBudgetTest, PutsOffWhatIsOverTheBudget) {
  retry_budget budget({5, 0.1, 2}, start);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(budget.take(start).count(), 0);
  EXPECT_NEAR(static_cast<double>(budget.take(start).count()), 500, 2);
  EXPECT_NEAR(static_cast<double>(budget.take(start).count()), 1000, 2);
  for (int i = 0; i < 30; ++i) budget.first_attempt(); // earns 3: the two owed, and one
  EXPECT_EQ(budget.take(start).count(), 0);
  EXPECT_GT(budget.take(start).count(), 0);
  EXPECT_EQ(budget.take(start + milliseconds{60'000}).count(), 0);
}

} // namespace
} // namespace hive::actors::scheduling
