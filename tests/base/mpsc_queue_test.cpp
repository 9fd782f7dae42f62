#include "config/base/mpsc_queue.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace hive {
namespace {

struct item final : mpsc_node {
  item(int p, int n) : producer(p), number(n) {}
  int producer;
  int number;
};

TEST(MpscQueueTest, KeepsEachProducersOrderAndLosesNothing) {
  constexpr int producers = 4;
  constexpr int each = 20'000;
  mpsc_queue<item> q;
  std::vector<std::thread> threads;
  for (int p = 0; p < producers; ++p)
    threads.emplace_back([&q, p] {
      for (int n = 0; n < each; ++n)
        if (q.push(std::make_unique<item>(p, n))) q.notify();
    });
  std::vector<int> next(producers, 0);
  for (int got = 0; got < producers * each;) {
    q.wait_until_not_empty();
    auto chain = q.drain();
    while (auto i = chain.pop()) {
      ASSERT_EQ(i->number, next[static_cast<std::size_t>(i->producer)]++);
      ++got;
    }
  }
  for (auto& t : threads) t.join();
  EXPECT_TRUE(q.empty());
}

} // namespace
} // namespace hive
