// One tenant's flood waits at its own cost. (T1, R3)
#include "actors/admission.hpp"

#include "config/base/random.hpp"

#include <gtest/gtest.h>

#include <map>

namespace hive::actors {
namespace {

using int_gate = admission<int>;
const tenant_id flood{1};
const tenant_id calm{2};

int_gate::verdict arrive(int_gate& g, tenant_id who, int item = 0, std::uint32_t weight = 1) { return g.arrive(who, weight, item); }

TEST(AdmissionTest, TenantAloneIsNotHeldBack) {
  int_gate g({.window = 4, .waiting = 10});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(arrive(g, flood), int_gate::verdict::enter);
}

TEST(AdmissionTest, TenantBelowItsShareEntersAtOnceWhateverAnotherHasUnderWay) {
  int_gate g({.window = 8, .waiting = 1000});
  for (int i = 0; i < 100; ++i) arrive(g, flood);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(arrive(g, calm), int_gate::verdict::enter) << i;
  EXPECT_EQ(arrive(g, calm), int_gate::verdict::wait) << "beyond its share it waits as well";
  EXPECT_EQ(arrive(g, flood), int_gate::verdict::wait);
}

TEST(AdmissionTest, WaitingOnesEnterByTurnsAndInOrderWithinATenant) {
  int_gate g({.window = 2, .waiting = 1000});
  arrive(g, calm);
  for (int i = 0; i < 10; ++i) arrive(g, flood, i);
  arrive(g, calm, 100);
  std::vector<int> entered;
  const auto note = [&](int item) { entered.push_back(item); };
  for (int i = 0; i < 6; ++i) g.leave(flood, note);
  ASSERT_GE(entered.size(), 3U);
  EXPECT_LE(std::find(entered.begin(), entered.end(), 100) - entered.begin(), 2) << "not behind all of the flood";
  entered.erase(std::find(entered.begin(), entered.end(), 100));
  EXPECT_TRUE(std::is_sorted(entered.begin(), entered.end()));
}

TEST(AdmissionTest, TooManyWaitingOfOneTenantAreRefused) {
  int_gate g({.window = 1, .waiting = 3});
  arrive(g, calm);
  arrive(g, flood);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(arrive(g, flood), int_gate::verdict::wait);
  EXPECT_EQ(arrive(g, flood), int_gate::verdict::refuse);
}

TEST(AdmissionTest, OverloadRefusesWhatIsNotUrgentFirst) {
  int_gate g({.window = 1, .waiting = 20});
  arrive(g, calm);
  arrive(g, flood);
  for (int i = 0; i < 18; ++i) EXPECT_EQ(arrive(g, flood, i), int_gate::verdict::wait);
  EXPECT_EQ(arrive(g, flood, 18), int_gate::verdict::refuse);
  for (int i = 100; i < 102; ++i) EXPECT_EQ(g.arrive(flood, 1, i, true), int_gate::verdict::wait);
  int more = 102;
  EXPECT_EQ(g.arrive(flood, 1, more, true), int_gate::verdict::refuse);
  std::vector<int> entered;
  g.leave(calm, [&](int item) { entered.push_back(item); });
  for (int i = 0; i < 2; ++i) g.leave(flood, [&](int item) { entered.push_back(item); });
  ASSERT_GE(entered.size(), 3U);
  EXPECT_EQ(std::vector<int>(entered.begin(), entered.begin() + 3), (std::vector<int>{100, 101, 0})) << "urgent ones first, in order";
  EXPECT_NE(arrive(g, flood, 200), int_gate::verdict::refuse) << "there is room again";
}

TEST(AdmissionTest, SharesFollowWeightsAndNothingIsLost) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    random_source chance(seed);
    int_gate g({.window = 1 + chance.below(16), .waiting = 10'000});
    std::map<std::uint32_t, std::uint64_t> entered;
    std::vector<tenant_id> under_way;
    std::size_t arrived = 0;
    const std::uint32_t weight_of[] = {0, 1, 2, 4};
    for (int step = 0; step < 3'000; ++step) {
      if (step < 1'500 && chance.below(3) != 0) { // more comes than goes, from all three
        const tenant_id who{static_cast<std::uint32_t>(1 + chance.below(3))};
        int item = static_cast<int>(who.value());
        ++arrived;
        if (g.arrive(who, weight_of[who.value()], item) == int_gate::verdict::enter) under_way.push_back(who);
      } else if (!under_way.empty()) {
        const auto i = chance.below(under_way.size());
        const auto who = under_way[i];
        under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(i));
        g.leave(who, [&](int item) { under_way.push_back(tenant_id{static_cast<std::uint32_t>(item)}); });
        ++entered[who.value()];
      }
      ASSERT_EQ(g.under_way(), under_way.size()) << "seed " << seed;
    }
    while (!under_way.empty()) {
      const auto who = under_way.back();
      under_way.pop_back();
      ++entered[who.value()];
      g.leave(who, [&](int item) { under_way.push_back(tenant_id{static_cast<std::uint32_t>(item)}); });
    }
    EXPECT_EQ(g.waiting(), 0U) << "seed " << seed;
    EXPECT_EQ(entered[1] + entered[2] + entered[3], arrived) << "seed " << seed;
  }
}

} // namespace
} // namespace hive::actors
