#include "cluster/links/send_queue.hpp"
#include "config/base/random.hpp"

#include <gtest/gtest.h>

namespace hive::cluster::links {
namespace {

constexpr std::uint64_t much = 1'000'000'000;

class SendQueueTest : public ::testing::Test {
protected:
  result<void> push(std::uint32_t tenant, std::string body) {
    queued_frame f{tenant_id{tenant}, 0, {}, std::move(body)};
    return queue.push("b", f);
  }
  /// "1:body" of each frame of the next batch.
  std::vector<std::string> take(std::size_t frames = 1000, std::uint64_t bytes = much) {
    std::vector<std::string> taken;
    queue.take(
        frames, bytes, [](const queued_frame&) { return true; },
        [&](queued_frame&& f) { taken.push_back(std::to_string(f.tenant.value()) + ":" + f.body); });
    return taken;
  }
  using strings = std::vector<std::string>;

  send_queue queue{{10, 1000, 4, 500, 300}};
};

TEST_F(SendQueueTest, NothingGoesBeforeThePeerGaveItsWindow) {
  ASSERT_TRUE(push(1, "a"));
  EXPECT_TRUE(take().empty());
  queue.open({10, much, 10, much}, much);
  EXPECT_EQ(take(), strings{"1:a"});
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST_F(SendQueueTest, BoundsNameWhoIsFull) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(push(1, "a"));
  auto full = push(1, "a");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, errc::resource_exhausted);
  EXPECT_EQ(full.error().reason, "tenant_full");
  EXPECT_NE(full.error().message.find("tenant 1"), std::string::npos);
  ASSERT_TRUE(push(2, "b")) << "another tenant still may";
  for (std::uint32_t t = 3; t < 8; ++t) ASSERT_TRUE(push(t, "c"));
  full = push(9, "d");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().reason, "link_full");
  EXPECT_NE(full.error().message.find("node b"), std::string::npos);
}

TEST_F(SendQueueTest, BytesAreBoundedToo) {
  ASSERT_TRUE(push(1, std::string(300, 'x')));
  EXPECT_EQ(push(1, std::string(200, 'x')).error().reason, "tenant_full");
  EXPECT_EQ(push(1, std::string(301, 'x')).error().reason, "frame_too_large");
  EXPECT_EQ(push(1, std::string(301, 'x')).error().code, errc::invalid_argument);
  ASSERT_TRUE(push(2, std::string(300, 'x')));
  ASSERT_TRUE(push(3, std::string(300, 'x')));
  EXPECT_EQ(push(4, "x").error().reason, "link_full");
}

TEST_F(SendQueueTest, RefusedFrameKeepsItsBody) {
  queued_frame f{tenant_id{1}, 0, {}, std::string(301, 'x')};
  ASSERT_FALSE(queue.push("b", f));
  EXPECT_EQ(f.body.size(), 301U);
}

