#include "actors/worker_pool.hpp"

#include "actors/delayed_jobs.hpp"
#include "config/base/clock.hpp"

#include <gtest/gtest.h>

#include <future>
#include <stdexcept>

namespace hive::actors {
namespace {

constexpr tenant_id somebody{1};

TEST(WorkerPoolTest, WhatAJobThrowsEndsThatJobOnly) {
  worker_pool<int> pool(1, [] { return 7; });
  EXPECT_TRUE(pool.post(somebody, [](int&) { throw std::runtime_error("told to"); }));
  std::promise<int> next;
  EXPECT_TRUE(pool.post(somebody, [&](int& state) { next.set_value(state); }));
  EXPECT_EQ(next.get_future().get(), 7);
}

TEST(WorkerPoolTest, NoMoreJobsWaitThanMayAndTheOneThatIsRefusedIsWhole) {
  worker_pool<int> pool(1, [] { return 0; }, 2);
  std::promise<void> begun, go_on;
  pool.post(somebody, [&, wait = go_on.get_future().share()](int&) {
    begun.set_value();
    wait.wait();
  });
  begun.get_future().wait();
  int ran = 0;
  worker_pool<int>::job count = [&](int&) { ++ran; };
  EXPECT_TRUE(pool.post(somebody, worker_pool<int>::job(count)));
  EXPECT_TRUE(pool.post(somebody, worker_pool<int>::job(count)));
  EXPECT_FALSE(pool.post(somebody, std::move(count)));
  go_on.set_value();
  std::promise<void> last;
  while (!pool.post(somebody, [&](int&) { last.set_value(); })) std::this_thread::yield();
  last.get_future().wait();
  EXPECT_EQ(ran, 2);
  int none = 0;
  count(none); // NOLINT(bugprone-use-after-move): a job that is not taken stays the caller's
  EXPECT_EQ(ran, 3);
}

TEST(DelayedJobsTest, ABoundAndAThrowEndNothingElse) {
  system_clock_source clock;
  delayed_jobs jobs(clock, 2);
  EXPECT_TRUE(jobs.after(std::chrono::milliseconds{1}, [] { throw std::runtime_error("told to"); }));
  EXPECT_TRUE(jobs.after(std::chrono::hours{1}, [] {}));
  std::promise<void> ran;
  while (!jobs.after(std::chrono::milliseconds{1}, [&] { ran.set_value(); })) std::this_thread::yield(); // once the first has gone
  EXPECT_FALSE(jobs.after(std::chrono::hours{1}, [] {}) && jobs.after(std::chrono::hours{1}, [] {}));
  EXPECT_TRUE(jobs.after(std::chrono::hours{1}, [] {}, true)) << "what is needed waits all the same";
  ran.get_future().wait();
}

} // namespace
} // namespace hive::actors
