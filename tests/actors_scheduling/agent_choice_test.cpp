#include "actors/scheduling/agent_choice.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace hive::actors::scheduling {
namespace {

class AgentChoiceTest : public ::testing::Test {
protected:
  agent_entry& add(std::vector<capability> can, std::uint32_t weight = 1) {
    auto& a = agents_.emplace_back();
    a.id = entity_id{tenant_id{1}, 100 + agents_.size()};
    a.weight = weight;
    choice_.describe(a, std::move(can));
    choice_.list(a, true);
    return a;
  }
  std::deque<agent_entry> agents_;
  agent_choice choice_;
  random_source chance_{1};
};

TEST(CapabilityText, NamesAnUpperComplexityAfterAColon) {
  EXPECT_EQ(capability_from("translate"), (capability{"translate", 9}));
  EXPECT_EQ(capability_from("translate:3"), (capability{"translate", 3}));
  EXPECT_EQ(capability_from("a:b"), (capability{"a:b", 9}));
  EXPECT_EQ(capability_from("a:12"), (capability{"a:12", 9}));
}

TEST_F(AgentChoiceTest, NobodyIsChosenForWhatNobodyCanDo) {
  add({{"read", 3}});
  EXPECT_EQ(choice_.choose("write", 0, chance_), nullptr);
  EXPECT_EQ(choice_.choose("read", 4, chance_), nullptr);
  EXPECT_NE(choice_.choose("read", 3, chance_), nullptr);
}

TEST_F(AgentChoiceTest, AgentThatIsNotFreeIsNotChosen) {
  auto& a = add({{"read", 9}});
  auto& b = add({{"read", 9}});
  choice_.list(a, false);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(choice_.choose("read", 1, chance_), &b);
  choice_.list(b, false);
  EXPECT_EQ(choice_.choose("read", 1, chance_), nullptr);
  choice_.list(a, true);
  EXPECT_EQ(choice_.choose("read", 1, chance_), &a);
}

TEST_F(AgentChoiceTest, LoadAndErrorsCountAgainstAnAgentWeightForIt) {
  auto& busy = add({{"read", 9}});
  auto& idle = add({{"read", 9}});
  busy.in_flight = 3;
  int idle_chosen = 0;
  for (int i = 0; i < 1000; ++i) idle_chosen += choice_.choose("read", 0, chance_) == &idle ? 1 : 0;
  EXPECT_GT(idle_chosen, 700) << "three of four pairs hold the idle one";
  busy.weight = 10; // 4/10 < 1
  idle_chosen = 0;
  for (int i = 0; i < 1000; ++i) idle_chosen += choice_.choose("read", 0, chance_) == &idle ? 1 : 0;
  EXPECT_LT(idle_chosen, 300);
  for (int i = 0; i < 30; ++i) busy.breaker.failed({1000, {}, {}}, wall_time{}, chance_);
  busy.in_flight = 9; // 10/10 * 5 > 1
  idle_chosen = 0;
  for (int i = 0; i < 1000; ++i) idle_chosen += choice_.choose("read", 0, chance_) == &idle ? 1 : 0;
  EXPECT_GT(idle_chosen, 700);
}

TEST_F(AgentChoiceTest, AblerAgentIsKeptForWhatOnlyItCanDo) {
  auto& simple = add({{"read", 2}});
  add({{"read", 9}});
  for (int i = 0; i < 50; ++i) EXPECT_EQ(choice_.choose("read", 1, chance_), &simple);
}

TEST_F(AgentChoiceTest, ListingAndUnlistingInAnyOrderKeepsThePlacesRight) {
  for (int i = 0; i < 40; ++i) add({{"a", static_cast<std::uint8_t>(i % 10)}, {"b", 9}});
  std::set<agent_entry*> free;
  for (auto& a : agents_) free.insert(&a);
  for (int round = 0; round < 5000; ++round) {
    auto& a = agents_[chance_.below(agents_.size())];
    const bool now = !a.listed;
    choice_.list(a, now);
    now ? (void)free.insert(&a) : (void)free.erase(&a);
    auto* chosen = choice_.choose("b", 0, chance_);
    ASSERT_EQ(chosen != nullptr, !free.empty());
    if (chosen) {
      ASSERT_TRUE(free.contains(chosen));
    }
  }
}

} // namespace
} // namespace hive::actors::scheduling