TEST_F(SendQueueTest, TenantsTakeTurnsAndKeepTheirOrder) {
  queue = send_queue({1000, much, 1000, much, 100'000});
  queue.open({much, much, much, much}, much);
  const std::string large(10'000, 'x');
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(push(1, large));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(push(2, std::to_string(i)));
  const auto taken = take();
  ASSERT_EQ(taken.size(), 9U);
  // About 16 KiB of the first one's flood, then all of the second one's.
  EXPECT_EQ(taken[2], "2:0");
  EXPECT_EQ(taken[3], "2:1");
  EXPECT_EQ(taken[4], "2:2");
}

TEST_F(SendQueueTest, BatchIsBoundedAndTheNextGoesOn) {
  queue.open({much, much, much, much}, much);
  for (const auto* body : {"a", "b", "c"}) ASSERT_TRUE(push(1, body));
  EXPECT_EQ(take(2), (strings{"1:a", "1:b"}));
  EXPECT_EQ(take(2), strings{"1:c"});
  ASSERT_TRUE(push(1, std::string(100, 'x')));
  ASSERT_TRUE(push(1, "y"));
  EXPECT_EQ(take(10, 50).size(), 1U) << "one frame goes even if it is above the batch";
  EXPECT_EQ(take(10, 50), strings{"1:y"});
}

TEST_F(SendQueueTest, CreditsHoldBackOneTenantAndNotTheOthers) {
  queue.open({much, much, 2, much}, much);
  for (const auto* body : {"a", "b", "c"}) ASSERT_TRUE(push(1, body));
  ASSERT_TRUE(push(2, "x"));
  EXPECT_EQ(take(), (strings{"1:a", "1:b", "2:x"}));
  EXPECT_TRUE(take().empty());
  EXPECT_TRUE(queue.returned({tenant_id{1}, 1, cost_of(1)}));
  EXPECT_EQ(take(), strings{"1:c"});
}

TEST_F(SendQueueTest, CreditsOfThePeerHoldBackAll) {
  queue.open({3, much, 3, much}, much);
  for (std::uint32_t t = 1; t <= 5; ++t) ASSERT_TRUE(push(t, "a"));
  EXPECT_EQ(take().size(), 3U);
  EXPECT_TRUE(queue.returned({tenant_id{2}, 1, cost_of(1)}));
  EXPECT_EQ(take(), strings{"4:a"});
}

TEST_F(SendQueueTest, MoreCreditThanWasOutIsABrokenPeer) {
  queue.open({much, much, much, much}, much);
  ASSERT_TRUE(push(1, "a"));
  take();
  EXPECT_FALSE(queue.returned({tenant_id{2}, 1, 1}));
  EXPECT_FALSE(queue.returned({tenant_id{1}, 2, cost_of(1)}));
  EXPECT_FALSE(queue.returned({tenant_id{1}, 1, cost_of(2)}));
  EXPECT_TRUE(queue.returned({tenant_id{1}, 1, cost_of(1)}));
}

TEST_F(SendQueueTest, WhatNobodyWantsAnyMoreIsDroppedWithoutCredit) {
  queue.open({1, much, 1, much}, much);
  for (const auto* body : {"a", "b", "c"}) ASSERT_TRUE(push(1, body));
  strings taken;
  queue.take(
      10, much, [](const queued_frame& f) { return f.body == "c"; }, [&](queued_frame&& f) { taken.push_back(f.body); });
  EXPECT_EQ(taken, strings{"c"});
  EXPECT_TRUE(queue.empty());
}

TEST_F(SendQueueTest, TenantInDebtIsNotForgottenBehindOneWithoutCredit) {
  queue = send_queue({1000, much, 1000, much, 100'000});
  queue.open({much, much, 2, much}, much);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(push(1, "a"));                      // the third one has no credit
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(push(2, std::string(90'000, 'x'))); // the second one has to work off the first
  EXPECT_EQ(take().size(), 4U);
}

// Any mixture of tenants, sizes, batches and late releases: all frames arrive, in order by tenant, and what is out never
// exceeds the window; the two sides' books agree.
TEST(CreditsTest, BothSidesAgreeWhateverHappens) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    random_source random(seed);
    const window w{20, 5000, 8, 2000};
    send_queue queue({100, 50'000, 50, 20'000, 1000});
    queue.open(w, 1000);
    credit_ledger ledger(w);
    std::vector<credit> held;
    std::map<std::uint32_t, int> pushed, arrived;
    int left = 300;
    for (int step = 0; step < 100'000 && (left > 0 || !queue.empty()); ++step) {
      switch (random.below(3)) {
      case 0: {
        const auto tenant = static_cast<std::uint32_t>(random.below(5));
        queued_frame f{tenant_id{tenant}, 0, {}, std::to_string(pushed[tenant])};
        f.body.resize(f.body.size() + random.below(900), ' ');
        if (left > 0 && queue.push("b", f)) pushed[tenant] += 1, left -= 1;
        break;
      }
      case 1:
        queue.take(
            1 + random.below(10), 1 + random.below(3000), [](const queued_frame&) { return true; },
            [&](queued_frame&& f) {
              ASSERT_TRUE(ledger.received({f.tenant, 1, cost_of(f.body.size())})) << "above the window, seed " << seed;
              EXPECT_EQ(std::stoi(f.body), arrived[f.tenant.value()]++) << "out of order, seed " << seed;
              held.push_back({f.tenant, 1, cost_of(f.body.size())});
            });
        break;
      case 2: {
        bool now = random.one_in(10); // as the timer does
        while (!held.empty() && !random.one_in(3)) {
          const auto i = random.below(held.size());
          now |= ledger.released(held[i]);
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
        }
        if (!now) break;
        for (const auto& c : ledger.take()) {
          ASSERT_TRUE(queue.returned(c)) << seed;
        }
        break;
      }
      }
    }
    EXPECT_EQ(left, 0) << "stuck, seed " << seed;
    EXPECT_TRUE(queue.empty()) << "stuck, seed " << seed;
    EXPECT_EQ(pushed, arrived);
  }
}

TEST(CreditsTest, LedgerCatchesWhoSendsWithoutCredit) {
  credit_ledger ledger({10, 1000, 5, 500});
  EXPECT_TRUE(ledger.received({tenant_id{1}, 5, 100}));
  EXPECT_FALSE(ledger.received({tenant_id{1}, 1, 1}));
  credit_ledger other({10, 1000, 5, 500});
  EXPECT_TRUE(other.received({tenant_id{1}, 1, 500}));
  EXPECT_TRUE(other.received({tenant_id{2}, 1, 500}));
  EXPECT_FALSE(other.received({tenant_id{3}, 1, 1}));
}

} // namespace
} // namespace hive::cluster::links
