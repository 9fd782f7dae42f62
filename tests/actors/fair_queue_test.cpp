#include "actors/fair_queue.hpp"

#include <gtest/gtest.h>

#include <map>

namespace hive::actors {
namespace {

TEST(FairQueueTest, OneTenantsFloodDoesNotDelayAnothersWorkByMoreThanAQuantum) {
  fair_queue<int> q(10);
  for (int i = 0; i < 10'000; ++i) q.push(tenant_id{1}, i);
  q.push(tenant_id{2}, -1);
  int waited = 0;
  for (;; ++waited) {
    const int item = q.pop();
    q.charge(item < 0 ? tenant_id{2} : tenant_id{1}, 1);
    if (item < 0) break;
  }
  EXPECT_LE(waited, 20);
}

TEST(FairQueueTest, TenantsShareByCost) {
  fair_queue<int> q(100);
  std::map<int, int> got;
  for (int i = 0; i < 2'000; ++i) {
    q.push(tenant_id{1}, 1);
    q.push(tenant_id{2}, 2);
  }
  for (int i = 0; i < 1'100; ++i) {
    const int item = q.pop();
    q.charge(tenant_id{static_cast<std::uint32_t>(item)}, item == 1 ? 10 : 1); // tenant 1's turns cost ten times as much
    got[item] += 1;
  }
  EXPECT_NEAR(static_cast<double>(got[2]) / got[1], 10.0, 2.0);
}

TEST(FairQueueTest, WithinATenantFirstInFirstOut) {
  fair_queue<int> q(1);
  for (int i = 0; i < 100; ++i) q.push(tenant_id{7}, i);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(q.pop(), i);
    q.charge(tenant_id{7}, 3);
  }
  EXPECT_TRUE(q.empty());
}

} // namespace
} // namespace hive::actors
