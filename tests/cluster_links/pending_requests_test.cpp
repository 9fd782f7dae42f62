#include "cluster/links/pending_requests.hpp"

#include <gtest/gtest.h>

namespace hive::cluster::links {
namespace {

constexpr steady_time ms_at(int ms) { return steady_time{milliseconds{ms}}; }

class PendingRequestsTest : public ::testing::Test {
protected:
  void add(std::uint64_t correlation, int deadline, std::uint32_t tenant = 1) {
    answer_handler done = [](result<std::string>) {};
    pending.add(tenant_id{tenant}, correlation, ms_at(deadline), done);
  }
  pending_requests pending{3, 3};
};

TEST_F(PendingRequestsTest, AnswerIsTakenOnce) {
  add(1, 10);
  EXPECT_TRUE(pending.take(1));
  EXPECT_FALSE(pending.take(1));
  EXPECT_FALSE(pending.take(99));
  EXPECT_TRUE(pending.take_expired(ms_at(1000)).empty());
}

TEST_F(PendingRequestsTest, FullAtItsBound) {
  for (std::uint64_t i = 1; i <= 3; ++i) {
    EXPECT_FALSE(pending.full());
    add(i, 10);
  }
  EXPECT_TRUE(pending.full());
}

TEST_F(PendingRequestsTest, ATenantHasAShareOfIt) {
  pending = pending_requests(3, 2);
  add(1, 10);
  add(2, 10);
  EXPECT_TRUE(pending.full(tenant_id{1}));
  EXPECT_FALSE(pending.full(tenant_id{2}));
  EXPECT_FALSE(pending.full());
  add(3, 10, 2);
  EXPECT_TRUE(pending.full());
  EXPECT_TRUE(pending.take(1));
  EXPECT_FALSE(pending.full(tenant_id{1}));
  EXPECT_EQ(pending.take_all().size(), 2U);
  EXPECT_EQ(pending.count(tenant_id{1}) + pending.count(tenant_id{2}), 0U);
}

TEST_F(PendingRequestsTest, OnlyWhatIsLateExpires) {
  add(1, 30);
  add(2, 10);
  add(3, 20);
  EXPECT_TRUE(pending.take_expired(ms_at(9)).empty());
  EXPECT_EQ(pending.take_expired(ms_at(20)).size(), 2U);
  EXPECT_TRUE(pending.waits(1));
  EXPECT_FALSE(pending.waits(2));
}

TEST_F(PendingRequestsTest, OnlyWhatWasSentMayHaveHappened) {
  add(1, 10);
  add(2, 10);
  pending.mark_sent(2);
  const auto all = pending.take_all();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(lost(all[0], "b", "link_lost").code, errc::unavailable);
  EXPECT_EQ(lost(all[1], "b", "link_lost").code, errc::unknown);
  EXPECT_EQ(lost(all[1], "b", "peer_replaced").reason, "peer_replaced");
  EXPECT_EQ(expired(all[0], "b").code, errc::rejected);
  EXPECT_EQ(expired(all[1], "b").code, errc::unknown);
}

} // namespace
} // namespace hive::cluster::links
